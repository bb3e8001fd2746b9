"""Recompute the totals in a Redis from journal and holds, beside the traffic, and tell where they differ.

Holds that have ended lie in the order in which they did, and a settled one never changes. So they are summed
in pages, however much is settled meanwhile, until few are left. Those, the live holds and the totals of some
accounts are then read in one step: they are of one moment, and must agree. That step is repeated for the next
accounts. Nothing is pruned meanwhile.
"""

import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from farthing.credits.calendar import Moment
from farthing.credits.redis.connection import STORE_KEY, Connection
from farthing.credits.redis.replies import Days
from farthing.credits.redis.replies import days as days_of
from farthing.credits.redis.scripts import script
from farthing.credits.store import Discrepancy

_PAGE = 100
_TOTALS = ("granted", "expired", "settled", "held")
_PREFIX = STORE_KEY.removesuffix("store")


async def verify(connection: Connection, now: Callable[[], Moment]) -> list[Discrepancy]:
    """Return what does not agree in the store of ``connection``. Raises StoreError."""
    token = secrets.token_hex(8)
    audit = _Audit()

    async def read(accounts: Sequence[str], sessions: Sequence[str]) -> None:
        while True:
            asked = (token, audit.after, json.dumps(accounts), json.dumps(sessions))
            answer = await connection.run(script("audit"), now(), *asked)
            audit.add_ended(*answer[1:3])
            if len(answer) > 3:
                audit.compare(*answer[3:])
                return

    try:
        await read([], [])  # from now on nothing is pruned
        for at_once in _pages(await _members(connection, "accounts")):
            await read(at_once, [])
        for at_once in _pages(await _members(connection, "sessions")):
            await read([], at_once)
        while unseen := audit.unseen():
            await read(unseen[:_PAGE], [])
    finally:
        await connection.run(script("audit_end"), now(), token)
    return sorted(audit.wrong, key=lambda one: (one.account, one.total))


async def _members(connection: Connection, name: str) -> list[str]:
    found: dict[str, None] = {}
    cursor = 0
    while True:
        cursor, page = await connection.scan(_PREFIX + name, cursor)
        found |= dict.fromkeys(page)
        if not cursor:
            return list(found)


def _pages(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[at : at + _PAGE] for at in range(0, len(ids), _PAGE))


class _Audit:
    def __init__(self) -> None:
        self.after = "0"
        self.wrong: list[Discrepancy] = []
        self._settled: defaultdict[str, Days] = defaultdict(dict)
        self._held: Counter[str] = Counter()
        self._compared: set[str] = set()

    def add_ended(self, after: bytes, ended: Sequence[Sequence[bytes]]) -> None:
        self.after = after.decode()
        for chain, settled, overdraft, day, tier in ended:
            for account in _chain(chain):
                at = (day.decode(), tier.decode())
                _add(self._settled[account], at, int(settled), int(overdraft), 1)

    def compare(
        self,
        live: Sequence[Sequence[bytes]],
        accounts: Sequence[Sequence[Any]],
        sessions: Sequence[Sequence[bytes]],
    ) -> None:
        self._held = Counter()
        of_session: Counter[str] = Counter()
        for chain, session_id, amount in live:
            of_session[session_id.decode()] += int(amount)
            for account in _chain(chain):
                self._held[account] += int(amount)
        for row in accounts:
            self._compare_account(row[0].decode(), *row[1:])
        for session, held in sessions:
            name = session.decode()
            self._check(f"session:{name}", "session held", int(held), of_session[name])

    def unseen(self) -> list[str]:
        """Return accounts that holds name but the store did not, when it was asked for those it knows."""
        return sorted((self._settled.keys() | self._held.keys()) - self._compared)

    def _compare_account(
        self,
        account: str,
        fields: Sequence[bytes],
        lines: Sequence[bytes],
        spending: Sequence[bytes],
        folded: Sequence[bytes],
    ) -> None:
        self._compared.add(account)
        limited, *totals, lots = fields
        days = dict(self._settled.get(account, {}))
        for day, sums in days_of(folded).items():
            _add(days, day, *sums)
        granted = expired = 0
        for action, amount in zip(lines[::2], lines[1::2], strict=True):
            if action == b"expire":
                expired -= int(amount)
            elif action in (b"grant", b"adjust", b"opening"):
                granted += int(amount)
        settled = sum(sums[0] for sums in days.values())
        recomputed = (granted, expired, settled, self._held[account])
        for total, has, should in zip(_TOTALS, totals, recomputed, strict=True):
            self._check(account, total, int(has or 0) if limited else None, should)
        if limited == b"1":
            given, over, spent, _ = (int(total or 0) for total in totals)
            lots_left = sum(int(lot[1]) for lot in json.loads(lots or "[]"))
            self._check(account, "lots", lots_left, max(0, given - over - spent))
        kept_days = days_of(spending)
        for day in kept_days.keys() | days.keys():
            pairs = zip(kept_days.get(day, (0, 0, 0)), days.get(day, (0, 0, 0)), strict=True)
            for kept, recounted in [pair for pair in pairs if pair[0] != pair[1]][:1]:
                self._check(account, "spending", kept, recounted)

    def _check(self, account: str, total: str, kept: int | None, recomputed: int) -> None:
        if (kept or 0) != recomputed:
            self.wrong.append(Discrepancy(account, total, kept, recomputed))


def _add(days: Days, day: tuple[str, str], settled: int, overdraft: int, calls: int) -> None:
    before = days.get(day, (0, 0, 0))
    days[day] = (before[0] + settled, before[1] + overdraft, before[2] + calls)


@lru_cache(10_000)
def _chain(packed: bytes) -> tuple[str, ...]:
    return tuple(json.loads(packed)) if packed else ()
