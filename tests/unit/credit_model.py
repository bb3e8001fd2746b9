"""What the stores should answer, in plain arithmetic: coins in purses, and lists of what happened.

It shares nothing with the stores or `State`. A purse's coins are what is left of each grant; money is spent
from those that end first.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

NEVER = 2**62


def month_of(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m}"


def following(month: str) -> str:
    year, number = map(int, month.split("-"))
    return f"{year + number // 12}-{number % 12 + 1:02}"


def begins(month: str) -> int:
    return round(datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).timestamp() * 1000)


@dataclass
class Purse:
    limited: bool
    granted: int = 0
    expired: int = 0
    settled: int = 0
    overdraft: int = 0
    held: int = 0
    monthly: int | None = None
    roll_over: int | None = 0
    month: str = ""
    coins: Counter[tuple[int, str]] = field(default_factory=Counter)
    """How many nano-dollars end when (Unix milliseconds), by grant."""
    debt: int = 0
    taken_back: bool = False

    @property
    def left(self) -> int:
        return sum(self.coins.values()) - self.debt

    @property
    def available(self) -> int:
        return self.left - self.held if self.limited else 10**18

    def give(self, grant_id: str, amount: int, ends: int) -> None:
        self.granted += amount
        paid = min(self.debt, amount)
        self.debt -= paid
        self.coins[ends, grant_id] += amount - paid

    def take(self, coin: tuple[int, str], amount: int) -> int:
        amount = min(amount, self.coins[coin])
        self.coins[coin] -= amount
        return amount

    def withdraw(self, grant_id: str, amount: int) -> None:
        self.granted -= amount
        self.taken_back = self.taken_back or amount > 0
        own_first = sorted(self.coins, key=lambda coin: (coin[1] != grant_id, coin))
        for coin in own_first:
            amount -= self.take(coin, amount)
        self.debt += amount

    def spend(self, amount: int) -> None:
        self.settled += amount
        if not self.limited:
            return
        for coin in sorted(self.coins):
            amount -= self.take(coin, amount)
        self.debt += amount

    def expire(self, coin: tuple[int, str], wanted: int) -> int:
        gone = self.take(coin, min(wanted, max(0, self.available)))
        self.expired += gone
        return wanted - gone

    def relabel(self, grant_id: str, ends: int) -> None:
        amount = sum(count for (_, name), count in self.coins.items() if name == grant_id)
        for coin in [coin for coin in self.coins if coin[1] == grant_id]:
            del self.coins[coin]
        self.coins[ends, grant_id] = amount

    def live_until(self, now: int) -> None:
        """Begin the months that have begun, and let end what is over."""
        ends = begins(following(month_of(now)))
        while self.limited and self.monthly is not None and self.month < month_of(now):
            self.relabel("monthly", ends)
            there = self.coins[ends, "monthly"]
            excess = there - (there if self.roll_over is None else min(there, self.roll_over))
            stays = self.expire((ends, "monthly"), excess)
            self.coins[ends, "monthly"] -= stays
            self.coins[now, f"monthly:{self.month}"] += stays
            self.month = following(self.month)
            self.give("monthly", self.monthly, ends)
        for coin in sorted(self.coins):
            if coin[0] <= now and not (coin[1] == "monthly" and self.monthly is not None):
                self.expire(coin, self.coins[coin])

    def limit(self, now: int) -> None:
        if self.limited:
            return
        self.limited, self.taken_back, self.debt = True, False, 0
        self.granted = self.expired + self.settled + self.held
        self.coins = Counter({(now, "opening"): self.held})

    def unlimit(self) -> None:
        self.limited, self.monthly, self.debt = False, None, 0
        self.coins.clear()

    def plan(self, monthly: int | None, roll_over: int | None, now: int) -> None:
        if (monthly, roll_over) == (self.monthly, self.roll_over):
            return
        if monthly is not None:
            self.limit(now)
            if self.monthly is None:
                self.month = max(self.month, month_of(now))
        change = (monthly or 0) - (self.monthly or 0)
        self.monthly, self.roll_over = monthly, roll_over
        ends = begins(following(month_of(now)))
        self.relabel("monthly", ends)
        if change > 0:
            self.give("monthly", change, ends)
        else:
            self.withdraw("monthly", -change)

    def change_grant(self, grant_id: str, change: int, ends: int, now: int) -> None:
        self.relabel(grant_id, ends)
        if change >= 0:
            self.give(grant_id, change, ends)
        elif ends > now:
            self.withdraw(grant_id, -change)


@dataclass
class Hold:
    user: str
    chain: tuple[str, ...]
    session: str
    amount: int
    expires: int
    state: str = "held"
    settled: int = 0


@dataclass
class Run:
    started: int
    last: int
    max_steps: int | None
    max_cost: int | None
    steps: int = 0
    settled: int = 0
    marks: tuple[str, ...] = ()
    stopped_by: str = ""


class Bank:
    """All purses, holds and runs, at ``now`` (Unix milliseconds)."""

    def __init__(self) -> None:
        self.now = 0
        self.purses: dict[str, Purse] = {}
        self.grants: dict[str, tuple[str, int, int]] = {}
        self.holds: dict[str, Hold] = {}
        self.runs: dict[str, Run] = {}

    def purse(self, account: str) -> Purse:
        return self.purses.setdefault(account, Purse(limited=account.startswith("user:")))

    def live_until(self, now: int) -> None:
        self.now = now
        for hold in self.holds.values():
            if hold.state == "held" and hold.expires <= now:
                self.end(hold, "expired")
        for purse in self.purses.values():
            purse.live_until(now)

    def end(self, hold: Hold, state: str) -> None:
        hold.state = state
        for account in hold.chain:
            self.purse(account).held -= hold.amount

    def held_by(self, session: str) -> int:
        return sum(
            hold.amount for hold in self.holds.values() if hold.state == "held" and hold.session == session
        )

    def left(self, chain: tuple[str, ...], session: str) -> dict[str, int]:
        """What each limited account of a chain, and the session's cap, leave for a hold."""
        found = {account: self.purse(account).available for account in chain if self.purse(account).limited}
        run = self.runs.get(session)
        if run and run.max_cost is not None:
            found[f"session:{session}"] = run.max_cost - run.settled - self.held_by(session)
        return found

    def reserve(self, hold: Hold) -> bool:
        if hold.amount and hold.amount > min(self.left(hold.chain, hold.session).values()):
            return False
        hold.state = "held"
        for account in hold.chain:
            self.purse(account).held += hold.amount
        return True

    def settle(self, hold: Hold, amount: int) -> int:
        """Return the overdraft."""
        covered = 0
        if hold.state == "held":
            covered = hold.amount
            self.end(hold, "held")
        hold.state, hold.settled = "settled", amount
        overdraft = max(0, amount - covered)
        for account in hold.chain:
            self.purse(account).spend(amount)
            self.purse(account).overdraft += overdraft
        if hold.session in self.runs:
            self.runs[hold.session].settled += amount
        return overdraft

    def grant(self, grant_id: str, account: str, amount: int, ends: int) -> None:
        before = self.grants.get(grant_id)
        if before == (account, amount, ends):
            return
        if before and before[0] != account:
            self.withdraw(grant_id)
            before = None
        purse = self.purse(account)
        purse.limit(self.now)
        change = amount - (before[1] if before else 0)
        if before and before[2] <= self.now:  # over: what was left of it has ended
            change = max(0, change)
        purse.change_grant(grant_id, change, ends, self.now)
        purse.live_until(self.now)
        self.grants[grant_id] = (account, amount, ends)

    def withdraw(self, grant_id: str) -> None:
        account, amount, ends = self.grants.pop(grant_id)
        self.purse(account).change_grant(grant_id, -amount, ends, self.now)

    def unlimit(self, account: str) -> None:
        if account in self.purses and self.purses[account].limited:
            self.purses[account].unlimit()
            self.grants = {name: grant for name, grant in self.grants.items() if grant[0] != account}
