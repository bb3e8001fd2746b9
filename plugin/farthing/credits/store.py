"""The credit store's interface: what every store (SQLite, Redis) promises.

All amounts are integer nano-dollars. Every change of money is idempotent by its id, so that a repeated
report of the same event changes nothing. Each method is one atomic step: a check and its spend cannot be
separated by another call, in this process or another. A step that was asked for is done even if the task
that waits for it is cancelled.

A hold's id must be made by the gateway, new for each attempt. If a client could choose it, it could repeat
one that is settled, and call for nothing.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from farthing.credits.account import ORGANISATION, Crossing, State, account_id
from farthing.credits.calendar import Calendar
from farthing.telemetry import Account

MAX_AMOUNT = 10**18 - 1
"""The largest single amount, in nano-dollars: what the ledger's Decimal(18, 9) can hold."""

THRESHOLDS = (50, 80, 95)
"""The soft thresholds, in per cent of what an account may spend in its period."""


class StoreError(Exception):
    """The store could not answer (disk full, locked, unreachable, emptied). Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for a call: the accounts of an authenticated key, and the session it belongs to."""

    account: Account
    session_id: str = ""

    @property
    def user_id(self) -> str:
        """The id of the user's account."""
        return account_id("user", self.account.user)

    @property
    def chain(self) -> tuple[str, ...]:
        """The ids of all accounts a call is held on, from the root; a call without a key has no key's."""
        key = self.account.key_hash
        return (
            ORGANISATION,
            account_id("department", self.account.department),
            self.user_id,
            *((account_id("key", key),) if key else ()),
        )


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's money, in nano-dollars: ``available = granted - expired - settled - held``."""

    account: str
    """Its id, such as ``user:ada``, ``department:research``, ``key:<hash>`` or ``organisation:``."""
    department: str = ""
    """The department of a user or a key; empty for the others."""
    user: str = ""
    """The user of a key; empty for the others."""
    limited: bool = True
    """False for an account that may spend what the others allow; it has no ``available`` of its own."""
    granted: int = 0
    expired: int = 0
    settled: int = 0
    held: int = 0
    overdraft: int = 0
    """The part of ``settled`` that no live hold covered."""
    monthly: int | None = None
    """The monthly allowance, if there is one."""

    @property
    def kind(self) -> str:
        """``organisation``, ``department``, ``user`` or ``key``."""
        return self.account.partition(":")[0]

    @property
    def name(self) -> str:
        """The account's name within its kind."""
        return self.account.partition(":")[2]

    @property
    def available(self) -> int:
        """What a new hold may take, where the account is limited."""
        return self.granted - self.expired - self.settled - self.held


def shown_in_order(found: Iterable[Balance]) -> list[Balance]:
    """Return balances from the root of the tree, then by department and name."""
    return sorted(found, key=lambda one: (KINDS.index(one.kind), one.department, one.name))


