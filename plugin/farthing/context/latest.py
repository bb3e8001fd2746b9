"""The latest few of something, kept in memory."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from threading import Lock
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Latest(Generic[_Key, _Value]):
    """A mapping that forgets what was not asked for longest. Safe to use from several threads."""

    def __init__(self, most: int) -> None:
        """``most``: the weight of all values together."""
        self._most, self._weight = most, 0
        self._values: OrderedDict[_Key, tuple[_Value, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: _Key) -> _Value | None:
        """Return the value of ``key``, None if it is not (any more) known."""
        return self.get_all((key,))[0]

    def get_all(self, keys: Iterable[_Key]) -> list[_Value | None]:
        """Return the values of ``keys``, in their order."""
        values: list[_Value | None] = []
        with self._lock:
            for key in keys:
                found = self._values.get(key)
                if found is None:
                    values.append(None)
                else:
                    self._values.move_to_end(key)
                    values.append(found[0])
        return values

    def put(self, key: _Key, value: _Value, weight: int = 1) -> _Value:
        """Remember a value and return it; one that is heavier than all may be together is not remembered."""
        with self._lock:
            _, old = self._values.pop(key, (None, 0))
            self._weight -= old
            if weight > self._most:
                return value
            self._values[key] = value, weight
            self._weight += weight
            while self._weight > self._most:
                _, (_, dropped) = self._values.popitem(last=False)
                self._weight -= dropped
        return value

    def drop(self, key: _Key) -> None:
        """Forget a value, if it is there."""
        with self._lock:
            _, weight = self._values.pop(key, (None, 0))
            self._weight -= weight
