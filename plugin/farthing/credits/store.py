"""The credit store's interface: what every store (SQLite now, others behind the same URL) promises.

All amounts are integer nano-dollars. Every method is idempotent by its id, so that a repeated
report of the same event changes nothing. Each is one atomic step: a check and its spend cannot
be separated by another call, in this process or another. A step that was asked for is done even if the
task that waits for it is cancelled, and the steps asked of one store object are done in that order.

An id must be made by the gateway, new for each attempt. If a client could choose it, it could repeat one
that is settled, and call for nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from farthing.telemetry import Account

MAX_AMOUNT = 10**18 - 1
"""The largest single amount, in nano-dollars: what the ledger's Decimal(18, 9) can hold."""


@dataclass(frozen=True, slots=True)
class Balance:
    """A user's money, in nano-dollars: ``available = granted - settled - held``."""

    user: str
    department: str
    granted: int
    settled: int
    held: int

    @property
    def available(self) -> int:
        """What a new hold may take."""
        return self.granted - self.settled - self.held


class StoreError(Exception):
    """The store could not answer (disk full, locked, unreachable). Nothing was changed."""


class InsufficientCreditsError(Exception):
    """A hold asks for more than is available. Nothing was held."""

    def __init__(self, account: Account, asked: int, available: int) -> None:
        super().__init__(f"{account.user}: asked {asked} nano-USD, {available} available")
        self.account, self.asked, self.available = account, asked, available


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A running total that does not agree with the grants and holds it is made of, in nano-dollars."""

    user: str
    total: str
    """``granted``, ``settled`` or ``held``."""
    kept: int | None
    """What the store says; None if it does not know the user."""
    recomputed: int


class CreditStore(Protocol):
    """Two-phase spending. A live hold ends exactly once: settled, released or expired.

    A balance belongs to a user; the department is kept for display and follows the account given last.

    Every method may raise StoreError. Amounts that are negative, above `MAX_AMOUNT` or no int, empty ids,
    and an id that belongs to another user's hold raise ValueError, and nothing is changed.
    """

    async def grant(self, grant_id: str, account: Account, amount: int) -> None:
        """Set the grant ``grant_id`` of the account's user to ``amount`` (repeating it changes nothing).

        A grant that was another user's moves, with its amount. Lowering a grant may leave less than zero
        available; new holds are then refused.
        """

    async def revoke_grants(self, prefix: str, keep: set[str]) -> None:
        """Remove grants whose id starts with ``prefix`` and is not in ``keep``."""

    async def hold(self, hold_id: str, account: Account, amount: int, ttl_s: float) -> Balance:
        """Reserve ``amount`` until settled, released, or ``ttl_s`` seconds have passed.

        Raises InsufficientCreditsError if less is available. A zero hold always succeeds. An id that is
        known, in whatever state, holds nothing again: the first amount stands.
        """

    async def settle(self, hold_id: str, account: Account, amount: int) -> Balance:
        """Replace the hold by the real cost and return the balance after it.

        Also after expiry, release or a lost hold: the money was spent. What a live hold did not cover is
        recorded as that settlement's overdraft. An id settles once: a second amount changes nothing.
        """

    async def release(self, hold_id: str) -> None:
        """End a hold that cost nothing. Releasing a settled or unknown hold changes nothing."""

    async def unsettled(self, hold_ids: Sequence[str]) -> set[str]:
        """Return those of ``hold_ids`` that are not settled: held, released, expired or unknown."""

    async def balance(self, account: Account) -> Balance:
        """Return the balance of the account's user, expiring overdue holds first.

        An unknown user has zero of everything, and stays unknown.
        """

    async def balances(self) -> list[Balance]:
        """Return every known user's balance, sorted by department and user, overdue holds expired.

        The sum of ``settled`` is all that was ever settled: it equals the sum of the charges.
        """

    async def verify(self) -> list[Discrepancy]:
        """Recompute every total from the grants and holds; return those that differ (none: all is sound).

        Reads the whole history: for audits, not for requests.
        """

    async def close(self) -> None:
        """Close the store; it cannot be used afterwards."""


def open_store(url: str, *, clock: Callable[[], float] = time.time) -> CreditStore:
    """Open the store at ``url`` (``sqlite:///path``); ``clock`` gives Unix seconds, for holds to expire by.

    Raises ValueError for an unknown scheme and StoreError if the store cannot be opened.
    """
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite" and path:
        from farthing.credits.sqlite import SQLiteCreditStore

        return SQLiteCreditStore(path, clock=clock)
    raise ValueError(f"credits.store: {url!r} is not a store URL; use sqlite:///path/to/credits.db")


def check_amount(amount: int) -> None:
    """Raise ValueError unless ``amount`` is an int from 0 to `MAX_AMOUNT`."""
    # bool is an int to Python, never to an accountant.
    if not isinstance(amount, int) or isinstance(amount, bool) or not 0 <= amount <= MAX_AMOUNT:
        raise ValueError(f"amount {amount!r} must be whole nano-dollars from 0 to {MAX_AMOUNT}")


def check_id(event_id: str) -> None:
    """Raise ValueError if a grant or hold id is empty or no text."""
    if not isinstance(event_id, str) or not event_id:
        raise ValueError(f"id {event_id!r} must be text that is not empty")
