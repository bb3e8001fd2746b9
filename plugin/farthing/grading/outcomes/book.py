"""The book of outcomes: what each account's intents have shown so far, and the shift that follows."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import reduce
from hashlib import blake2b
from typing import NamedTuple, Protocol

from farthing.grading.grade import GRADES, GradeName
from farthing.grading.outcomes.beta import probability_below
from farthing.grading.outcomes.evidence import KINDS, WEIGHTS, Evidence, Kind

TRIED: tuple[GradeName, ...] = GRADES[:-1]
"""Grades whose outcomes are kept: nothing shifts for what the strongest tier did."""

_NONE = Evidence()
_COMPARISON = KINDS.index("comparison")
_STANDS_S = 60.0
"""Seconds that a computed shift stands: evidence fades over days."""
_FADED = 0.02
"""Evidence below this weight is forgotten."""


class Outcomes(Protocol):
    """Learns from what became of calls, and shifts the grade of the same intent the next time."""

    def shift(self, scope: str, intent: str, grade: GradeName) -> tuple[GradeName, str]:
        """Return the grade to use for ``intent``, and why (empty if ``grade`` stays). Reads memory only."""

    def record(
        self,
        scope: str,
        intent: str,
        tier_grade: GradeName,
        kind: Kind,
        good: bool,
        weight: float | None = None,
    ) -> None:
        """Note whether the answer of ``tier_grade``'s tier was good enough. ``weight``: default `WEIGHTS`.

        Raises ValueError for an unknown kind or a weight that is negative or not finite.
        """


@dataclass(frozen=True, slots=True)
class ShiftRules:
    """When evidence shifts a grade, and how long it counts.

    A grade goes up once its tier's share of good outcomes lies below ``up_below`` with probability ``sure``.
    It goes down once a cheaper tier's share lies above ``down_above`` with that probability, where the only
    good outcomes that count are comparisons with the strong tier; bad ones of every kind count.
    """

    up_below: float = 0.7
    """Share of good outcomes. With the defaults two failed checks, or three retries, are enough."""
    down_above: float = 0.8
    """Share of good outcomes. With the defaults it takes 13 comparisons in agreement and none against."""
    sure: float = 0.95
    half_life_s: float = 7 * 86_400.0
    """Seconds after which an outcome counts half."""
    cap: float = 30.0
    """Most that one intent's outcomes at one tier weigh together, in observations."""
    intents: int = 1_000
    """Intents remembered per scope; the one that had no outcome for longest makes room."""

    def __post_init__(self) -> None:
        """Raises ValueError for rules that contradict each other or have no meaning."""
        if not 0 < self.up_below <= self.down_above < 1:
            raise ValueError(f"need 0 < up_below ({self.up_below}) <= down_above ({self.down_above}) < 1")
        # The prior alone says "below r" with probability r: with less certainty it would shift by itself.
        if not max(self.up_below, 1 - self.down_above) < self.sure < 1:
            raise ValueError(f"sure ({self.sure}) must be above up_below and 1 - down_above, and below 1")
        for name in ("half_life_s", "cap", "intents"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class Key(NamedTuple):
    """Where a piece of evidence belongs. Digests: an intent is made of somebody's prompt."""

    scope: bytes
    intent: bytes
    tier: GradeName


def digest(text: str) -> bytes:
    """Return what stands for ``text`` in keys: 16 bytes that do not tell it."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(slots=True)
class _Cell:
    """Evidence at one tier: what the shared file holds, what is on its way there, and what came since."""

    stored: Evidence = _NONE
    leaving: Evidence = _NONE
    pending: Evidence = _NONE


@dataclass(slots=True)
class _Intent:
    cells: dict[GradeName, _Cell] = field(default_factory=lambda: {tier: _Cell() for tier in TRIED})
    shifts: dict[GradeName, tuple[GradeName, str]] = field(default_factory=dict)
    stand_until: float = 0.0


class Book:
    """Outcomes in memory; safe to use from several threads.

    Memory is bounded per scope (about 2 KB an intent). Scopes are accounts that the operator made, so their
    number needs no bound, and none of them can push out another's evidence.
    """

    def __init__(self, rules: ShiftRules | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """Judge by ``rules``; ``clock`` gives epoch seconds, the same for all that share evidence."""
        self._rules = rules or ShiftRules()
        self._clock = clock
        self._scopes: dict[bytes, OrderedDict[bytes, _Intent]] = {}
        self._changed: set[Key] = set()
        self._lock = threading.Lock()

    @property
    def rules(self) -> ShiftRules:
        """The rules that this book judges by."""
        return self._rules

    def now(self) -> float:
        """Return the book's time, epoch seconds."""
        return self._clock()

    def shift(self, scope: str, intent: str, grade: GradeName) -> tuple[GradeName, str]:
        """See `Outcomes.shift`. Moves a grade by one tier at most."""
        intents = self._scopes.get(digest(scope))
        found = intents.get(digest(intent)) if intents else None
        if found is None:
            return grade, ""
        now = self._clock()
        if now >= found.stand_until or grade not in found.shifts:
            with self._lock:
                found.shifts = self._shifts(found, now)
                found.stand_until = now + _STANDS_S
        return found.shifts[grade]

    def record(
        self,
        scope: str,
        intent: str,
        tier_grade: GradeName,
        kind: Kind,
        good: bool,
        weight: float | None = None,
    ) -> None:
        """See `Outcomes.record`. Outcomes of HIGH are not kept: there is nowhere to go from there."""
        weight = WEIGHTS.get((kind, good), 0.0) if weight is None else weight
        now = self._clock()
        evidence = Evidence.of(kind, good, weight, now)
        if tier_grade not in TRIED or not weight:
            return
        key = Key(digest(scope), digest(intent), tier_grade)
        with self._lock:
            cell = self._cell(key)
            cell.pending = self._sum(cell.pending, evidence)
            self._changed.add(key)

    def take(self) -> dict[Key, Evidence]:
        """Return what was recorded since the last `take`, to be stored. Meanwhile it counts on."""
        with self._lock:
            taken: dict[Key, Evidence] = {}
            for key in self._changed:
                if cell := self._found(key):
                    cell.leaving, cell.pending = self._sum(cell.leaving, cell.pending), _NONE
                    taken[key] = cell.leaving
            self._changed.clear()
            return taken

    def untake(self, keys: Iterable[Key]) -> None:
        """Say that what was taken could not be stored: the next `take` gives it again."""
        with self._lock:
            self._changed.update(keys)

    def settle(self, rows: Iterable[tuple[Key, Evidence]], stored: Iterable[Key] = ()) -> None:
        """Replace what the file is known to hold by ``rows``; what was taken for ``stored`` is now in it."""
        with self._lock:
            for key in stored:
                if cell := self._found(key):
                    cell.leaving = _NONE
            for key, evidence in sorted(rows, key=lambda row: row[1].at):
                self._cell(key).stored = evidence

    def forget_stored(self) -> None:
        """Say that the file's evidence is lost: only what is not stored yet counts on."""
        with self._lock:
            for intents in self._scopes.values():
                for intent in intents.values():
                    intent.stand_until = 0.0
                    for cell in intent.cells.values():
                        cell.stored = _NONE

    def _found(self, key: Key) -> _Cell | None:
        intent = self._scopes.get(key.scope, OrderedDict()).get(key.intent)
        return intent.cells[key.tier] if intent else None

    def _cell(self, key: Key) -> _Cell:
        """Return the cell of ``key``, now its scope's most recent; its computed shift no longer stands."""
        intents = self._scopes.setdefault(key.scope, OrderedDict())
        intent = intents.setdefault(key.intent, _Intent())
        intents.move_to_end(key.intent)
        intent.stand_until = 0.0
        if len(intents) > self._rules.intents:
            intents.popitem(last=False)
        return intent.cells[key.tier]

    def _seen(self, cell: _Cell, now: float) -> Evidence:
        parts = [part for part in (cell.stored, cell.leaving, cell.pending) if part is not _NONE]
        return reduce(self._sum, parts, _NONE).decayed(now, self._rules.half_life_s)

    def _sum(self, these: Evidence, those: Evidence) -> Evidence:
        return these.plus(those, self._rules.half_life_s, self._rules.cap)

    def _shifts(self, intent: _Intent, now: float) -> dict[GradeName, tuple[GradeName, str]]:
        """Return what becomes of each grade. A tier that fails speaks for the cheaper ones too; so does one
        that agrees with the strong tier for the dearer ones."""
        rules = self._rules
        fails: dict[GradeName, Evidence] = {}
        serves: dict[GradeName, Evidence] = {}
        for tier, cell in intent.cells.items():
            seen = self._seen(cell, now)
            if seen.total < _FADED:
                continue
            bad = sum(seen.bad)
            if probability_below(rules.up_below, sum(seen.good), bad) >= rules.sure:
                fails[tier] = seen
            elif 1 - probability_below(rules.down_above, seen.good[_COMPARISON], bad) >= rules.sure:
                serves[tier] = seen
        shifts: dict[GradeName, tuple[GradeName, str]] = {}
        for at, grade in enumerate(GRADES):
            up = next((tier for tier in TRIED[at:] if tier in fails and grade not in serves), None)
            down = next((tier for tier in TRIED[:at] if tier in serves), None)
            shifts[grade] = (grade, "")
            if up:
                shifts[grade] = (GRADES[at + 1], _reason("up", up, fails[up]))
            elif down and GRADES[at - 1] not in fails:
                shifts[grade] = (GRADES[at - 1], _reason("down", down, serves[down]))
        return shifts


def _reason(way: str, tier: GradeName, seen: Evidence) -> str:
    names = ("checks", "retries", "comparisons")
    counts = [
        f"{weight:.1f} {quality} ({name})"
        for quality, weights in (("bad", seen.bad), ("good", seen.good))
        for name, weight in zip(names, weights, strict=True)
        if weight >= 0.05
    ]
    return f"outcomes: {way}; at {tier} {', '.join(counts)}"
