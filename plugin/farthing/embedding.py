"""Static word embeddings: those that the wordllama wheel ships, read from its files, never the network."""

import importlib.util
import re
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
TENSOR = "embedding.weight"

WINDOW = 600
"""Characters embedded of each end of a long text; what lies between is not tokenised."""
_PIECE = re.compile(
    r"[^\s\u0e00-\u0eff\u3040-\u9fff\uac00-\ud7af]{1,24}|[\u0e00-\u0eff\u3040-\u9fff\uac00-\ud7af]{1,4}"
)
_CACHED_PIECES = 40_000

Vector = NDArray[np.float32]


class Embedder:
    """Embeds a text as the mean of its tokens' vectors. The same text always gets the same vector."""

    def __init__(self, table: Vector, tokenizer: Tokenizer) -> None:
        """Take the vectors (tokens x dimensions, float32) and the tokenizer that numbers their rows."""
        self._table = table
        self._tokenizer = tokenizer
        self._known: dict[str, tuple[int, ...]] = {}

    @property
    def table(self) -> Vector:
        """The tokens' vectors, tokens x dimensions."""
        return self._table

    @classmethod
    def load(cls) -> "Embedder":
        """Read wordllama's files. Raises FileNotFoundError, with what to install, where they lack.

        The files are read directly: importing wordllama configures the root logger, and its loader
        would look for a download where a file is missing.
        """
        spec = importlib.util.find_spec("wordllama")
        folder = Path(spec.origin).parent if spec and spec.origin else None
        if folder is None or not (folder / WEIGHTS).is_file() or not (folder / TOKENIZER).is_file():
            raise FileNotFoundError("the embeddings are missing: pip install 'wordllama>=0.4'")
        table = load_file(folder / WEIGHTS)[TENSOR].astype(np.float32)
        return cls(np.ascontiguousarray(table), Tokenizer.from_file(str(folder / TOKENIZER)))

    def embed(self, text: str) -> Vector:
        """Return the unit vector of ``text`` (float32, 256), in bounded time; zeros if it has no token."""
        return self.pool(self.tokens(text))

    def tokens(self, text: str) -> NDArray[np.int32]:
        """Return the token numbers of ``text``: of a long one, those of its head and its tail."""
        if len(text) > 2 * WINDOW:
            text = f"{text[:WINDOW]} {text[-WINDOW:]}"
        pieces = _PIECE.findall(text)
        ids = list(map(self._known.get, pieces))
        if None in ids:
            fresh = self._encoded([piece for piece, known in zip(pieces, ids, strict=True) if known is None])
            ids = [fresh[piece] if known is None else known for piece, known in zip(pieces, ids, strict=True)]
            if len(self._known) + len(fresh) > _CACHED_PIECES:
                self._known.clear()
            self._known.update(fresh)
        return np.fromiter(chain.from_iterable(filter(None, ids)), dtype=np.int32)

    def pool(self, tokens: NDArray[np.int32]) -> Vector:
        """Return the unit vector of the mean of the tokens' vectors."""
        if not len(tokens):
            return np.zeros(self._table.shape[1], dtype=np.float32)
        mean: Vector = self._table[tokens].mean(axis=0)
        length = float(np.sqrt(mean @ mean))
        return mean / length if length > 0 else mean

    def _encoded(self, pieces: list[str]) -> dict[str, tuple[int, ...]]:
        pieces = list(dict.fromkeys(pieces))
        # A lone surrogate is no text to the tokenizer.
        clean = [piece.encode("utf-8", "replace").decode() for piece in pieces]
        encoded = self._tokenizer.encode(clean, is_pretokenized=True, add_special_tokens=False)
        ids: list[list[int]] = [[] for _ in pieces]
        for token, word in zip(encoded.ids, encoded.word_ids, strict=True):
            if word is not None:
                ids[word].append(token)
        return {piece: tuple(numbers) for piece, numbers in zip(pieces, ids, strict=True)}
