"""Months that are closed, rows that are dropped, charges made again: no statement changes by any of it."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from farthing.cli import main
from farthing.ledger import LedgerError, connect, sqltext
from farthing.ledger.closing import close_month, closed_months
from farthing.ledger.cluster import Layout
from farthing.ledger.rebuild import rebuild
from farthing.ledger.retention import drop_charges, expire_traces
from farthing.ledger.rolls import roll
from farthing.ledger.schema import script
from farthing.ledger.status import status
from farthing.ledger.users import role_of, statements
from farthing.settings import Reader, Settings
from farthing.telemetry import Charge
from tests.ledger_stack import PASSWORD, USER, charge, deliver, embedded_ledger, sql

TABLES = (
    "otel_traces", "charges", "charge_arrivals", "charge_rolls", "daily_rolls", "hourly_rolls", "closings",
    "closing_lines",
)  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("ledger")) as running:
        yield running


@pytest.fixture(scope="module")
def client(settings: Settings) -> Any:
    return connect(settings.ledger)


@pytest.fixture(autouse=True)
def empty(settings: Settings) -> None:
    for table in TABLES:
        sql(settings, f"TRUNCATE TABLE {table}")


def month_of(started: datetime, number: int, **changes: object) -> Charge:
    return charge(number, id=f"{started:%Y%m%d%H}-{number}", started=started, ended=started, **changes)


OCTOBER = datetime(2025, 10, 31, 23, 59, 59, 999999, tzinfo=UTC)
NOVEMBER = datetime(2025, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2025, 12, 5, 12, tzinfo=UTC)
LINES = "SELECT month, department, calls, cost_usd, unpriced FROM {} ORDER BY ALL"


def test_a_closed_month_never_changes_and_what_comes_later_is_booked_in_the_next(
    settings: Settings, client: Any
) -> None:
    batch = [month_of(OCTOBER, number) for number in range(4)]
    deliver(settings, batch)
    done = close_month(client, "2025-10")
    assert (done.new, done.lines, done.corrections) == (True, 1, 0)
    frozen = client.query("SELECT * FROM closed_lines ORDER BY ALL").result_rows
    assert Decimal("0.013400004") in frozen[0]

    # The same batch three times, the last out of order: nothing changes, neither here nor in what is pending.
    for again in (batch, batch, batch[::-1]):
        deliver(settings, again, batch=2)
        assert sql(settings, "SELECT count() FROM statement_corrections") == "0\n"
    # A month late, or from a clock that was wrong: a correction, whose unpriced call is only counted.
    deliver(settings, [month_of(OCTOBER, 9), month_of(OCTOBER, 10, cost=None), month_of(NOVEMBER, 1)])
    assert (
        sql(settings, LINES.format("statement_corrections")) == "2025-10-01\tengineering\t2\t0.003350001\t1\n"
    )
    assert client.query("SELECT * FROM closed_lines ORDER BY ALL").result_rows == frozen
    assert sql(settings, "SELECT calls FROM statement_lines WHERE month = '2025-10-01'") == "6\n"

    assert close_month(client, "2025-11").corrections == 1
    assert sql(settings, "SELECT count() FROM statement_corrections") == "0\n"
    assert sql(
        settings, "SELECT booked_month, month, entry, calls, cost_usd FROM closed_lines ORDER BY ALL"
    ) == (
        "2025-10-01\t2025-10-01\tclose\t4\t0.013400004\n"
        "2025-11-01\t2025-10-01\tcorrection\t2\t0.003350001\n"
        "2025-11-01\t2025-11-01\tclose\t1\t0.003350001\n"
    )
    # All that was booked is all that there is.
    deliver(settings, [month_of(OCTOBER, 11), month_of(NOVEMBER, 2), month_of(DECEMBER, 1)])
    assert close_month(client, "2025-12").corrections == 2
    booked = sql(settings, "SELECT sum(calls), sum(cost_usd) FROM closed_lines")
    assert booked == sql(settings, "SELECT sum(calls), sum(cost_usd) FROM statement_lines")
    assert closed_months(client) == [date(2025, 10, 1), date(2025, 11, 1), date(2025, 12, 1)]


def test_closing_again_changes_nothing_and_a_month_that_is_not_over_stays_open(
    settings: Settings, client: Any
) -> None:
    deliver(settings, [month_of(OCTOBER, 1)])
    first = close_month(client, "2025-10")
    deliver(settings, [month_of(OCTOBER, 2)])
    again = close_month(client, "2025-10")
    assert (again.new, again.lines, again.closed_at) == (False, 1, first.closed_at)
    now = datetime.now(UTC)
    with pytest.raises(LedgerError, match=r"is not over .* --force"):
        close_month(client, f"{now:%Y-%m}")
    assert close_month(client, f"{now:%Y-%m}", force=True).new


class Broken(Exception):
    """The process that closes is gone."""


class Breaking:
    """A client whose commands stop to arrive after so many."""

    def __init__(self, client: Any, after: int) -> None:
        self._client, self._left = client, after
        self.query = client.query

    def command(self, *arguments: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise Broken
        return self._client.command(*arguments, **options)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_closing_that_breaks_off_was_none(settings: Settings, client: Any, after: int) -> None:
    deliver(settings, [month_of(OCTOBER, 1)])
    with pytest.raises(Broken):
        close_month(Breaking(client, after), "2025-10")
    assert sql(settings, "SELECT count() FROM closed_lines") == "0\n"
    assert close_month(client, "2025-10").new
    assert sql(settings, "SELECT count(), sum(calls) FROM closed_lines") == "1\t1\n"


def test_dropping_old_charges_changes_no_sum_and_makes_no_correction(settings: Settings, client: Any) -> None:
    deliver(
        settings, [month_of(OCTOBER, 1), month_of(OCTOBER, 2), month_of(NOVEMBER, 1), month_of(DECEMBER, 1)]
    )
    close_month(client, "2025-10")
    deliver(settings, [month_of(OCTOBER, 3)])
    close_month(client, "2025-11")
    before = sql(settings, LINES.format("statement_lines"))
    hours = sql(
        settings, "SELECT hour, sum(calls), sum(cost_usd) FROM charges_hourly GROUP BY hour ORDER BY hour"
    )
    dropped, kept = drop_charges(client, 2, closed_months(client))
    assert (dropped, kept) == (["2025-10", "2025-11"], ["2025-12"])
    assert sql(settings, "SELECT count() FROM charges") == "1\n"
    # Late for a day that is gone: cannot be told from a repeat, so it is in no sum, and counted.
    deliver(settings, [month_of(OCTOBER, 1), month_of(OCTOBER, 7)])
    roll(client)
    assert sql(settings, LINES.format("statement_lines")) == before
    assert (
        sql(
            settings, "SELECT hour, sum(calls), sum(cost_usd) FROM charges_hourly GROUP BY hour ORDER BY hour"
        )
        == hours
    )
    assert sql(settings, "SELECT count() FROM statement_corrections") == "0\n"
    assert status(client).late == 2
    assert drop_charges(client, 2, closed_months(client))[0] == ["2025-10"]
    assert sql(settings, LINES.format("statement_lines")) == before


def test_charges_are_made_again_from_spans_and_none_is_doubled(settings: Settings, client: Any) -> None:
    deliver(settings, [charge(number) for number in range(6)])
    whole = sql(settings, "SELECT * FROM charges_final ORDER BY id")
    sql(settings, "DELETE FROM charges WHERE id IN ('charge-1', 'charge-4')")
    assert rebuild(client, date(2026, 11, 25)) == 0
    assert rebuild(client, date(2026, 11, 24)) == 2
    assert sql(settings, "SELECT * FROM charges_final ORDER BY id") == whole
    assert rebuild(client) == 0
    assert rebuild(client, everything=True) == 6
    assert sql(settings, "SELECT * FROM charges_final ORDER BY id") == whole
    assert sql(settings, "SELECT sum(calls) FROM charges_daily") == "6\n"


def test_spans_expire_and_the_ttl_is_set_once(settings: Settings, client: Any) -> None:
    assert settings.ledger.retention.traces_days is None
    assert expire_traces(client, None) == []
    assert "otel_traces" in expire_traces(client, 30)
    assert expire_traces(client, 30) == []
    assert "TTL toDateTime(Timestamp) + toIntervalDay(30)" in sql(settings, "SHOW CREATE TABLE otel_traces")
    old = datetime.now(UTC) - timedelta(days=31)
    deliver(settings, [charge(1, started=old, ended=old)])
    for _ in range(100):
        if sql(settings, "OPTIMIZE TABLE otel_traces FINAL") == sql(settings, "SELECT 1 FROM otel_traces"):
            break
    assert sql(settings, "SELECT count() FROM otel_traces") == "0\n"
    assert sql(settings, "SELECT sum(calls) FROM charges_daily") == "1\n", "a charge outlives its span"
    assert "otel_traces" in expire_traces(client, None)
    assert "TTL" not in sql(settings, "SHOW CREATE TABLE otel_traces")


def test_the_commands_do_it_all(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "farthing.yaml"
    hardware = [{"node": "gpu-1", "valid_from": date(2026, 1, 1), "usd_per_hour": "1.25"}]
    secret = "0" * 64
    file.write_text(
        yaml.safe_dump(
            {
                "ledger": {
                    "url": settings.ledger.url, "user": USER, "password": PASSWORD, "hardware": hardware,
                    "readers": [{"user": "eve", "password": "long enough", "department": "it's \U0001f642"}],
                },
                "credits": {
                    "organisation": {"monthly": 5000}, "departments": {"research": {"monthly": 1000}},
                },
                "keys": [
                    {"sha256": secret, "user": "ada", "department": "research", "credits": 10, "monthly": 100}
                ],
            }
        )
    )  # fmt: skip
    deliver(settings, [charge(1), month_of(OCTOBER, 1)])

    def run(*words: str) -> str:
        assert main(["ledger", *words, "--config", str(file)]) == 0
        return capsys.readouterr().out

    assert "rolled 2025-10-31: 1 rows arrived" in run("roll")
    assert "2025-10 closed: 1 lines, 0 corrections" in run("close", "2025-10")
    assert "2025-10 was closed on" in run("close", "2025-10")
    assert run("rebuild", "--since", "2026-11-01") == "no charge was missing\n"
    found = run("status")
    assert "pending: none" in found
    assert "closed      2025-10; 0 correction lines" in found
    assert "charges_months is not set" in run("retain")
    assert run("migrate") == "the ledger is up to date\n"
    assert main(["credits", "apply", "--config", str(file)]) == 0
    capsys.readouterr()
    first = run("sync")
    assert "1 lines of hardware, 3 budgets" in first
    assert "0 prices, 0 lines of hardware, 0 budgets, 0 months" in run("sync")
    assert sql(settings, "SELECT scope, name, amount_usd FROM budgets FINAL ORDER BY 1, 2") == (
        "department\tresearch\t1\norganisation\t\t5\nuser\tada\t0.1\n"
    )
    assert sql(settings, "SELECT node, usd_per_hour, valid_from FROM hardware_costs FINAL") == (
        "gpu-1\t1.25\t2026-01-01 00:00:00\n"
    )
    assert (
        sql(settings, "SELECT input_usd, valid_to FROM price_book FINAL WHERE model = 'gpt-5'")
        == "0.00000125\t\\N\n"
    )
    assert sql(settings, "SELECT count() FROM credit_roll_forward FINAL WHERE kind = 'organisation'") != "0\n"
    roles = run("users", "--print")
    assert "department = 'it\\'s \U0001f642'" in roles
    assert "CREATE USER OR REPLACE `eve` IDENTIFIED WITH sha256_hash BY" in roles
    assert main(["ledger", "close", f"{datetime.now(UTC):%Y-%m}", "--config", str(file)]) == 1
    assert "is not over" in capsys.readouterr().err


def parsed(client: Any, statements: list[str]) -> list[str]:
    """Return statements as the real engine's parser writes them; fail on one that it cannot parse."""
    rows = client.query(
        "SELECT q, formatQuerySingleLineOrNull(q) FROM (SELECT arrayJoin({all:Array(String)}) AS q)",
        parameters={"all": statements},
    ).result_rows
    assert [query for query, text in rows if text is None] == []
    return [str(text) for _, text in rows]


