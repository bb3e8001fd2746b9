"""Passages as labelled snippets: how they are written, what they cost, and which are worth their tokens."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from farthing.context.passages import Passage
from farthing.cost.tokens import count_text

Floats = NDArray[np.float32]

SHARPNESS, THRIFT = 1.5, 0.1
"""A passage's worth is exp(SHARPNESS x score) / tokens^THRIFT: several short ones beat a long one."""
_MISSES = 24
"""After so many passages that what is left of the budget is too small for, no more are tried."""

_HEAD, _TAIL = "<earlier_turns>\n", "</earlier_turns>"


def render(passages: Sequence[Passage]) -> str:
    """Return the labelled snippets as they are put before the user's ask; empty for none.

    The number of a turn stands before the first passage of it, who says it before the first of an entry.
    """
    if not passages:
        return ""
    lines = [_HEAD]
    before: Passage | None = None
    for passage in passages:
        if before is None or passage.turn != before.turn:
            lines.append(f"{passage.turn} {passage.source}:\n")
        elif (passage.entry, passage.source) != (before.entry, before.source):
            lines.append(f"{passage.source}:\n")
        lines.append(f"{passage.text}\n")
        before = passage
    return "".join([*lines, _TAIL])


class Shelf:
    """Passages, in their order, with what quoting each of them costs."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Count exactly (a line ends every label and every passage, and no token goes beyond it)."""
        self._passages = tuple(passages)
        self._texts = [count_text(f"{p.text}\n") + p.text.startswith("/") for p in passages]
        self._turns = [count_text(str(p.turn)) for p in passages]
        said = {source: _label(source) for source in {p.source for p in passages}}
        self._labels = [said[p.source] for p in passages]
        self._group: list[int] = []
        for n, p in enumerate(passages):
            last = passages[n - 1]
            same = n > 0 and (p.turn, p.entry, p.source) == (last.turn, last.entry, last.source)
            self._group.append(self._group[-1] if same else n)
        self._whole = np.array(
            [sum(cost) for cost in zip(self._texts, self._turns, self._labels, strict=True)]
        )
        self._frame = count_text(_HEAD) + count_text(_TAIL)

    def choose(self, scores: Floats, floor: float, max_tokens: int, absent_from: str) -> list[Passage]:
        """Return the worthiest passages above ``floor``, as many as `render` gets into ``max_tokens``.

        Of passages that say the very same only one is taken, and none that stands in ``absent_from``.
        """
        left = max_tokens - self._frame
        fit = np.flatnonzero((scores > floor) & (self._whole <= left))
        worth = SHARPNESS * scores[fit] - THRIFT * np.log(self._whole[fit])
        taken: list[int] = []
        turns: set[int] = set()
        groups: set[int] = set()
        said: set[str] = set()
        misses = 0
        for n in fit[np.argsort(-worth, kind="stable")].tolist():
            passage = self._passages[n]
            cost = self._texts[n]
            if passage.turn not in turns:
                cost += self._turns[n]
            if self._group[n] not in groups:
                cost += self._labels[n]
            if cost > left:
                misses += 1
                if misses > _MISSES:
                    break
                continue
            if passage.text in said or passage.text in absent_from:
                continue
            left -= cost
            taken.append(n)
            turns.add(passage.turn)
            groups.add(self._group[n])
            said.add(passage.text)
        return [self._passages[n] for n in sorted(taken)]


def _label(source: str) -> int:
    return max(count_text(f"{source}:\n"), count_text(f" {source}:\n"))
