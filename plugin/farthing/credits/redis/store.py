"""The credit store in Redis: each method is one Lua script, so one atomic step.

The scripts mirror account.py and the SQLite store; ``lua/fields.lua`` lists the keys. Redis needs
``appendonly yes``: what it forgets of its last second when it is killed (or what a replica that takes over
never got) is settled again from the gateway's own record of charges. A Redis that comes back empty, or holds
another store, is refused.

More than one step can do at once goes by pages, each page a step: the list of all accounts, the journal,
grants to revoke, leases that ended together, and what `verify` reads.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from farthing.credits.account import MONTHLY, OPENING
from farthing.credits.calendar import Calendar, Moment
from farthing.credits.checks import check_account, check_amount, check_amounts, check_id, lease_ms
from farthing.credits.redis import replies
from farthing.credits.redis.connection import Connection
from farthing.credits.redis.scripts import script
from farthing.credits.redis.verify import verify
from farthing.credits.store import (
    MARKS,
    THRESHOLDS,
    Act,
    Balance,
    CallNote,
    Discrepancy,
    InsufficientCreditsError,
    Payer,
    Run,
    RunCaps,
    SettledCall,
    Settlement,
    Spending,
    Standing,
    shown_in_order,
)

_PAGE = 1000
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class RedisCreditStore:
    """A `CreditStore` in a Redis (7 or newer, or Valkey), one server or a cluster.

    ``url`` begins with ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://`` or
    ``rediss+cluster://``. ``clock`` gives Unix seconds. Does not connect: a Redis that is away, or was never
    initialised, is the StoreError of each step until it is there. It may be used in several event loops, one
    after the other or at once. Raises ValueError if ``url`` is no such URL.
    """

    def __init__(
        self, url: str, *, calendar: Calendar | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._connection = Connection(url)
        self._calendar, self._clock = calendar or Calendar(), clock

    def _now(self) -> Moment:
        return self._calendar.at(int(self._clock() * 1000))

    async def _step(self, name: str, *arguments: str | int) -> list[Any]:
        return (await self._connection.run(script(name), self._now(), *arguments))[1:]

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
        """See `CreditStore.grant`."""
        _check_grant(grant_id, expires_ms)
        check_account(account)
        check_amount(amount)
        expires = _maybe(expires_ms)
        step = ("grant", account, department, user, actor, reason, grant_id, amount, expires)
        return replies.balance((await self._step(*step))[0])

    async def revoke_grants(self, prefix: str, keep: set[str]) -> None:
        """See `CreditStore.revoke_grants`."""
        kept, after = frozenset(keep), ""
        while True:
            found = [grant.decode() for grant in (await self._step("grants", prefix, after))[0]]
            if revoked := [grant for grant in found if grant not in kept]:
                await self._step("revoke", _encode(revoked), "farthing.yaml")
            if len(found) < _PAGE:
                return
            after = found[-1]

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
        """See `CreditStore.plan`."""
        check_account(account)
        check_amounts(monthly, roll_over)
        step = ("plan", account, department, user, actor, "", _maybe(monthly), _maybe(roll_over))
        return replies.balance((await self._step(*step))[0])

    async def unlimit(self, account: str, *, actor: str = "farthing.yaml") -> None:
        """See `CreditStore.unlimit`."""
        check_account(account)
        if account.startswith("user:"):
            raise ValueError(f"{account!r}: a user always has a limit")
        await self._step("unlimit", account)

    # Two-phase spending

    async def hold(self, hold_id: str, payer: Payer, amount: int, ttl_s: float) -> Standing:
        """See `CreditStore.hold`."""
        check_id(hold_id)
        check_id(payer.account.user)
        check_amount(amount)
        now = self._now()
        step = (*_payer(payer), hold_id, amount, now.ms + lease_ms(ttl_s))
        tag, found = await self._connection.run(script("hold"), now, *step)
        if tag == b"other":
            raise _others(hold_id, found, payer)
        standing = replies.standing(found)
        if tag == b"short":
            raise InsufficientCreditsError(payer, amount, standing)
        return standing

    async def renew(self, hold_ids: Sequence[str], ttl_s: float) -> None:
        """See `CreditStore.renew`."""
        now = self._now()
        ends = now.ms + lease_ms(ttl_s)
        if hold_ids:
            await self._connection.run(script("renew"), now, _encode(list(hold_ids)), ends)

    async def settle(
        self,
        hold_id: str,
        payer: Payer,
        amount: int,
        note: CallNote = CallNote(),  # noqa: B008  # frozen
        thresholds: Sequence[int] = THRESHOLDS,
    ) -> Settlement:
        """See `CreditStore.settle`."""
        check_id(hold_id)
        check_id(payer.account.user)
        check_amount(amount)
        about = (note.tier, note.model, note.grade, note.kind)
        step = (*_payer(payer), hold_id, amount, _packed(tuple(thresholds)), *about)
        tag, *found = await self._connection.run(script("settle"), self._now(), *step)
        if tag == b"other":
            raise _others(hold_id, found[0], payer)
        return replies.settlement(found)

    async def release(self, hold_id: str) -> None:
        """See `CreditStore.release`."""
        check_id(hold_id)
        await self._step("release", hold_id)

    async def unsettled(self, hold_ids: Sequence[str]) -> set[str]:
        """See `CreditStore.unsettled`."""
        asked, found = list(hold_ids), set[str]()
        for at in range(0, len(asked), _PAGE):
            page = await self._step("unsettled", _encode(asked[at : at + _PAGE]))
            found.update(hold_id.decode() for hold_id in page[0])
        return found

    # Sessions

    async def enter(self, payer: Payer, caps: RunCaps, mark: str) -> Run:
        """See `CreditStore.enter`."""
        check_id(payer.account.user)
        check_id(payer.session_id)
        check_amounts(caps.steps, caps.cost)
        run_caps = (str(caps.idle_s * 1000), _maybe(caps.steps), _maybe(caps.cost))
        step = (*_payer(payer), payer.account.key_hash, *run_caps, mark, MARKS)
        return replies.run((await self._step("enter", *step))[0])

    async def cap_run(
        self, session_id: str, *, steps: int | None, cost: int | None, actor: str, reason: str = ""
    ) -> Run | None:
        """See `CreditStore.cap_run`."""
        check_id(session_id)
        check_amounts(steps, cost)
        return _run(await self._step("cap_run", session_id, _maybe(steps), _maybe(cost), actor, reason))

    async def stop_run(self, session_id: str, *, actor: str, reason: str = "") -> Run | None:
        """See `CreditStore.stop_run`."""
        check_id(session_id)
        check_id(actor)
        return _run(await self._step("stop_run", session_id, actor, reason))

    async def runs(self, *, since_ms: int, user: str = "", limit: int = 100) -> list[Run]:
        """See `CreditStore.runs`."""
        found = await self._step("runs", since_ms, user, max(0, limit))
        return sorted(map(replies.run, found[0]), key=lambda run: (-run.last_ms, run.session_id))

    # Own hardware at an empty balance

    async def draw(self, bucket: str, amount_ms: int, *, share: float, burst_ms: int) -> int:
        """See `CreditStore.draw`."""
        check_id(bucket)
        check_amount(amount_ms)
        check_amount(burst_ms)
        if not (share >= 0 and math.isfinite(share)):
            raise ValueError(f"share {share!r} must be a number that is not negative")
        return int((await self._step("draw", bucket, amount_ms, repr(share), burst_ms))[0])

    # Reading

    async def standing(self, payer: Payer) -> Standing:
        """See `CreditStore.standing`."""
        check_id(payer.account.user)
        return replies.standing((await self._step("standing", *_payer(payer)))[0])

    async def balances(self, ids: Sequence[str] | None = None) -> list[Balance]:
        """See `CreditStore.balances`."""
        found: list[Balance] = []
        if ids is None:
            after = ""
            while page := (await self._step("accounts", after))[0]:
                found += map(replies.balance, page)
                after = found[-1].account
        else:
            wanted = list(dict.fromkeys(ids))
            for at in range(0, len(wanted), _PAGE):
                found += map(
                    replies.balance, (await self._step("balances", _encode(wanted[at : at + _PAGE])))[0]
                )
        return shown_in_order(found)

    async def calls(self, user: str, limit: int = 20) -> list[SettledCall]:
        """See `CreditStore.calls`. Redis knows the latest 100 of each user."""
        found = [replies.settled_call(row) for row in (await self._step("calls", user))[0]]
        return sorted(found, key=lambda call: (call.at_ms, call.id), reverse=True)[: max(0, limit)]

    async def spending(self, account: str, first_day: str, last_day: str) -> list[Spending]:
        """See `CreditStore.spending`."""
        days = replies.days((await self._step("spending", account))[0])
        return [
            Spending(day, tier, *sums)
            for (day, tier), sums in sorted(days.items())
            if first_day <= day <= last_day
        ]

    async def journal(self, account: str = "", limit: int = 1000) -> list[Act]:
        """See `CreditStore.journal`."""
        if not account:
            await self._catch_up()
        acts: list[Act] = []
        upto = ""
        while len(acts) < limit:
            page = (await self._step("journal", account, upto, min(_PAGE, limit - len(acts))))[0]
            if not page:
                break
            acts += map(replies.act, page)
            upto = page[-1][0].decode()
        return acts

    async def _catch_up(self) -> None:
        """Bring every account for which a month or a grant has ended to the present."""
        skip = 0
        while True:
            found, still = map(int, await self._step("catch_up", skip))
            if not found:
                return
            skip += still

    async def verify(self) -> list[Discrepancy]:
        """See `CreditStore.verify`. Reads beside the traffic; nothing is pruned meanwhile."""
        return await verify(self._connection, self._now)

    # Housekeeping

    async def prune(self, before_ms: int, limit: int = 1000) -> int:
        """See `CreditStore.prune`."""
        return int((await self._step("prune", before_ms, max(0, limit)))[0])

    async def close(self) -> None:
        """See `CreditStore.close`."""
        await self._connection.close()


def _check_grant(grant_id: str, expires_ms: int | None) -> None:
    check_id(grant_id)
    if grant_id.partition(":")[0] in (MONTHLY, OPENING):
        raise ValueError(f"grant id {grant_id!r} is taken: {MONTHLY!r} and {OPENING!r} are the account's own")
    if expires_ms is not None:
        check_amount(expires_ms)


def _payer(payer: Payer) -> tuple[str, str, str, str]:
    account = payer.account
    return account.user, account.department, _packed(payer.chain), payer.session_id


@lru_cache(10_000)
def _packed(values: tuple[str, ...] | tuple[int, ...]) -> str:
    return _encode(values)


def _maybe(number: int | None) -> str | int:
    return "" if number is None else number


def _run(answer: Sequence[Any]) -> Run | None:
    return replies.run(answer[0]) if answer else None


def _others(hold_id: str, holder: bytes, payer: Payer) -> ValueError:
    return ValueError(f"hold {hold_id!r} belongs to user {holder.decode()!r}, not {payer.account.user!r}")