@pytest.mark.parametrize(
    "layout", [Layout("farthing"), Layout("farthing", "prod"), Layout("farthing", "prod", True)], ids=str
)
def test_every_statement_of_each_variant_parses_in_the_real_engine(client: Any, layout: Layout) -> None:
    # No cluster can run here: that the statements parse, and hang together, is all that this shows.
    database = ""
    created: set[tuple[str, str]] = set()
    statements = sqltext.split(script(layout))
    for text in parsed(client, statements):
        if text.startswith("USE"):
            database = text.removeprefix("USE ")
            continue
        assert text.startswith(("CREATE ", "ALTER TABLE ")), text
        assert ("ON CLUSTER prod" in text) == bool(layout.cluster), text
        if "MergeTree" in text and layout.cluster:
            assert "ENGINE = Replicated" in text
            assert "replicated_deduplication_window = 0" in text
        if "Distributed" in text:
            of = text.partition(" AS farthing_shard.")[2].split()[0]
            assert (database, ("farthing_shard", of) in created) == ("farthing", True)
        if text.startswith("CREATE") and "DATABASE" not in text:
            name = text.partition(" ON CLUSTER")[0] if layout.cluster else text
            created.add((database, re.search(r"(?:TABLE|VIEW)(?: IF NOT EXISTS)? (\w+)", name)[1]))
    assert {name for _, name in created} >= {"charges", "charges_daily", "statement_lines", "closings"}
    if layout.sharded:
        readable = {name for home, name in created if home == "farthing"}
        shard = {name for home, name in created if home == "farthing_shard"}
        assert {name for name in shard if not name.endswith("_mv")} < readable
        assert not shard & {"statement_lines", "closings", "price_book", "schema_migrations"}


