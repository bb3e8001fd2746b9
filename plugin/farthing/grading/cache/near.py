"""The near layer's search: unit vectors of one room and one state, compared by cosine."""

import numpy as np
from numpy.typing import NDArray

from farthing.grading.cache.values import Vector

LENGTH_RATIO = 1.5
"""Two asks are near only if the longer has at most this many times the characters of the shorter."""
_LENGTH_SLACK = 16
"""Characters added to both sizes: among very short asks a few letters are no difference."""


def unit(vector: NDArray[np.floating]) -> Vector | None:
    """Return ``vector`` as a unit vector of float32; None if it is none (not flat, not finite, zero)."""
    flat = np.asarray(vector, dtype=np.float32)
    if flat.ndim != 1 or not flat.size:
        return None
    length = float(np.linalg.norm(flat))
    return flat / np.float32(length) if np.isfinite(length) and length > 1e-6 else None


def split_facts(facts: str) -> tuple[str, int]:
    """Return the state and the size in characters that ``facts_of`` wrote."""
    state, _, chars = facts.rpartition("~")
    return (state, int(chars)) if chars.isascii() and chars.isdecimal() else (facts, 0)


class Shelf:
    """The vectors of one room and one state: at most ``limit``; a further one takes the oldest's place."""

    def __init__(self, dims: int, limit: int) -> None:
        self.dims, self._limit = dims, limit
        self._slots: dict[str, int] = {}
        self._keys: list[str] = []
        self._rows = np.empty((1, dims), dtype=np.float32)
        self._sizes = np.empty(1, dtype=np.float64)
        self._expires = np.empty(1, dtype=np.float64)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, row: Vector, chars: int, expires: float) -> None:
        """Put the unit vector ``row`` on the shelf, until ``expires``."""
        self.remove(key)
        if len(self._keys) >= self._limit:
            self.remove(next(iter(self._slots)))
        at = len(self._keys)
        if at == len(self._rows):
            self._grow(min(self._limit, 2 * at))
        self._rows[at], self._sizes[at], self._expires[at] = row, chars + _LENGTH_SLACK, expires
        self._keys.append(key)
        self._slots[key] = at

    def remove(self, key: str) -> None:
        """Take a vector off the shelf, if it is there."""
        at = self._slots.pop(key, None)
        if at is None:
            return
        last = len(self._keys) - 1
        if at != last:
            for column in (self._rows, self._sizes, self._expires):
                column[at] = column[last]
            self._keys[at] = self._keys[last]
            self._slots[self._keys[at]] = at
        self._keys.pop()

    def best(self, row: Vector, chars: int, now: float) -> tuple[str, float] | None:
        """Return the key and the cosine of the vector nearest to ``row`` among those of a like size."""
        count = len(self._keys)
        if not count:
            return None
        cosines = self._rows[:count] @ row
        ratio = self._sizes[:count] / (chars + _LENGTH_SLACK)
        unlike = (ratio > LENGTH_RATIO) | (ratio < 1 / LENGTH_RATIO) | (self._expires[:count] <= now)
        cosines[unlike] = -2.0
        at = int(cosines.argmax())
        return (self._keys[at], min(1.0, float(cosines[at]))) if cosines[at] >= -1.5 else None

    def _grow(self, size: int) -> None:
        rows = np.empty((size, self.dims), dtype=np.float32)
        rows[: len(self._rows)] = self._rows
        self._rows = rows
        self._sizes = np.resize(self._sizes, size)
        self._expires = np.resize(self._expires, size)
