"""What is remembered of sessions: their folds, their money, and the originals of what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from farthing.context.fold import Fold, Owner
from farthing.settings import ContextSettings


class RecollectionError(Exception):
    """The memory cannot be read or written (locked, disk full, damaged, no way to unseal it).

    A request goes out with its full history then.
    """


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of one session. ``saved`` and ``spent`` are nano-dollars."""

    folds: tuple[Fold, ...] = ()
    """The newest last; forks of a history each have their own."""
    saved: int = 0
    spent: int = 0
    refused: frozenset[str] = field(default_factory=frozenset)
    """Names of folds and summaries that are not to be tried again."""
    sent: Mapping[str, str] = field(default_factory=dict)
    """By a model's name, how it was sent the session last (see `plan.Sent`)."""
    epoch: int = 0
    """How many erasures there had been when this was read. What a request leads to is written with the epoch
    read on its way: after an erasure it is not written, however long a summary took."""


class Memory(Protocol):
    """Where sessions are remembered. Nothing of one owner is ever found by another.

    All may raise `RecollectionError`. ``epoch`` is that of the `Session` which the request was planned with:
    what is written with another than the memory's is dropped.
    """

    def session(self, owner: Owner) -> Session:
        """Return what is known of a session (a few tens of microseconds)."""
        ...

    def keep(self, owner: Owner, fold: Fold, *, epoch: int) -> None:
        """Remember a fold of a session, beside the others; the oldest are forgotten."""
        ...

    def refuse(self, owner: Owner, name: str, *, epoch: int) -> None:
        """Remember that what is called ``name`` is not to be used (again)."""
        ...

    def book(
        self,
        owner: Owner,
        *,
        epoch: int,
        saved: int = 0,
        spent: int = 0,
        sent: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Add to what a session saved and spent (nano-dollars), and note how models were sent it."""
        ...

    def keep_originals(self, owner: Owner, originals: Mapping[str, str], *, epoch: int) -> None:
        """Remember texts, the oldest first, by their references (see `fold.reference_of`)."""
        ...

    def original(self, owner: Owner, reference: str) -> str | None:
        """Return the text of a reference of this very session, None if there is none (any more)."""
        ...

    def erase(self, user: str) -> int:
        """Forget all of a user's sessions, for good; return how many there were.

        The unreadable go with them: whose they are cannot be told.
        """
        ...

    def unreadable(self) -> int:
        """Return how many sessions were written with another key, so that they are as if not there."""
        ...

    def prune(self) -> int:
        """Forget what is past its retention; return how many sessions and texts."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def open_memory(settings: ContextSettings) -> Memory:
    """Open (and create) the memory at ``settings.path``. Raises `RecollectionError`."""
    from farthing.context.memory_file import FileMemory

    return FileMemory(settings.path, key=settings.key, retention_s=settings.retention_days * 86_400)
