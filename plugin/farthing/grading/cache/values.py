"""What the intent cache takes and gives, and the one interface of its stores."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from farthing.grading.grade import GradeName

Vector = NDArray[np.float32]
"""A unit vector: the embedding of an ask."""

Layer = Literal["exact", "near"]


@dataclass(frozen=True, slots=True)
class Remembered:
    """The grade of an intent as it was given. ``source`` is who graded: ``learned``, ``judge`` …"""

    score: float
    grade: GradeName
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry found. ``key`` is the entry's own key: of a near hit, not the key that was missed."""

    remembered: Remembered
    layer: Layer
    similarity: float
    key: str


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Counts since the start, and what is held now. A near miss counts once, beside its exact miss."""

    entries: int = 0
    rooms: int = 0
    vectors: int = 0
    exact_hits: int = 0
    exact_misses: int = 0
    near_hits: int = 0
    near_misses: int = 0
    evicted: int = 0
    expired: int = 0
    shared_hits: int = 0
    """Of the exact hits, those that another process's grading gave, read from Redis."""
    shared_failures: int = 0
    shared_ignored: int = 0
    """Entries from Redis that were not valid."""
    shared: Literal["off", "up", "down"] = "off"


class IntentCache(Protocol):
    """A bounded memory of graded intents. No method raises because of a store behind it."""

    async def exact(self, key: str) -> Hit | None:
        """Return the entry of ``key`` (see ``intent_of``), or None."""

    async def near(self, scope_realm: str, vector: Vector, facts: str) -> Hit | None:
        """Return the nearest entry of the room ``scope_realm`` with the same ``facts``, if near enough.

        ``scope_realm`` comes from ``room_of``, ``facts`` from ``facts_of``; ``vector`` need not be a unit
        vector. A near hit is best put under its own key without a vector: an entry of its own there
        would let a chain of near asks drift away from what was graded.
        """

    async def put(
        self, key: str, scope_realm: str, vector: Vector | None, facts: str, remembered: Remembered
    ) -> None:
        """Remember a grade; a former entry of ``key`` is replaced. Without ``vector`` it is never near."""

    async def forget(self, key: str) -> None:
        """Drop the entry of ``key``, here and wherever it is shared."""

    @property
    def stats(self) -> CacheStats:
        """Return the counts of this process."""

    async def close(self) -> None:
        """Write out what is under way and let go of all connections. Raises nothing."""
