"""What the pages show, read from the credit store: plain JSON values, amounts as decimal text in credits.

Of the department and the organisation a person sees what is left and the monthly budget, where there is one;
never the calls or names of others. There is no prompt and no answer in any of it.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from farthing.credits import Balance, CreditStore, Payer
from farthing.credits.account import ORGANISATION, account_id
from farthing.credits.calendar import Calendar
from farthing.credits.store import UNCAPPED, Act, Run, SettledCall, Spending
from farthing.money import credits_text, usd_text
from farthing.proxy.pages.identity import Visitor
from farthing.settings import Settings

RECENT_CALLS, SESSIONS, USERS, JOURNAL = 20, 100, 200, 50
"""The most that is shown: calls of a user, sessions, users of one department, journal entries."""

_HASH = 64
"""Hex digits of a key's hash; eight of them are shown."""


class Figures:
    """Reads the store for the pages. Every method raises StoreError."""

    def __init__(self, settings: Settings, store: CreditStore, calendar: Calendar) -> None:
        self._settings, self._store, self._calendar = settings, store, calendar
        self._rate = settings.credits.nano_per_credit

    async def balance(self, visitor: Visitor, now_ms: int) -> dict[str, Any]:
        """Return what a person sees of their own money."""
        payer, store = visitor.payer, self._store
        user = payer.account.user
        standing = await store.standing(payer)
        own = standing.balance
        known = {balance.account: balance for balance in await store.balances(payer.chain)}
        chain = [_of(account, known) for account in payer.chain]
        runs = await store.runs(since_ms=self._active_since(now_ms), user=user, limit=SESSIONS)
        calls = await store.calls(user, RECENT_CALLS)
        return {
            "user": user,
            "department": payer.account.department,
            "organisation": self._settings.organisation,
            "admin": visitor.admin,
            **self._head(),
            **self._money(own),
            "monthly": self._credits(own.monthly),
            **await self._spent(own, now_ms),
            "spendable": self._credits(standing.available),
            "short": None if standing.short == payer.user_id else self._account(standing.short),
            "accounts": [self._share(balance, payer) for balance in chain],
            "sessions": [self._session(run) for run in runs],
            "recent": [self._call(call) for call in calls],
            "at": iso(now_ms),
        }

    async def overview(self, now_ms: int) -> dict[str, Any]:
        """Return what an admin sees: all accounts, the running sessions, and what was granted and stopped."""
        store = self._store
        accounts = await store.balances()
        users: defaultdict[str, list[Balance]] = defaultdict(list)
        for balance in accounts:
            if balance.kind == "user":
                users[balance.department].append(balance)
        # A user may be known before the department has an account: nothing was spent in it yet.
        names = {balance.name for balance in accounts if balance.kind == "department"} | users.keys()
        known = {balance.account: balance for balance in accounts}
        departments = []
        for name in sorted(names):
            balance = _of(account_id("department", name), known)
            departments.append(
                {
                    **self.account(balance),
                    **await self._spent(balance, now_ms),
                    "users": [self.account(user) for user in _most_spent(users[name])],
                    "user_count": len(users[name]),
                }
            )
        organisation = _of(ORGANISATION, known)
        runs = await store.runs(since_ms=self._active_since(now_ms), limit=SESSIONS)
        return {
            **self._head(),
            "organisation": {
                **self.account(organisation),
                **await self._spent(organisation, now_ms),
            },
            "departments": departments,
            "sessions": [self.run(run) for run in runs],
            "journal": [self._act(act) for act in await store.journal(limit=JOURNAL)],
            "at": iso(now_ms),
        }

    def account(self, balance: Balance) -> dict[str, Any]:
        """Return an account as an admin sees it."""
        return {
            **self._account(balance.account),
            "limited": balance.limited,
            **self._money(balance),
            "monthly": self._credits(balance.monthly),
        }

    def run(self, run: Run) -> dict[str, Any]:
        """Return a session as an admin sees it."""
        return {**self._session(run), "user": run.user, "department": run.department}

    def _head(self) -> dict[str, Any]:
        credits = self._settings.credits
        return {
            "usd_per_credit": f"{credits.usd_per_credit:f}",
            "thresholds": sorted(credits.thresholds),
            "time_zone": credits.time_zone,
        }

    def _active_since(self, now_ms: int) -> int:
        return now_ms - round(self._settings.loops.idle_s * 1000)

    def _credits(self, nano: int | None) -> str | None:
        return None if nano is None else credits_text(nano, self._rate)

    def _money(self, balance: Balance) -> dict[str, Any]:
        names = ("granted", "expired", "settled", "held", "overdraft")
        amounts = {name: self._credits(getattr(balance, name)) for name in names}
        left = balance.available if balance.limited else None
        return amounts | {
            "available": self._credits(left),
            "balance": self._credits(None if left is None else left + balance.held),
        }

    def _account(self, account: str) -> dict[str, Any]:
        kind, _, name = account.partition(":")
        shown = {"organisation": self._settings.organisation, "key": name[:8]}.get(kind, name)
        return {"kind": kind, "name": shown}

    def _share(self, balance: Balance, payer: Payer) -> dict[str, Any]:
        own = balance.kind == "key" or balance.account == payer.user_id
        shown = self.account(balance)
        hidden = ("granted", "expired", "settled", "held", "overdraft", "balance")
        return shown if own else {**shown, **dict.fromkeys(hidden)}

    async def _spent(self, balance: Balance, now_ms: int) -> dict[str, Any]:
        """Return what was spent today, and in the period that the soft thresholds look at."""
        now = self._calendar.at(now_ms)
        monthly = balance.monthly is not None
        spending = await self._store.spending(
            balance.account, f"{now.month}-01" if monthly else now.day, now.day
        )
        spent = sum(line.settled for line in spending) if monthly else balance.settled
        today = [line for line in spending if line.day == now.day]
        return {
            "today": self._tiers(today),
            "spent_today": self._credits(sum(line.settled for line in today)),
            "period": {"month": now.month if monthly else None, "spent": self._credits(spent)},
        }

    def _tiers(self, spending: Iterable[Spending]) -> list[dict[str, Any]]:
        return [
            {"tier": line.tier, "calls": line.calls, "credits": self._credits(line.settled)}
            for line in sorted(spending, key=lambda line: (-line.settled, line.tier))
        ]

    def _session(self, run: Run) -> dict[str, Any]:
        return {
            "id": run.session_id,
            "steps": run.steps,
            "max_steps": run.max_steps if run.max_steps != UNCAPPED else None,
            "credits": self._credits(run.settled),
            "held": self._credits(run.held),
            "max_credits": self._credits(run.max_cost),
            "started": iso(run.started_ms),
            "last": iso(run.last_ms),
            "stopped_by": run.stopped_by,
        }

    def _call(self, call: SettledCall) -> dict[str, Any]:
        return {
            "id": call.id,
            "at": iso(call.at_ms),
            "grade": call.note.grade,
            "tier": call.note.tier,
            "model": call.note.model,
            "kind": call.note.kind,
            "credits": self._credits(call.amount),
            "usd": usd_text(call.amount),
            "overdraft": self._credits(call.overdraft),
            "session": call.session_id,
        }

    def _act(self, act: Act) -> dict[str, Any]:
        # A cap's ref says what was capped: "steps", or "cost: none" where a cap was lifted.
        capped, _, lifted = act.ref.partition(": ") if act.action == "cap" else ("", "", "")
        return {
            "at": iso(act.at_ms),
            "actor": act.actor,
            "action": act.action,
            **self._account(act.target),
            "credits": None if capped == "steps" or lifted else self._credits(act.amount),
            "steps": act.amount if capped == "steps" and not lifted and act.amount != UNCAPPED else None,
            "month": act.month,
            "ref": _short(act.ref),
            "reason": act.reason,
        }


def iso(ms: int) -> str:
    """Return Unix milliseconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _of(account: str, known: dict[str, Balance]) -> Balance:
    # An account that was never named has spent nothing and limits nothing.
    return known.get(account) or Balance(account, limited=False)


def _most_spent(users: list[Balance]) -> list[Balance]:
    shown = sorted(users, key=lambda user: (-user.settled, user.name))[:USERS]
    return sorted(shown, key=lambda user: user.name)


def _short(ref: str) -> str:
    kind, _, name = ref.rpartition(":")
    return f"{kind}:{name[:8]}" if kind and len(name) == _HASH else ref
