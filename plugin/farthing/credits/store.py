"""The credit store's interface: what every store (SQLite now, others behind the same URL) promises.

All amounts are integer nano-dollars. Every method is idempotent by its id, so that a repeated
report of the same event changes nothing. Each is one atomic step: a check and its spend cannot
be separated by another call, in this process or another.
"""

from dataclasses import dataclass
from typing import Protocol

from farthing.telemetry import Account


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


class CreditStore(Protocol):
    """Two-phase spending. A hold ends exactly once: settled, released or expired."""

    async def grant(self, grant_id: str, account: Account, amount: int) -> None:
        """Set the grant ``grant_id`` of the account's user to ``amount`` (repeating it changes nothing)."""

    async def revoke_grants(self, prefix: str, keep: set[str]) -> None:
        """Remove grants whose id starts with ``prefix`` and is not in ``keep``."""

    async def hold(self, hold_id: str, account: Account, amount: int, ttl_s: float) -> Balance:
        """Reserve ``amount`` until settled, released, or ``ttl_s`` seconds have passed.

        Raises InsufficientCreditsError if less is available. A zero hold always succeeds.
        """

    async def settle(self, hold_id: str, account: Account, amount: int) -> Balance:
        """Replace the hold by the real cost. Settles also after expiry or a lost hold: the money was spent.

        What exceeds the hold is recorded as that settlement's overdraft.
        """

    async def release(self, hold_id: str) -> None:
        """End a hold that cost nothing. Releasing a settled or unknown hold changes nothing."""

    async def balance(self, account: Account) -> Balance:
        """Return the balance of the account's user, expiring overdue holds first."""

    async def balances(self) -> list[Balance]:
        """Return every known user's balance, sorted by department and user."""

    async def close(self) -> None:
        """Close the store; it cannot be used afterwards."""


def open_store(url: str) -> CreditStore:
    """Open the store at ``url`` (``sqlite:///path``). Raises ValueError for an unknown scheme."""
    scheme, _, path = url.partition(":///")
    if scheme == "sqlite" and path:
        from farthing.credits.sqlite import SQLiteCreditStore

        return SQLiteCreditStore(path)
    raise ValueError(f"credits.store: {url!r} is not a store URL; use sqlite:///path/to/credits.db")
