"""Finding what the current turn needs: BM25 and static embeddings, fused, over what is no longer sent."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from farthing.context.dates import Date, dates
from farthing.context.lexical import Floats, Lexicon
from farthing.context.passages import Passage
from farthing.context.snippets import Shelf, render
from farthing.context.terms import ids, pieces, stems, words
from farthing.embedding import Embedder

__all__ = ["Index", "render"]

MEANING, SPELLING = 1.2, 0.6
"""What likeness of meaning and of spelling (of pieces of words) count beside that of words."""
BEFORE, AFTER, DECAY, REACH = 0.6, 0.4, 0.6, 4
"""A passage gains that part of the scores of the ones before and after it (a reply seldom repeats the words
of its question), `DECAY` times as much with each step further away, up to `REACH` steps."""
NAMED = 1.2
"""What a passage gains whose source the ask names. Standard deviations of the scores, as all that follow."""
DATED = 2.5
"""What a passage gains that stands under a date which the ask names."""
ASKING = -0.3
"""What a passage loses that ends in a question: what was said is found in answers."""
RECENT = 0.1
"""What the latest passage has over the first."""
FLOOR = 0.3
"""What a passage must have over the mean of all to be quoted."""
LEXICAL, RARE, SEMANTIC = 0.12, 0.4, 0.4
"""An ask fits if it names a source or a date, if one passage has the first of what its words weigh in all, or
the second of what a word weighs that no passage has, or if one is as near to it as the third (cosine)."""
EXACT = 3
"""An id or a number of the ask counts as so many words."""
DATELINE = 60
"""Characters of the longest line that may head what follows with a date."""
ASK_CHARS = 1_000
DATE_CHARS = 400
"""Characters looked at of each end of an ask, and for dates of its end."""
ASK_WORDS, ASK_PIECES = 24, 128
"""Words (the rarest), as many ids, and pieces of words of an ask that are looked up."""
COMMON = 0.25
"""A name that this share of the passages bears says nothing as a word: it only tells who speaks."""
_ROLES = ("user", "assistant", "tool")

_STEPS = DECAY ** np.arange(REACH)
_NEAR = np.concatenate([AFTER * _STEPS[::-1], [1], BEFORE * _STEPS]).astype(np.float32)


class Index:
    """An index of passages. Built off the way of a request; searched on it, from any thread."""

    def __init__(self, passages: Sequence[Passage], embedder: Embedder) -> None:
        """Index ``passages``, which are in their order."""
        self._embedder = embedder
        self._shelf = Shelf(passages)
        said = [words(passage.text) for passage in passages]
        known = list(dict.fromkeys(word for one in said for word in one))
        stem_of = dict(zip(known, stems(known), strict=True))
        terms = [
            [stem_of[word] for word in one] + ids(passage.text)
            for one, passage in zip(said, passages, strict=True)
        ]
        self._words = Lexicon(terms)
        self._spelling = Lexicon([list(pieces(one)) for one in said])
        if not len(self._words):
            return
        vectors = _units(np.stack(list(self._vectors_of(said, stem_of))))
        self._mean = vectors.mean(axis=0)
        self._vectors = _units(vectors - self._mean)
        self._named = {
            source: (frozenset(stems(words(source))), np.array([p.source == source for p in passages]))
            for source in {p.source: None for p in passages if p.source not in _ROLES}
        }
        self._dated = _datelines(passages)
        asking = np.array([passage.text.endswith("?") for passage in passages], np.float32)
        self._own = np.linspace(0, RECENT, len(passages), dtype=np.float32) + ASKING * asking

    def search(self, ask: str, max_tokens: int, *, absent_from: str = "") -> list[Passage]:
        """Return the passages that ``ask`` needs, in their order, their snippets within ``max_tokens``.

        Passages whose text stands in ``absent_from`` (what is sent anyway) are left out; so are all if
        nothing fits the ask. Takes about a millisecond for 700 passages, however long the ask.
        """
        if len(ask) > 2 * ASK_CHARS:
            ask = f"{ask[:ASK_CHARS]} {ask[-ASK_CHARS:]}"
        scores = self._scores(ask) if len(self._words) else None
        return [] if scores is None else self._shelf.choose(scores, FLOOR, max_tokens, absent_from)

    def _scores(self, ask: str) -> Floats | None:
        """How well each passage fits, in standard deviations above the mean; None if none does."""
        asked = list(dict.fromkeys(words(ask)))
        stem_of = dict(zip(asked, stems(asked), strict=True))
        bonus, names = self._bonus(ask, set(stem_of.values()))
        asked = [word for word in asked if stem_of[word] not in names]
        asked = sorted(asked, key=lambda word: -self._words.weight(stem_of[word]))[:ASK_WORDS]
        exact = list(dict.fromkeys(ids(ask)))[:ASK_WORDS]
        if not asked and not exact:
            return None
        terms = [stem_of[word] for word in asked] + exact * EXACT
        lexical = self._words.scores(terms)
        spelling = self._spelling.scores(islice(pieces(asked), ASK_PIECES))
        vector = _units(next(self._vectors_of([asked], stem_of)))
        # Not `@`: for many passages BLAS starts threads, which wait for busy cores longer than this takes.
        semantic = np.einsum("pd,d->p", self._vectors, _units(vector - self._mean))
        enough = min(LEXICAL * sum(map(self._words.weight, terms)), RARE * self._words.unseen)
        if lexical.max() < enough and semantic.max() < SEMANTIC and not bonus.any():
            return None
        fused = _standard(lexical) + MEANING * _standard(semantic) + SPELLING * _standard(spelling)
        return _standard(np.convolve(fused, _NEAR)[REACH : REACH + len(fused)]) + self._own + bonus

    def _bonus(self, ask: str, asked: set[str]) -> tuple[Floats, set[str]]:
        """What passages gain by their source and date; and the words of ``asked`` that are but names."""
        bonus = np.zeros_like(self._own)
        names: set[str] = set()
        for stem, spoken in self._named.values():
            if not stem.isdisjoint(asked):
                bonus += NAMED * len(stem & asked) / len(stem) * spoken
                names |= stem & asked if spoken.mean() >= COMMON else set()
        for date in dict.fromkeys(dates(ask[-DATE_CHARS:])):
            for day, under in self._dated.items():
                bonus += DATED * under * day.within(date)
        return bonus, names

    def _vectors_of(self, texts: Iterable[Sequence[str]], stem_of: Mapping[str, str]) -> Iterator[Floats]:
        """The sum of each text's words, each word counted once and by how rare it is."""
        heavy: dict[str, Floats] = {}
        for said in texts:
            distinct = dict.fromkeys(said)
            for word in distinct.keys() - heavy.keys():
                heavy[word] = self._words.weight(stem_of[word]) * self._embedder.embed(word)
            none = np.zeros(self._embedder.table.shape[1], np.float32)
            yield np.sum([heavy[word] for word in distinct], axis=0) if distinct else none


def _datelines(passages: Sequence[Passage]) -> dict[Date, NDArray[np.bool_]]:
    """The passages under each date: from the one whose first line is the date's to the next such one."""
    heads: list[Date | None] = []
    date = None
    for passage in passages:
        line, _, rest = passage.text.partition("\n")
        if rest and len(line) <= DATELINE:
            date = next(iter(dates(line)), date)
        heads.append(date)
    return {date: np.array([head == date for head in heads]) for date in dict.fromkeys(heads) if date}


def _units(vectors: Floats) -> Floats:
    lengths = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    units: Floats = vectors / np.maximum(lengths, 1e-9)
    return units


def _standard(scores: Floats) -> Floats:
    standard: Floats = (scores - scores.mean()) / max(float(scores.std()), 1e-9)
    return standard
