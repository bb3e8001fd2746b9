"""Rolls: what charges_daily and charges_hourly read instead of the charges of days that are at rest.

Migration 0006 says why a roll is exact. The order of its steps is the whole of it: arrivals are read first,
then the rows are summed, and the marker is written last. A roll that breaks off has no marker and is never
read; a charge that arrives meanwhile makes the marker void.

On a server of its own, and on chDB, a charge can be read no later than it is counted in charge_arrivals. On a
replica both come by way of replication queues, and the count may come first: there the roller waits, between
the first step and the second, until its replica has all that was inserted before. A roll's rows in turn could
reach another replica after its marker, so each insert of a roll waits until all replicas have it; while one
is down nothing is rolled, and busy days are slower to read, but right.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

WHOLE_DAY = -1
"""The slot of a whole day; other slots are hours since 1970 (UTC)."""

BUSY = 50_000
"""Arrivals from which a day is rolled hour by hour: fewer charges are summed in a fraction of a second."""

_TOO_LONG_S = 300
_TIDY_EVERY_S = 3600
# Longer than any query that began before a roll was replaced, and than _TOO_LONG_S.
_KEEP_REPLACED = timedelta(minutes=15)
# A day's late charges make one hour void; the others still serve to roll the day anew.
_KEEP_HOURS = timedelta(days=3)
_SETTINGS: Mapping[str, Any] = {"max_threads": 1, "max_insert_threads": 1, "max_execution_time": _TOO_LONG_S}
_SUMMED = {"sessions": "uniqCombined64MergeState", "tasks": "uniqCombined64MergeState"}
_MEASURES = frozenset(
    [
        "calls",
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
        "unpriced",
        "without_baseline",
        "usage_estimated",
        "cost_usd",
        "cost_input_usd",
        "cost_output_usd",
        "cost_cache_read_usd",
        "cost_cache_write_usd",
        "baseline_usd",
        "savings_usd",
        "settled_usd",
        "context_saved_usd",
        "busy_ms",
    ]
)
_TABLES = {"daily_rolls": "charges_daily", "hourly_rolls": "charges_hourly"}


@dataclass(frozen=True, slots=True)
class Slot:
    """A day, or an hour of it, and the rows that arrived for it so far."""

    day: date
    slot: int
    arrivals: int


def roll(client: Any, days: Iterable[date] | None = None, *, seal: bool = False) -> list[Slot]:
    """Roll the days that are not (or those given) and return what was rolled.

    Without ``days``, every day that is over and has no roll in force; of a busy day that is not over, its
    hours. ``seal`` marks the rolls of the given days as the last ones, to be read whatever arrives: for days
    whose charges are about to be dropped. Raises what the client raises; what was rolled until then holds.
    """
    roller = Roller(client)
    if days is None:
        return roller.run(settled=True)
    return [roller.roll(day, WHOLE_DAY, seal=seal) for day in days]


class Roller:
    """Rolls again and again, with the least work: days that still change are rolled hour by hour.

    For use by one thread at a time. Any number of rollers may work on one ledger at once; their rolls are
    then made in vain, but never read twice.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._replicas = int(
            self._one(
                "SELECT max(total_replicas) FROM system.replicas "
                "WHERE database = currentDatabase() AND table = 'daily_rolls'",
                {},
            )
        )
        self._seen: dict[date, int] = {}
        self._columns: dict[str, list[str]] = {}

    def run(self, *, settled: bool = False, stop: Callable[[], bool] = lambda: False) -> list[Slot]:
        """Roll what is worth it now; return what was rolled. ``stop`` is asked before each slot.

        ``settled``: take every day that is over for one that changes no more.
        """
        now = self._now()
        today, hour = now.date(), int(now.timestamp() // 3600)
        done: list[Slot] = []
        open_days = self._open_days()
        for day, slots in sorted(open_days.items()):
            total = sum(arrivals for arrivals, _ in slots.values())
            if total > BUSY:
                for slot, (_, rolled) in sorted(slots.items()):
                    if stop():
                        return done
                    if not rolled and slot < hour:
                        done.append(self.roll(day, slot))
            elif day >= today:
                continue
            # A day that still receives is rolled whole once it did not for a while: until then its hours do.
            if day < today and (settled or total <= BUSY or self._seen.get(day) == total):
                if stop():
                    return done
                done.append(self.roll(day, WHOLE_DAY))
        self._seen = {
            day: sum(arrivals for arrivals, _ in slots.values()) for day, slots in open_days.items()
        }
        return done

    def roll(self, day: date, slot: int = WHOLE_DAY, *, seal: bool = False) -> Slot:
        """Roll one slot of a day, whether it needs it or not."""
        began = time.monotonic()
        where = "day = {day:Date}" + ("" if slot == WHOLE_DAY else " AND slot = {slot:Int32}")
        bound = {"day": day, "slot": slot}
        arrivals = int(self._one(f"SELECT sum(arrivals) FROM charge_arrivals WHERE {where}", bound))  # noqa: S608
        if self._replicas:
            for table in ("charges", "charge_rolls", *_TABLES):
                self._client.command(f"SYSTEM SYNC REPLICA {table} LIGHTWEIGHT")
        number = self._number(day, slot)
        for table, view in _TABLES.items():
            self._sum_up(table, view, where, {**bound, "roll": number}, whole=slot == WHOLE_DAY)
        if time.monotonic() - began > _TOO_LONG_S:
            raise TimeoutError(f"rolling {day} took longer than {_TOO_LONG_S} s and was given up")
        self._client.command(
            "INSERT INTO charge_rolls (day, slot, roll, arrivals, sealed) VALUES "
            "({day:Date}, {slot:Int32}, {roll:UInt128}, {arrivals:UInt64}, {sealed:Bool})",
            parameters={**bound, "roll": number, "arrivals": arrivals, "sealed": seal},
            settings=self._quorum(),
        )
        return Slot(day, slot, arrivals)

    def tidy(self) -> int:
        """Delete rolls that were replaced, or broke off, a while ago; return how many they were."""
        now = self._now()
        bound = {
            "before": int((now - _KEEP_REPLACED).timestamp() * 1000),
            "hours_before": int((now - _KEEP_HOURS).timestamp() * 1000),
        }
        old = [
            (date.fromisoformat(day), int(slot), int(number))
            for day, slot, number in self._client.query(_REPLACED, parameters=bound).result_rows
        ]
        for day in sorted({day for day, _, _ in old}):
            # A number literal beyond 64 bits would be read as a float.
            listed = ", ".join(f"({slot}, toUInt128('{number}'))" for at, slot, number in old if at == day)
            for table in (*_TABLES, "charge_rolls"):
                self._client.command(
                    f"DELETE FROM {table} WHERE day = {{day:Date}} AND (slot, roll) IN ({listed})",  # noqa: S608
                    parameters={"day": day},
                )
        return len(old)

    def _sum_up(self, table: str, view: str, where: str, bound: dict[str, Any], *, whole: bool) -> None:
        # A whole day is summed from the view that everybody reads, and so from its hours where they are
        # rolled; an hour from its charges.
        columns = self._names(table)
        if whole:
            measures = {name for name in columns if name in _MEASURES or name in _SUMMED}
            picked = [
                f"{_SUMMED.get(name, 'sum')}(v.{name}) AS {name}" if name in measures else f"v.{name}"
                for name in columns
            ]
            keys = ", ".join(f"v.{name}" for name in columns if name not in measures)
            select = f"SELECT day, {WHOLE_DAY}, {{roll:UInt128}}, {', '.join(picked)} FROM {view} AS v"  # noqa: S608
            tail = f"GROUP BY day, {keys}"
        else:
            select = f"SELECT day, slot, {{roll:UInt128}}, {', '.join(columns)} FROM {view}_live"  # noqa: S608
            tail = ""
        self._client.command(
            f"INSERT INTO {table} (day, slot, roll, {', '.join(columns)}) {select} WHERE {where} {tail}",
            parameters=bound,
            settings={**_SETTINGS, **self._quorum()},
        )

    def _names(self, table: str) -> list[str]:
        if table not in self._columns:
            rows = self._client.query(f"DESCRIBE TABLE {table}").result_rows
            self._columns[table] = [str(row[0]) for row in rows if row[0] not in ("day", "slot", "roll")]
        return self._columns[table]

    def _open_days(self) -> dict[date, dict[int, tuple[int, bool]]]:
        days: dict[date, dict[int, tuple[int, bool]]] = {}
        for day, slot, arrivals, rolled in self._client.query(_OPEN).result_rows:
            days.setdefault(date.fromisoformat(day), {})[int(slot)] = (int(arrivals), bool(rolled))
        return days

    def _number(self, day: date, slot: int) -> int:
        """Return a number above those of the slot's rolls, the ledger's time in ms in its upper bits."""
        last = int(
            self._one(
                "SELECT max(roll) FROM charge_rolls WHERE day = {day:Date} AND slot = {slot:Int32}",
                {"day": day, "slot": slot},
            )
        )
        return max(int(self._now().timestamp() * 1000) << 64 | secrets.randbits(64), last + 1)

    def _now(self) -> datetime:
        # The ledger's clock, so that rollers on machines with other clocks agree.
        milliseconds = int(self._one("SELECT toUnixTimestamp64Milli(now64(3))", {}))
        return datetime.fromtimestamp(milliseconds / 1000, UTC)

    def _one(self, sql: str, bound: dict[str, Any]) -> Any:
        return self._client.query(sql, parameters=bound).result_rows[0][0]

    def _quorum(self) -> dict[str, Any]:
        return {"insert_quorum": self._replicas} if self._replicas else {}


_OPEN = """
SELECT
    toString(a.day),
    a.slot,
    a.arrivals,
    (a.day, a.slot) IN (SELECT day, slot FROM rolls_in_force)
FROM arrivals_by_slot AS a
WHERE a.slot != -1 AND a.day NOT IN (SELECT day FROM rolls_in_force WHERE slot = -1)
"""

_REPLACED = """
SELECT DISTINCT
    toString(r.day),
    r.slot,
    r.roll
FROM
(
    SELECT day, slot, roll FROM daily_rolls
    UNION DISTINCT
    SELECT day, slot, roll FROM hourly_rolls
) AS r
WHERE bitShiftRight(r.roll, 64) < {before:UInt64}
    AND (
        (
            (r.day, r.slot, r.roll) NOT IN (SELECT day, slot, max(roll) FROM charge_rolls GROUP BY day, slot)
            AND r.day NOT IN (SELECT day FROM sealed_days)
        )
        OR (
            r.slot != -1
            AND bitShiftRight(r.roll, 64) < {hours_before:UInt64}
            AND r.day IN (SELECT day FROM rolls_in_force WHERE slot = -1)
        )
    )
"""


class Background:
    """A thread that rolls every ``every_s`` seconds until it is stopped."""

    def __init__(self, connect: Callable[[], Any], every_s: float, complain: Callable[[str], None]) -> None:
        self._connect, self._every_s, self._complain = connect, every_s, complain
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="farthing-rolls", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, within_s: float) -> bool:
        """Stop before the next slot; return whether the thread ended within the time."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(within_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        client, roller, said = None, None, ""
        tidied = time.monotonic()
        while not self._stop.wait(self._every_s):
            try:
                if roller is None:
                    client = self._connect()
                    roller = Roller(client)
                roller.run(stop=self._stop.is_set)
                if time.monotonic() - tidied > _TIDY_EVERY_S:
                    tidied = time.monotonic()
                    roller.tidy()
                said = ""
            except Exception as error:  # a roll is only speed: without it the charges themselves are read
                text = str(error).partition("\n")[0]
                if text != said:
                    self._complain(f"rolling failed, and will be tried again: {text}")
                    said = text
        if client is not None:
            client.close()
