"""The sums of an audit: of everything, of each intent, and of each tier that would have done.

The range of a saving: ``low`` takes every doubtful call for as dear as it might be, less expected climbs;
``high`` takes every call at its grade, and no climb; ``expected`` takes a doubtful one for as likely the one
as the other, climbs taken off. Every sum is of whole nano-dollars, and the parts sum to the whole.
"""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from math import sqrt

from farthing.audit.verdict import PLACES, TIERS, Place, Verdict

LISTED_PER_INTENT = 100
"""Calls that stay, listed by name for each intent at most; their count is always whole."""
DEAREST = 10
STAYS: tuple[Place, ...] = ("strong", "unsure")
"""The calls an audit would not move although another tier might be cheaper."""


_TIER_NAMES = tuple(TIERS.values())


@dataclass(slots=True)
class Sums:
    """Sums over some calls. Money is nano-dollars; unpriced calls are in ``calls`` and in no amount."""

    label: str = ""
    excerpt: str = ""
    calls: int = 0
    in_places: list[int] = field(default_factory=lambda: [0] * len(PLACES))
    in_tiers: list[int] = field(default_factory=lambda: [0] * len(TIERS))
    unpriced: int = 0
    estimated: int = 0
    paid: int = 0
    paid_movable: int = 0
    """What was paid for the calls that move or might (unsure)."""
    low: int = 0
    expected: int = 0
    high: int = 0
    staying: tuple[tuple[str, Place], ...] = ()
    """The first calls that stay, and why."""

    def add(self, one: Verdict) -> None:
        """Count one call."""
        self.calls += 1
        self.in_places[PLACES.index(one.place)] += 1
        self.in_tiers[_TIER_NAMES.index(TIERS[one.grade])] += 1
        self.estimated += one.call.estimated
        if one.paid is None:
            self.unpriced += 1
        else:
            self.paid += one.paid
        self.low += one.least
        self.expected += one.saving
        self.high += one.most
        if one.place in ("moves", "unsure"):
            self.paid_movable += one.paid or 0
        if one.place in STAYS and len(self.staying) < LISTED_PER_INTENT:
            self.staying += ((one.call.name, one.place),)

    def merge(self, part: "Sums") -> None:
        """Add the sums of ``part``."""
        self.in_places = [mine + its for mine, its in zip(self.in_places, part.in_places, strict=True)]
        self.in_tiers = [mine + its for mine, its in zip(self.in_tiers, part.in_tiers, strict=True)]
        for name in ("calls", "unpriced", "estimated", "paid", "paid_movable", "low", "expected", "high"):
            setattr(self, name, getattr(self, name) + getattr(part, name))

    @property
    def places(self) -> dict[Place, int]:
        """How many calls belong where."""
        return dict(zip(PLACES, self.in_places, strict=True))

    @property
    def tiers(self) -> dict[str, int]:
        """For how many calls each tier would have done."""
        return dict(zip(_TIER_NAMES, self.in_tiers, strict=True))

    @property
    def cheaper(self) -> int:
        """The calls that a cheaper tier would have answered, unsure ones among them."""
        return self.places["moves"] + self.places["unsure"]

    @property
    def priced(self) -> bool:
        """Whether any call has a price: without, the amounts are not 0 but unknown."""
        return self.unpriced < self.calls

    @property
    def stays(self) -> int:
        """The calls that would not be moved: they need the strong model, or the grader is unsure."""
        return sum(self.places[place] for place in STAYS)

    @property
    def assessed(self) -> int:
        """The calls that have a grade."""
        return self.calls - self.places["unassessable"]

    @property
    def tier(self) -> str:
        """The tier that would have done: one name, or each with its count."""
        found = [(name, number) for name, number in self.tiers.items() if number]
        return found[0][0] if len(found) == 1 else ", ".join(f"{name} {number}" for name, number in found)


class Summary:
    """Adds up verdicts as they come, in memory that grows with the intents and not with the calls."""

    def __init__(self) -> None:
        self.total = Sums("all")
        self.intents: dict[str, Sums] = {}
        self.tiers: dict[str, Sums] = {}
        self.unanswered = 0
        self.cut = 0
        self.stand_ins = 0
        self.unpriced_models: Counter[str] = Counter()
        self._dearest: list[tuple[int, int, Verdict]] = []
        self._order = count()

    def add(self, one: Verdict) -> None:
        """Count one call everywhere it belongs."""
        tier = TIERS[one.grade]
        intent = self.intents.get(one.intent)
        if intent is None:
            intent = self.intents[one.intent] = Sums(one.intent, one.excerpt)
        for sums in (self.total, intent, self.tiers.setdefault(tier, Sums(tier))):
            sums.add(one)
        self.unanswered += one.call.unanswered
        self.cut += one.call.cut
        self.stand_ins += one.call.stand_in
        if one.paid is None:
            self.unpriced_models[one.call.model or "(no model named)"] += 1
        if one.place in STAYS:
            entry = (one.paid or 0, -next(self._order), one)
            (heapq.heappushpop if len(self._dearest) >= DEAREST else heapq.heappush)(self._dearest, entry)

    @property
    def by_cost(self) -> list[Sums]:
        """The intents, the dearest first."""
        return sorted(self.intents.values(), key=lambda sums: (-sums.paid, -sums.calls, sums.label))

    @property
    def by_tier(self) -> list[Sums]:
        """The tiers that would have done, the cheapest first."""
        return [self.tiers[name] for name in _TIER_NAMES if name in self.tiers]

    @property
    def dearest(self) -> list[Verdict]:
        """The dearest calls that stay, the dearest first."""
        return [one for _, _, one in sorted(self._dearest, key=lambda item: item[:2], reverse=True)]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson 1927, score interval); (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    z = 1.959964
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return max(0.0, middle - half), min(1.0, middle + half)
