"""Writes a simulated month into a ledger's database of its own, part by part."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import date, datetime
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import Any

from farthing.ledger import LedgerError, prepare, rolls
from farthing.ledger.client import connect
from farthing.settings import Ledger
from farthing.simulate import plan
from farthing.simulate.errors import SimulationError
from farthing.simulate.mix import Mix

_AGENTS = """
CREATE TABLE IF NOT EXISTS simulated_agents
(
    agent UInt32, department LowCardinality(String), cost_centre LowCardinality(String),
    user LowCardinality(String), key_hash LowCardinality(String), work LowCardinality(String),
    low Float64, medium Float64, input UInt32, output UInt32, cached_share Float64
)
ENGINE = MergeTree ORDER BY agent
"""
# The parts of a month that are written. A part that is not here is written again, whole: its charges have
# the ids they had.
_PARTS = """
CREATE TABLE IF NOT EXISTS simulated_parts
(
    month Date, mix String, charges_asked UInt64, gateway String, requests UInt64,
    written_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree ORDER BY (month, gateway)
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What a run wrote, and what the month then holds. ``seconds`` of writing, ``rolling`` of rolling."""

    written: int
    charges: int
    cost_usd: str
    seconds: float
    rolling: float
    agents: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is: requests of the month, and of this run since its start."""

    requests: int
    of: int
    per_second: float


@contextmanager
def opened(ledger: Ledger, database: str, folder: Path | None = None, *, make: bool = True) -> Iterator[Any]:
    """Yield a client of ``database`` in the ledger that runs, or in the ``folder`` of one that is stopped.

    ``make``: the database is made if it is not there, and migrated. Raises LedgerError.
    """
    target = ledger.model_copy(update={"database": database})
    if folder is None:
        if make:
            prepare(target)
        client = connect(target)
        try:
            yield client
        finally:
            client.close()
        return
    from clickhouse_connect import get_client

    from farthing.ledger.engine import Engine
    from farthing.ledger.schema import migrate

    if not (make or (folder / "farthing.lock").exists()):
        raise LedgerError(f"{folder} is no ledger's folder")
    engine = Engine(folder, database)
    try:
        client = get_client(interface="chdb", path=str(engine.path), database=database)
        try:
            migrate(client)
            yield client
        finally:
            client.close()
    finally:
        engine.close()


def fill(
    client: Any,
    mix: Mix,
    rates: plan.Rates,
    month: date,
    charges: int,
    *,
    again: bool = False,
    roll: bool = True,
    part_requests: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Done:
    """Write the month; go on with one of the same mix that was interrupted. Raises SimulationError.

    ``again``: delete a simulated month of another mix first. A database that holds real charges is never
    written to. ``roll``: sum the days at the end, so that boards and statements read them fast at once.
    """
    client.command(_AGENTS)
    client.command(_PARTS)
    _refuse_real(client)
    todo = plan.parts(mix, month, charges, *([part_requests] if part_requests else []))
    written = _written(client, mix, month, charges, todo, again)
    people = plan.agents(mix)
    names = [field.name for field in fields(plan.Agent)]
    client.command("TRUNCATE TABLE simulated_agents")
    client.insert("simulated_agents", [astuple(agent) for agent in people], column_names=names)
    _books(client, mix, rates, month, charges)
    statement = _statement()
    shared = _parameters(mix, rates)
    requests, ready = (
        sum(part.requests for part in todo),
        sum(p.requests for p in todo if p.gateway in written),
    )
    began, lock, since = monotonic(), threading.Lock(), 0

    def write(part: plan.Part) -> None:
        nonlocal ready, since
        client.command(
            statement,
            parameters={
                **shared, "day": part.day, "day_ms": part.day_ms, "first": part.first,
                "requests": part.requests, "gateway": part.gateway,
            },
            settings=_SETTINGS,
        )  # fmt: skip
        row = [month, mix.digest, charges, part.gateway, part.requests]
        client.insert("simulated_parts", [row], column_names=_PART_COLUMNS)
        with lock:
            ready += part.requests
            since += part.requests
            progress(Progress(ready, requests, since / max(1e-9, monotonic() - began)))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for _ in pool.map(write, [part for part in todo if part.gateway not in written]):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    seconds = monotonic() - began
    if roll:
        rolls.roll(client, sorted({part.day for part in todo}))
    rolled = monotonic() - began - seconds
    count, cost = client.query(
        "SELECT sum(calls), toString(sum(cost_usd)) FROM charges_daily "
        "WHERE toStartOfMonth(day) = {month:Date}",
        parameters={"month": month},
    ).result_rows[0]
    return Done(since, int(count), cost, seconds, rolled, len(people))


_AT_ONCE = 2
_PART_COLUMNS = ["month", "mix", "charges_asked", "gateway", "requests"]
_SETTINGS = {
    # One thread for each part numbers its charges in their order; two parts are written at a time.
    "max_threads": 1,
    "max_insert_threads": 1,
    "max_block_size": 65536,
    "min_insert_block_size_rows": 400_000,
    "min_insert_block_size_bytes": 0,
    "max_execution_time": 0,
}


def _refuse_real(client: Any) -> None:
    real = client.query(
        "SELECT gateway_instance FROM charges "
        "WHERE NOT startsWith(gateway_instance, {prefix:String}) LIMIT 1",
        parameters={"prefix": f"{plan.PREFIX}-"},
    ).result_rows
    if real:
        raise SimulationError(
            f"database {client.database!r} holds real charges (of gateway {real[0][0]!r}); simulated ones "
            "never go among them: name another with --database"
        )


def _written(
    client: Any, mix: Mix, month: date, charges: int, todo: list[plan.Part], again: bool
) -> set[str]:
    rows = client.query(
        "SELECT gateway, mix, charges_asked, requests FROM simulated_parts FINAL WHERE month = {month:Date}",
        parameters={"month": month},
    ).result_rows
    sizes = {part.gateway: part.requests for part in todo}
    same = all(
        digest == mix.digest and asked == charges and sizes.get(gateway) == requests
        for gateway, digest, asked, requests in rows
    )
    if (
        not rows
        and client.query(
            "SELECT 1 FROM charges WHERE toStartOfMonth(day) = {month:Date} LIMIT 1",
            parameters={"month": month},
        ).result_rows
    ):
        same = False
    if same:
        return {gateway for gateway, *_ in rows}
    if not again:
        raise SimulationError(
            f"{month:%Y-%m} is simulated already in database {client.database!r}, from another mix or number "
            "of charges; --force deletes it first, or name another --database"
        )
    client.command("ALTER TABLE charges DROP PARTITION {month:String}", parameters={"month": f"{month:%Y%m}"})
    client.command(
        "ALTER TABLE simulated_parts DELETE WHERE month = {month:Date}",
        parameters={"month": month},
        settings={"mutations_sync": 2},
    )
    return set()


def _books(client: Any, mix: Mix, rates: plan.Rates, month: date, charges: int) -> None:
    """What finance sets beside the charges: machines of the local tier, and budgets."""
    client.command(
        "DELETE FROM hardware_costs WHERE startsWith(node, {prefix:String})",
        parameters={"prefix": f"{plan.PREFIX}-"},
    )
    client.insert(
        "hardware_costs",
        [
            [f"{plan.PREFIX}-node-{number + 1}", "local", datetime(2020, 1, 1), None,
             mix.hardware.usd_per_hour, "rent", f"simulated; mix {mix.digest}"]
            for number in range(plan.nodes(mix, charges))
        ],
        column_names=["node", "tier", "valid_from", "valid_to", "usd_per_hour", "method", "note"],
    )  # fmt: skip
    client.insert(
        "budgets",
        [
            [month, "department", name, round(part.budget * charges / 10**6, 9)]
            for name, part in mix.departments.items()
        ],
        column_names=["month", "scope", "name", "amount_usd"],
    )


def _statement() -> str:
    return (files("farthing.simulate") / "charges.sql").read_text("utf-8")


def _parameters(mix: Mix, rates: plan.Rates) -> dict[str, object]:
    session_of, step, steps_of = plan.round_of_sessions(mix)
    latency = (mix.latency.local, mix.latency.fast, mix.latency.strong)
    return {
        "seed": mix.seed, "agents": mix.agents, "skew": mix.skew, "steps": step, "session_of": session_of,
        "steps_of": steps_of, "sessions_per_round": len(mix.sessions), "pause_ms": mix.pause_s * 1000,
        "hours": plan.hour_slots(mix), "failures": [mix.failures.local, mix.failures.fast, 0.0],
        "judged": mix.judged, "longest_input": mix.longest_input, "spread": mix.spread, "growth": mix.growth,
        "unpriced": mix.unpriced, "cancelled": mix.cancelled, "streamed": mix.streamed, "tasks": mix.tasks,
        "first_ms": [part.first for part in latency], "token_ms": [part.token for part in latency],
        "models": list(rates.models), "providers": list(rates.providers), "input_rates": list(rates.input),
        "output_rates": list(rates.output), "read_rates": list(rates.read), "price_version": rates.version,
    }  # fmt: skip
