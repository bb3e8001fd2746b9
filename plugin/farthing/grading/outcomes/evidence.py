"""What is known of one intent at one tier: weights of good and bad outcomes, fading with time.

Evidence adds up: the sum of two pieces is the same in either order, which lets several processes learn one
thing together. Each outcome counts 2^(-age / half-life); sums decayed to one moment are again such a sum.
"""

import math
from dataclasses import dataclass
from typing import Literal, Self, get_args

Kind = Literal["check", "retry", "comparison"]
"""How an answer was found good or bad: its check, the user's retry, or beside the strong tier's answer."""

KINDS: tuple[Kind, ...] = get_args(Kind)

WEIGHTS: dict[tuple[Kind, bool], float] = {
    ("comparison", True): 1.0,
    ("comparison", False): 1.0,
    ("check", False): 0.9,
    ("check", True): 0.25,
    ("retry", False): 0.6,
    ("retry", True): 0.0,
}
"""Default weight of an outcome by (kind, good), as a share of one observation of "was it good enough".

A comparison is one. A failed check nearly so. A passed one tells little, since most wrong answers pass it; a
retry may have other causes; and no retry is no evidence.
"""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Weights of good and bad outcomes per kind, in the order of `KINDS`, as they count at ``at``.

    ``at`` is in epoch seconds.
    """

    good: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    at: float = 0.0

    @classmethod
    def of(cls, kind: Kind, good: bool, weight: float, at: float) -> Self:
        """Return the evidence of one outcome. Raises ValueError for an unknown kind or a bad weight."""
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weight must be a finite number >= 0, got {weight}")
        check, retry, comparison = (weight if kind == name else 0.0 for name in KINDS)
        weights = (check, retry, comparison)
        return cls(good=weights, at=at) if good else cls(bad=weights, at=at)

    @property
    def total(self) -> float:
        """The sum of all weights: about the number of observations that this evidence is worth."""
        return sum(self.good) + sum(self.bad)

    def decayed(self, at: float, half_life_s: float) -> Self:
        """Return this evidence as it counts at the moment ``at``; unchanged if that is earlier."""
        if at <= self.at:
            return self
        return self._scaled(2.0 ** (-(at - self.at) / half_life_s), at)

    def plus(self, other: "Evidence", half_life_s: float, cap: float) -> "Evidence":
        """Return both together, at the later of their moments, scaled down to a total of at most ``cap``.

        The cap keeps what is known open to change: more than that much evidence only makes room for itself.
        """
        if self.at == 0.0 and not self.total:  # the start of a sum
            return other if other.total <= cap else other._scaled(cap / other.total, other.at)
        at = max(self.at, other.at)
        mine, theirs = self.decayed(at, half_life_s), other.decayed(at, half_life_s)
        good = _sum(mine.good, theirs.good)
        bad = _sum(mine.bad, theirs.bad)
        both = Evidence(good, bad, at)
        return both if both.total <= cap else both._scaled(cap / both.total, at)

    def _scaled(self, factor: float, at: float) -> Self:
        (a, b, c), (d, e, f) = self.good, self.bad
        return type(self)((a * factor, b * factor, c * factor), (d * factor, e * factor, f * factor), at)


def _sum(these: tuple[float, float, float], those: tuple[float, float, float]) -> tuple[float, float, float]:
    return (these[0] + those[0], these[1] + those[1], these[2] + those[2])
