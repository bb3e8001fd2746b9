"""A month of many charges: how long each question takes, and whether its answer is still exact."""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from dashboards.grafana.expand import View, expand, queries, single_choices
from farthing.ledger import report, rolls
from farthing.settings import CostSettings, Ledger
from farthing.simulate import load, plan
from farthing.simulate.month import fill, opened

MONTH = date(2026, 10, 1)
_UNTIL = datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)
_BOARDS = Path(__file__).resolve().parents[2] / "dashboards" / "grafana"
_WARM, _LONG_ENOUGH_S = 3, 0.5

# The month's statement as one would write it without rolls: exact, over every charge; and inexact.
_RAW = """
SELECT
    department, cost_centre, user, tier, model, count() AS calls, sum(input_tokens), sum(output_tokens),
    sum(cost_total), sumIf(baseline_cost, kind = 'inference' AND cost_total IS NOT NULL),
    sum(if(kind = 'inference', baseline_cost - cost_total, -cost_total)), countIf(cost_total IS NULL)
FROM {table}
WHERE toStartOfMonth(day) = '2026-10-01'
GROUP BY department, cost_centre, user, tier, model
{settings}
"""
PEERS = {
    "statement by FINAL over the charges (exact, no rolls)": _RAW.format(
        table="charges FINAL", settings="SETTINGS do_not_merge_across_partitions_select_final = 1"
    ),
    "statement by a plain sum over the charges (wrong if one came twice)": _RAW.format(
        table="charges", settings=""
    ),
}
_TOTALS = "SELECT sum({calls}), toString(sum({cost})) FROM {table} WHERE toStartOfMonth(day) = '2026-10-01'"


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds: the first time with nothing in any cache, and the median of further times."""

    cold: float
    warm: float


@dataclass(frozen=True, slots=True)
class Found:
    """One size. Rates are per second; ``lines`` is how many rows the month's rolls have."""

    charges: int
    bytes_each: float
    written_per_s: float
    roll_s_per_day: float
    lines: int
    exact: dict[str, bool]
    times: dict[str, Timed]
    failed: dict[str, str]


def measure(ledger: Ledger, size: int, say: Callable[[str], None]) -> Found:
    """Fill a month in a database of its own, deliver some twice and some late, and ask everything.

    ``ledger`` is one that runs, on this machine.
    """
    with opened(ledger, f"bench_{size}") as client:
        mix = load()
        done = fill(client, mix, plan.rates(mix, CostSettings()), MONTH, size, roll=False)
        say(f"{done.charges:,} charges written in {done.seconds:.1f} s")
        exact, roll_s = _roll(client)
        say(f"days rolled in {roll_s:.2f} s each; exact: {exact}")
        times, failed = _ask(client, ledger.path)
        times |= _late(client, exact, ledger.path)
        parts = (
            "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts "
            "WHERE active AND database = currentDatabase() AND table = 'charges'"
        )
        return Found(
            done.charges,
            float(client.command(parts)),
            done.charges / done.seconds,
            roll_s,
            int(client.command("SELECT count() FROM charges_daily WHERE toStartOfMonth(day) = '2026-10-01'")),
            exact,
            times,
            failed,
        )


def drop(client: Any) -> None:
    """Delete what `measure` wrote, so that sizes do not share the disk's caches."""
    client.command(f"DROP DATABASE {client.database} SYNC")


def _roll(client: Any) -> tuple[dict[str, bool], float]:
    before = _totals(client, "charges FINAL", "1", "cost_total")
    client.command(
        "INSERT INTO charges SELECT * FROM charges WHERE cityHash64(id) % 100 = 0 SETTINGS max_threads = 1"
    )
    doubled = _totals(client, "charges", "1", "cost_total")
    days = [
        row[0] for row in client.query("SELECT DISTINCT day FROM charge_arrivals ORDER BY day").result_rows
    ]
    began = time.monotonic()
    rolls.roll(client, days)
    each = (time.monotonic() - began) / len(days)
    return {
        "a hundredth delivered twice changes the plain sum": doubled[0] > before[0],
        "and nothing in the statement": _totals(client, "charges_daily", "calls", "cost_usd") == before,
    }, each


def _late(client: Any, exact: dict[str, bool], folder: Path) -> dict[str, Timed]:
    columns = [row[0] for row in client.query("DESCRIBE TABLE charges").result_rows]
    picked = ", ".join("concat('late-', id)" if name == "id" else f"`{name}`" for name in columns)
    client.command(
        f"INSERT INTO charges ({', '.join(f'`{name}`' for name in columns)}) "
        f"SELECT {picked} FROM charges FINAL WHERE day = '2026-10-20' LIMIT 500"
    )
    asked = report.Asked("2026-10", as_of=date(2026, 10, 31))
    times = {
        "statement, one day no longer rolled": _timed(
            client, folder, lambda: report.ask(client, "statement", asked)
        )
    }
    exact["late charges are in it at once"] = _totals(
        client, "charges_daily", "calls", "cost_usd"
    ) == _totals(client, "charges FINAL", "1", "cost_total")
    return times


def _totals(client: Any, table: str, calls: str, cost: str) -> tuple[Any, ...]:
    return tuple(client.query(_TOTALS.format(table=table, calls=calls, cost=cost)).result_rows[0])


def _ask(client: Any, folder: Path) -> tuple[dict[str, Timed], dict[str, str]]:
    asked = report.Asked("2026-10", as_of=date(2026, 10, 31))
    ways: dict[str, Callable[[], Any]] = {
        f"{name}.sql": lambda name=name: report.ask(client, name, asked) for name in report.REPORTS
    }
    for name, sql in PEERS.items():
        ways[name] = lambda sql=sql: client.query(sql)
    view = View(datetime(2026, 10, 1, tzinfo=UTC), _UNTIL)
    for file in sorted(_BOARDS.glob("*.json")):
        board = json.loads(file.read_text())
        chosen = View(view.since, view.until, single_choices(board))
        for title, (sql, panel) in queries(board).items():
            expanded = expand(sql, chosen, panel.get("interval", ""))
            ways[f"{file.stem}: {title}"] = lambda sql=expanded: client.query(sql)
    times: dict[str, Timed] = {}
    failed: dict[str, str] = {}
    for name, way in ways.items():
        try:
            times[name] = _timed(client, folder, way)
        except Exception as error:
            failed[name] = str(error).partition("\n")[0][:300]
    return times, failed


def _timed(client: Any, folder: Path, way: Callable[[], Any]) -> Timed:
    _forget(client, folder)
    cold = _seconds(way)
    warm: list[float] = []
    while len(warm) < _WARM and sum(warm) < _LONG_ENOUGH_S:
        warm.append(_seconds(way))
    return Timed(cold, statistics.median(warm))


def _seconds(way: Callable[[], Any]) -> float:
    began = time.monotonic()
    way()
    return time.monotonic() - began


def _forget(client: Any, folder: Path) -> None:
    """Empty the engine's caches and, for the ledger's files, the kernel's."""
    client.command("SYSTEM DROP MARK CACHE")
    client.command("SYSTEM DROP INDEX MARK CACHE")
    for name in folder.rglob("*.bin"):
        try:
            descriptor = os.open(name, os.O_RDONLY)
        except OSError:  # merged away meanwhile
            continue
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
