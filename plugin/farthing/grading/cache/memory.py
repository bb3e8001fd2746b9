"""The intent cache of one process: bounded in all, bounded for each room, and forgetful with time."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from farthing.grading.cache.near import Shelf, split_facts, unit
from farthing.grading.cache.values import CacheStats, Hit, Remembered, Vector

NEAR_LIMIT = 2_000
"""Vectors that one near search looks at, at most."""
ROOM_SHARE = 8
"""While others need the place, one room keeps at most this part (1/8) of all entries."""
NEAR_THRESHOLD = 0.85
"""Lowest cosine of a near hit, measured by ``bench.routing.cache`` (docs/intent-cache.md)."""


@dataclass(frozen=True, slots=True)
class _Entry:
    room: str
    state: str
    expires: float
    hit: Hit


class MemoryCache:
    """Entries in this process's memory. Safe to use from several threads and tasks."""

    def __init__(
        self,
        size: int,
        ttl_s: float,
        near: float | None = NEAR_THRESHOLD,
        room_size: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold ``size`` entries in all, each for ``ttl_s`` seconds.

        When full, the largest room over ``room_size`` entries gives up the one it has not used for longest;
        if no room is over, the entry longest unused of all goes. So no account can push out another that
        holds ``room_size`` or fewer. ``near`` is the lowest cosine of a near hit; None turns the near layer
        off. Raises ValueError for a size below 1, a time of 0 or a cosine outside 0…1.
        """
        if size < 1 or ttl_s <= 0:
            raise ValueError(f"an intent cache needs size >= 1 ({size}) and ttl_s > 0 ({ttl_s})")
        if near is not None and not 0 < near <= 1:
            raise ValueError(f"the near layer's threshold must be above 0 and at most 1, not {near}")
        self._size, self._ttl_s, self._threshold, self._clock = size, ttl_s, near, clock
        self._room_size = room_size or max(1, size // ROOM_SHARE)
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._rooms: dict[str, OrderedDict[str, None]] = {}
        self._large: set[str] = set()
        """Rooms over their size: fewer than there are shares."""
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self._lock = threading.Lock()
        self._exact_hits = self._exact_misses = self._near_hits = self._near_misses = 0
        self._evicted = self._expired = 0

    async def exact(self, key: str) -> Hit | None:
        """Return the entry of ``key``, or None."""
        hit = self.peek(key)
        self.count_exact(hit is not None)
        return hit

    def count_exact(self, found: bool) -> None:
        """Count one exact hit or miss."""
        if found:
            self._exact_hits += 1
        else:
            self._exact_misses += 1

    def peek(self, key: str) -> Hit | None:
        """Return the entry of ``key`` without counting a hit or a miss; it becomes the last used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if entry.expires <= self._clock():
                self._drop(key)
                self._expired += 1
                return None
            self._entries.move_to_end(key)
            self._rooms[entry.room].move_to_end(key)
            return entry.hit

    async def near(self, scope_realm: str, vector: Vector, facts: str) -> Hit | None:
        """Return the nearest entry of the room with the same facts, if near enough."""
        row = None if self._threshold is None else unit(vector)
        if row is None or self._threshold is None:
            return None
        state, chars = split_facts(facts)
        with self._lock:
            shelf = self._shelves.get((scope_realm, state))
            best = shelf.best(row, chars, self._clock()) if shelf and shelf.dims == len(row) else None
            if best is None or best[1] < self._threshold:
                self._near_misses += 1
                return None
            key, cosine = best
            self._entries.move_to_end(key)
            self._rooms[scope_realm].move_to_end(key)
            self._near_hits += 1
            return Hit(self._entries[key].hit.remembered, "near", cosine, key)

    async def put(
        self, key: str, scope_realm: str, vector: Vector | None, facts: str, remembered: Remembered
    ) -> None:
        """Remember a grade."""
        self.store(key, scope_realm, vector, facts, remembered, self._ttl_s)

    def store(
        self,
        key: str,
        scope_realm: str,
        vector: Vector | None,
        facts: str,
        remembered: Remembered,
        ttl_s: float,
    ) -> None:
        """Remember a grade for ``ttl_s`` seconds."""
        row = None if vector is None or self._threshold is None else unit(vector)
        state, chars = split_facts(facts)
        expires = self._clock() + ttl_s
        with self._lock:
            self._drop(key)
            room = self._rooms.setdefault(scope_realm, OrderedDict())
            self._entries[key] = _Entry(scope_realm, state, expires, Hit(remembered, "exact", 1.0, key))
            room[key] = None
            if row is not None:
                self._shelve(key, (scope_realm, state), row, chars, expires)
            if len(room) > self._room_size:
                self._large.add(scope_realm)
            if len(self._entries) > self._size:
                self._drop(self._victim())
                self._evicted += 1

    def _shelve(self, key: str, place: tuple[str, str], row: Vector, chars: int, expires: float) -> None:
        shelf = self._shelves.get(place)
        if shelf is None or shelf.dims != len(row):
            shelf = self._shelves[place] = Shelf(len(row), NEAR_LIMIT)
        shelf.add(key, row, chars, expires)

    def _victim(self) -> str:
        if not self._large:
            return next(iter(self._entries))
        largest = max(self._large, key=lambda name: len(self._rooms[name]))
        return next(iter(self._rooms[largest]))

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        room = self._rooms[entry.room]
        del room[key]
        if len(room) <= self._room_size:
            self._large.discard(entry.room)
        if not room:
            del self._rooms[entry.room]
        place = (entry.room, entry.state)
        shelf = self._shelves.get(place)
        if shelf is not None:
            shelf.remove(key)
            if not shelf:
                del self._shelves[place]

    async def forget(self, key: str) -> None:
        """Drop the entry of ``key``."""
        self.remove(key)

    def remove(self, key: str) -> None:
        """Drop the entry of ``key``."""
        with self._lock:
            self._drop(key)

    @property
    def stats(self) -> CacheStats:
        """Return the counts of this process."""
        with self._lock:
            return CacheStats(
                entries=len(self._entries),
                rooms=len(self._rooms),
                vectors=sum(map(len, self._shelves.values())),
                exact_hits=self._exact_hits,
                exact_misses=self._exact_misses,
                near_hits=self._near_hits,
                near_misses=self._near_misses,
                evicted=self._evicted,
                expired=self._expired,
            )

    async def close(self) -> None:
        """Nothing to let go of."""