def test_roles_quote_every_name(client: Any) -> None:
    hostile = ["it's", "\U0001f642; DROP TABLE charges --", "back\\slash\\", "`x`", "a"]
    readers = [Reader(user="Eve `q\\", password="x'12345678", department="it's")]
    for layout in (Layout("farthing"), Layout("farthing", "prod", True)):
        made = statements(layout, hostile, readers)
        assert not any(sqltext.is_multiple(one.encode()) for one in made)
        written = parsed(client, made)
        assert len({role_of(name) for name in hostile}) == len(hostile)
        policies = [one for one in written if "ROW POLICY" in one and one.endswith(f"TO {role_of('a')}")]
        assert len(policies) == 6 * len(layout.databases)
        assert all("'a'" in one for one in policies)


def test_the_server_rolls_by_itself(tmp_path: Path) -> None:
    import time

    with embedded_ledger(tmp_path, roll_every_s=0.2) as running:
        deliver(running, [charge(1, started=DECEMBER, ended=DECEMBER + timedelta(seconds=1))])
        for _ in range(300):
            if sql(running, "SELECT count() FROM rolls_in_force") == "1\n":
                break
            time.sleep(0.1)
        assert sql(running, "SELECT slot FROM rolls_in_force") == "-1\n"
        assert sql(running, "SELECT sum(calls) FROM charges_daily") == "1\n"