def balance_of(state: State) -> Balance:
    """Return what an account's state shows."""
    return Balance(
        state.id,
        state.department,
        state.user,
        state.limited,
        state.granted,
        state.expired,
        state.settled,
        state.held,
        state.overdraft,
        state.monthly,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """What a payer has after a step."""

    balance: Balance
    """The user's."""
    available: int
    """The least that any limited account of the chain, or the session's cap, leaves for other holds."""
    short: str
    """The account that has the least, or ``session:<id>``."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What settling changed."""

    standing: Standing
    overdraft: int = 0
    """Nano-dollars that the hold did not cover."""
    crossed: tuple[Crossing, ...] = ()
    """Soft thresholds that this settlement was the first to reach."""
    again: bool = False
    """True if the id was settled before: nothing was changed."""


@dataclass(frozen=True, slots=True)
class CallNote:
    """What people want to know of a settled call; kept with it, and no part of its money."""

    tier: str = ""
    model: str = ""
    grade: str = ""
    kind: str = ""
    """As of a charge: ``inference``, ``grading``, ``summary``, ``failed_attempt``."""


@dataclass(frozen=True, slots=True)
class SettledCall:
    """A call of a user, settled. ``at_ms`` is Unix milliseconds, amounts are nano-dollars."""

    id: str
    at_ms: int
    session_id: str
    amount: int
    overdraft: int
    note: CallNote


@dataclass(frozen=True, slots=True)
class Spending:
    """What an account spent on one day (of the organisation's time zone) in one tier, in nano-dollars."""

    day: str
    tier: str
    settled: int
    overdraft: int
    calls: int


@dataclass(frozen=True, slots=True)
class RunCaps:
    """What a run of a session may do. None: no cap."""

    idle_s: float = 1800.0
    """Seconds of quiet after which a session's next call begins a new run."""
    steps: int | None = None
    cost: int | None = None
    """Nano-dollars."""


@dataclass(frozen=True, slots=True)
class Run:
    """A session's current run: its calls since it was last quiet. Times are Unix milliseconds."""

    session_id: str
    user: str
    department: str
    key_hash: str
    started_ms: int
    last_ms: int
    steps: int
    settled: int
    held: int
    max_steps: int | None
    max_cost: int | None
    marks: tuple[str, ...] = ()
    """Fingerprints of its latest calls, the newest last."""
    stopped_by: str = ""
    """The admin who stopped it; empty if nobody did."""
    entered: bool = True
    """False if this call was not let in: stopped, or beyond its steps."""


@dataclass(frozen=True, slots=True)
class Act:
    """One entry of the journal: what was given, taken, expired, capped or stopped, by whom."""

    at_ms: int
    actor: str
    """An admin's user, ``farthing.yaml``, or ``calendar`` for months and expiries."""
    action: str
    """A line's kind, or ``cap``, ``stop``, ``resume``."""
    target: str
    """An account's id, or ``session:<id>``."""
    amount: int
    month: str
    ref: str
    """The grant's id, or what was capped."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A total that does not agree with the steps it is made of, in nano-dollars."""

    account: str
    total: str
    """``granted``, ``expired``, ``settled``, ``held``, ``spending``, ``lots``, or ``session held``."""
    kept: int | None
    """What the store says; None if it does not know the account."""
    recomputed: int


class InsufficientCreditsError(Exception):
    """A hold asks for more than is available. Nothing was held."""

    def __init__(self, payer: Payer, asked: int, standing: Standing) -> None:
        super().__init__(f"{standing.short}: asked {asked} nano-USD, {standing.available} available")
        self.payer, self.asked, self.standing = payer, asked, standing

    @property
    def available(self) -> int:
        """The least that any account of the payer has left, in nano-dollars."""
        return self.standing.available


KINDS = ("organisation", "department", "user", "key")
"""The kinds of accounts, in the order in which they are shown."""
UNCAPPED = 10**9
"""The steps an admin gives a run to lift its cap: None would leave it to the settings."""
MARKS = 24
"""How many fingerprints of calls a run keeps."""

UNLIMITED = MAX_AMOUNT
"""``Standing.available`` where no account of the chain is limited."""


class CreditStore(Protocol):
    """Two-phase spending on a tree of accounts. A live hold ends exactly once: settled, released or expired.

    A call is held on all accounts of its payer's chain and on its session, or on none. Accounts become known
    when they are first named; a user is limited from the start (with nothing), the others when they are
    given an allowance or a grant. Department and user shown follow the account given last.

    Every step first expires what is overdue: holds whose lease has ended, lots and months that are over.
    Every method may raise StoreError. Amounts that are negative, above `MAX_AMOUNT` or no int, empty ids,
    and an id that belongs to another user's hold or grant raise ValueError, and nothing is changed.
    """

    # What accounts are given

    async def grant(
        self,
        grant_id: str,
        account: str,
        amount: int,
        *,
        department: str = "",
        user: str = "",
        expires_ms: int | None = None,
        actor: str = "farthing.yaml",
        reason: str = "",
    ) -> Balance:
        """Set the grant ``grant_id`` of an account to ``amount`` and limit the account.

        Repeating it changes nothing; a grant of another account moves. Lowering one may leave less than zero
        available; new holds are then refused. ``department`` and ``user`` are those of a user's or a key's
        account. A grant of nothing limits an account that was not.
        """

    async def revoke_grants(self, prefix: str, keep: set[str]) -> None:
        """Take back grants whose id starts with ``prefix`` and is not in ``keep``."""

    async def plan(
        self,
        account: str,
        monthly: int | None,
        roll_over: int | None = 0,
        *,
        department: str = "",
        user: str = "",
        actor: str = "farthing.yaml",
    ) -> Balance:
        """Set an account's monthly allowance (None: none). ``roll_over``: the most that outlasts a month.

        Repeating it changes nothing.
        """

    async def unlimit(self, account: str, *, actor: str = "farthing.yaml") -> None:
        """Let an account that is no user's spend what the others allow; what it was granted is forgotten.

        An unknown one stays unknown.
        """

    # Two-phase spending

    async def hold(self, hold_id: str, payer: Payer, amount: int, ttl_s: float) -> Standing:
        """Reserve ``amount`` until settled, released, or ``ttl_s`` seconds have passed without `renew`.

        Raises InsufficientCreditsError if an account of the chain, or the session's cost cap, has less. A
        zero hold always succeeds. An id that is known, in whatever state, holds nothing again: the first
        amount stands.
        """

    async def renew(self, hold_ids: Sequence[str], ttl_s: float) -> None:
        """Extend live holds to ``ttl_s`` seconds from now.

        One that has expired (a machine slept, a clock jumped) lives again if its money is still there.
        """

    async def settle(
        self,
        hold_id: str,
        payer: Payer,
        amount: int,
        note: CallNote = CallNote(),  # frozen
        thresholds: Sequence[int] = THRESHOLDS,
    ) -> Settlement:
        """Replace the hold by the real cost.

        Also after expiry, release or a lost hold: the money was spent. What a live hold did not cover is
        recorded as that settlement's overdraft. An id settles once: a second amount changes nothing.
        """

    async def release(self, hold_id: str) -> None:
        """End a hold that cost nothing. Releasing a settled one changes nothing.

        An unknown id is remembered as released: a hold that arrives later holds nothing.
        """

    async def unsettled(self, hold_ids: Sequence[str]) -> set[str]:
        """Return those of ``hold_ids`` that are not settled: held, released, expired or unknown."""

    # Sessions

    async def enter(self, payer: Payer, caps: RunCaps, mark: str) -> Run:
        """Count one more call of the payer's session and return the run as it is now.

        A session that was quiet for ``caps.idle_s`` begins a new run: steps, cost, marks and a stop are
        forgotten (live holds stay). ``caps`` become the run's own at its first call, then only `cap_run`
        changes them. A call beyond the steps, or of a stopped run, is not counted: ``entered`` is False.
        Holds on the session are refused beyond its cost cap; a session never entered has none.
        """

    async def cap_run(
        self, session_id: str, *, steps: int | None, cost: int | None, actor: str, reason: str = ""
    ) -> Run | None:
        """Set the caps of a session's run, steps and nano-dollars, and let it go on if it was stopped.

        None if there is no such session.
        """

    async def stop_run(self, session_id: str, *, actor: str, reason: str = "") -> Run | None:
        """Refuse a session's calls until its caps are set anew or it was quiet. None if there is none."""

    async def runs(self, *, since_ms: int, user: str = "", limit: int = 100) -> list[Run]:
        """Return the runs with a call since ``since_ms``, the newest first; of one user, if given."""

    # Own hardware at an empty balance

    async def draw(self, bucket: str, amount_ms: int, *, share: float, burst_ms: int) -> int:
        """Take ``amount_ms`` from a bucket that fills by ``share`` ms each ms up to ``burst_ms``.

        Returns what is left, which may be negative; an unknown bucket is full.
        """

    # Reading

    async def standing(self, payer: Payer) -> Standing:
        """Return what a payer has. Strangers stay unknown and have nothing."""

    async def balances(self, ids: Sequence[str] | None = None) -> list[Balance]:
        """Return the known accounts (or those of ``ids``), sorted by kind from the root, department, name.

        The organisation's ``settled`` is all that was ever settled: it equals the sum of the charges.
        """

    async def calls(self, user: str, limit: int = 20) -> list[SettledCall]:
        """Return a user's latest settled calls, the newest first."""

    async def spending(self, account: str, first_day: str, last_day: str) -> list[Spending]:
        """Return an account's spending by day and tier, first and last day (``YYYY-MM-DD``) included."""

    async def journal(self, account: str = "", limit: int = 1000) -> list[Act]:
        """Return the journal's latest entries (of one account or session), the newest first."""

    async def verify(self) -> list[Discrepancy]:
        """Recompute every total from grants, holds and journal; return those that differ (none: all sound).

        Reads the whole history: for audits, not for requests.
        """

    # Housekeeping

    async def prune(self, before_ms: int, limit: int = 1000) -> int:
        """Forget at most ``limit`` holds that ended before ``before_ms`` and sessions quiet since then.

        Returns how many. The totals keep them, and so does `verify`.
        """

    async def close(self) -> None:
        """Close the store; it cannot be used afterwards."""


def open_store(
    url: str, *, calendar: Calendar | None = None, clock: Callable[[], float] = time.time
) -> CreditStore:
    """Open the store at ``url``: ``sqlite:///path``, ``redis://host:port/db``, rediss, unix or redis+cluster.

    ``clock`` gives Unix seconds, for holds to expire by; ``calendar`` the time zone of days and months.
    Raises ValueError for an unknown scheme and StoreError if the store cannot be opened. A Redis must have
    been prepared by ``farthing credits init``.
    """
    scheme, _, rest = url.partition("://")
    zone = calendar or Calendar()
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from farthing.credits.sqlite import SQLiteCreditStore

        return SQLiteCreditStore(Path(rest[1:]), calendar=zone, clock=clock)
    if scheme in {"redis", "rediss", "unix", "redis+cluster", "rediss+cluster"} and rest:
        from farthing.credits.redis import RedisCreditStore

        return RedisCreditStore(url, calendar=zone, clock=clock)
    raise ValueError(
        f"credits.store: {url!r} is not a store URL; use sqlite:///path/to/credits.db or redis://host:port/0"
    )
