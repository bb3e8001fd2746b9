"""BM25 over the terms of passages, whatever terms are: stems, ids, pieces of words."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

K1, B = 1.2, 0.75


class Lexicon:
    """Which passages hold which terms, and how much that says."""

    def __init__(self, passages: Sequence[Sequence[str]]) -> None:
        """Index the terms of passages, repeated ones as often as they come."""
        counted = Counter(term for terms in passages for term in dict.fromkeys(terms))
        self._numbers = {term: number for number, term in enumerate(counted)}
        self._weights = {term: _idf(count, len(passages)) for term, count in counted.items()}
        self.unseen = _idf(0, len(passages))
        """What a term weighs that no passage holds: the most."""
        self._none = np.zeros(len(passages), np.float32)
        if counted:
            self._bm25 = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
            numbers = [[self._numbers[term] for term in terms] for terms in passages]
            self._bm25.index((numbers, dict(self._numbers)), show_progress=False)

    def __len__(self) -> int:
        return len(self._numbers)

    def weight(self, term: str) -> float:
        """Return how much ``term`` says, by how rare it is; see `unseen`."""
        return self._weights.get(term, self.unseen)

    def scores(self, terms: Iterable[str]) -> Floats:
        """Return the BM25 score of every passage for some terms; each counts as often as it comes."""
        numbers = [self._numbers[term] for term in terms if term in self._numbers]
        # Not `retrieve`, which for a single question takes longer to set out than to search.
        found: Floats = self._bm25.get_scores_from_ids(numbers) if numbers else self._none
        return found


def _idf(count: int, passages: int) -> float:
    """Lucene's inverse document frequency, as `bm25s` has it."""
    return math.log(1 + (passages - count + 0.5) / (count + 0.5))
