"""Pre-aggregates beside the charges: the same sums, whatever arrives, whenever, and however often."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed
from hypothesis import settings as examples
from hypothesis import strategies as st

from farthing.ledger import connect, rolls
from farthing.ledger.rolls import Roller, roll
from farthing.ledger.statement import statement
from farthing.settings import Settings
from farthing.telemetry import Account, Charge, Cost, Usage
from farthing.telemetry.spans import ChargeSpans
from tests.ledger_stack import charge, deliver, embedded_ledger, post_spans, sql

TABLES = ("otel_traces", "charges", "charge_arrivals", "charge_rolls", "daily_rolls", "hourly_rolls")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("ledger")) as running:
        yield running


@pytest.fixture(scope="module")
def client(settings: Settings) -> Any:
    return connect(settings.ledger)


@pytest.fixture(autouse=True)
def empty(settings: Settings) -> None:
    clear(settings)


def clear(settings: Settings) -> None:
    for table in TABLES:
        sql(settings, f"TRUNCATE TABLE {table}")


class Broken(Exception):
    """The roller's process is gone."""


class Breaking:
    """A client whose commands stop to arrive after so many: what a killed roller leaves behind."""

    def __init__(self, client: Any, after: int) -> None:
        self._client, self._left = client, after
        self.query = client.query

    def command(self, *arguments: Any, **options: Any) -> Any:
        if self._left == 0:
            raise Broken
        self._left -= 1
        return self._client.command(*arguments, **options)


def moments() -> list[datetime]:
    midnight = datetime(2026, 11, 1, tzinfo=UTC)
    microsecond = timedelta(microseconds=1)
    return [
        midnight - microsecond, midnight, midnight + timedelta(hours=1) - microsecond,
        midnight + timedelta(days=5),
        midnight - timedelta(days=31), datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ]  # fmt: skip


def pool() -> list[Charge]:
    """Return charges around midnights and ends of months; some lack a price or a baseline."""
    made = []
    for number in range(18):
        started = moments()[number % 6]
        kind = ("inference", "inference", "grading", "failed_attempt")[number % 4]
        cost = None if number % 7 == 3 else Cost(number * 1_000_001, 3, number, 1)
        made.append(
            charge(
                number, id=f"c{number}", kind=kind, started=started,
                ended=started + timedelta(milliseconds=number * 77),
                account=Account(f"{number % 3:064x}", f"u{number % 3}", f"d{number % 2}", "CC"),
                cost=cost, baseline_cost=None if number % 5 == 0 or kind != "inference" else 10**9 + number,
                usage=Usage(number, 2, 1, 0, 0), session_id=f"s{number % 4}",
                settled=cost.total if cost else 0,
            )
        )  # fmt: skip
    return made


POOL = pool()
DAYS = sorted({one.started.date() for one in POOL})
STEPS = st.one_of(
    st.tuples(st.just("deliver"), st.lists(st.integers(0, len(POOL) - 1), min_size=1, max_size=9)),
    st.tuples(st.just("roll"), st.sampled_from(DAYS)),
    st.tuples(st.just("pass"), st.booleans()),
    st.tuples(st.just("crash"), st.tuples(st.sampled_from(DAYS), st.integers(0, 2))),
    st.tuples(st.just("tidy"), st.none()),
    st.tuples(st.just("merge"), st.none()),
)


def daily(client: Any) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    rows = client.query(
        "SELECT toString(day), department, kind, sum(calls), sum(input_tokens), sum(unpriced), "
        "sum(without_baseline), sum(cost_usd), sum(baseline_usd), sum(savings_usd), sum(settled_usd), "
        "sum(busy_ms), uniqCombined64Merge(sessions) FROM charges_daily GROUP BY day, department, kind"
    ).result_rows
    return {(row[0], row[1], row[2]): tuple(row[3:]) for row in rows}


def expected(arrived: set[int]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    groups: dict[tuple[Any, ...], list[Charge]] = defaultdict(list)
    for number in arrived:
        one = POOL[number]
        groups[(str(one.started.date()), one.account.department, one.kind)].append(one)
    found = {}
    for key, members in groups.items():
        priced = [one for one in members if one.cost is not None]
        answered = [one for one in priced if one.kind == "inference"]
        saved = [one.baseline_cost - one.cost.total for one in answered if one.baseline_cost is not None]
        saved += [-one.cost.total for one in priced if one.kind != "inference"]
        found[key] = (
            len(members), sum(one.usage.input_tokens for one in members), len(members) - len(priced),
            sum(one.baseline_cost is None for one in answered),
            usd([one.cost.total for one in priced]),
            usd([one.baseline_cost for one in answered if one.baseline_cost is not None]), usd(saved),
            usd([one.settled for one in members]),
            sum((one.ended - one.started) // timedelta(milliseconds=1) for one in members),
            len({(one.account.key_hash, one.session_id) for one in members}),
        )  # fmt: skip
    return found


def usd(nano: list[int]) -> Any:
    from decimal import Decimal

    return Decimal(sum(nano)).scaleb(-9) if nano else None


def check(client: Any, arrived: set[int]) -> None:
    want = expected(arrived)
    assert daily(client) == want
    hourly = client.query(
        "SELECT toString(toDate(hour)), department, kind, sum(calls), sum(cost_usd) FROM charges_hourly "
        "GROUP BY ALL"
    ).result_rows
    assert {tuple(row[:3]): tuple(row[3:]) for row in hourly} == {
        key: (row[0], row[4]) for key, row in want.items()
    }
    per_hour = client.query("SELECT toString(hour), sum(calls) FROM charges_hourly GROUP BY hour").result_rows
    hours: dict[str, int] = defaultdict(int)
    for number in arrived:
        hours[POOL[number].started.strftime("%Y-%m-%d %H:00:00")] += 1
    assert dict(per_hour) == dict(hours)
    for month in sorted({key[0][:7] for key in want}):
        lines = statement(client, month)
        mine = [row for key, row in want.items() if key[0].startswith(month)]
        assert sum(line.calls for line in lines) == sum(row[0] for row in mine)
        nano = sum(int(row[4].scaleb(9)) for row in mine if row[4] is not None)
        assert sum(line.cost_nano or 0 for line in lines) == nano


@seed(6)
@examples(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(STEPS, min_size=3, max_size=7))
def test_the_sums_are_those_of_the_distinct_charges_at_every_moment(
    settings: Settings, client: Any, steps: list[tuple[str, Any]]
) -> None:
    clear(settings)
    monkeypatch = pytest.MonkeyPatch()
    # Each day counts as a busy one, so that hours and days are rolled; nothing replaced is kept.
    monkeypatch.setattr(rolls, "BUSY", 1)
    monkeypatch.setattr(rolls, "_KEEP_REPLACED", timedelta(0))
    monkeypatch.setattr(rolls, "_KEEP_HOURS", timedelta(0))
    arrived: set[int] = set()
    roller = Roller(client)
    try:
        for name, value in steps:
            if name == "deliver":
                deliver(settings, [POOL[number] for number in value])
                arrived.update(value)
            elif name == "roll":
                roll(client, [value])
            elif name == "pass":
                roller.run(settled=value)
            elif name == "crash":
                day, after = value
                with pytest.raises(Broken):
                    roll(Breaking(client, after), [day])
            elif name == "tidy":
                roller.tidy()
            else:
                sql(settings, "OPTIMIZE TABLE charges FINAL")
                sql(settings, "OPTIMIZE TABLE charge_arrivals FINAL")
            check(client, arrived)
    finally:
        monkeypatch.undo()


def test_a_row_that_is_counted_can_be_read(settings: Settings, client: Any) -> None:
    spans = ChargeSpans("farthing", "gw")
    started = datetime(2026, 11, 24, 10, tzinfo=UTC)
    done = threading.Event()

    def send() -> None:
        for batch in range(20):
            made = [charge(n, id=f"{batch}-{n}", started=started, ended=started) for n in range(5)]
            assert (
                post_spans(settings, b"".join(spans.finish(one).payload for one in made)).status_code == 200
            )
        done.set()

    sender = threading.Thread(target=send)
    sender.start()
    roller, looks = Roller(client), 0
    while not done.is_set():
        counted = int(client.command("SELECT sum(arrivals) FROM charge_arrivals"))
        stored = int(client.command("SELECT count() FROM charges_final"))
        summed = int(client.command("SELECT sum(calls) FROM charges_daily"))
        assert counted <= stored, "a roll that began between would have missed a charge for ever"
        assert counted <= summed
        if looks % 3 == 0:
            roller.run(settled=True)
        looks += 1
    sender.join()
    assert looks > 3
    roll(client, [started.date()])
    assert client.command("SELECT sum(calls) FROM charges_daily") == 100


def test_a_month_late_and_twice_is_counted_once_and_rolled_again(settings: Settings, client: Any) -> None:
    deliver(settings, [charge(1), charge(2)])
    assert [(one.day, one.arrivals) for one in roll(client)] == [(date(2026, 11, 24), 2)]
    assert roll(client) == [], "nothing arrived since"
    deliver(settings, [charge(2), charge(3)])
    assert sql(settings, "SELECT count() FROM rolls_in_force") == "0\n"
    assert sql(settings, "SELECT sum(calls) FROM charges_daily") == "3\n"
    assert [one.arrivals for one in roll(client)] == [4]
    assert sql(settings, "SELECT sum(calls), sum(cost_usd) FROM charges_daily") == "3\t0.010050003\n"
    assert "ReadFromMergeTree (farthing.daily_rolls)" in sql(
        settings, "EXPLAIN SELECT sum(calls) FROM charges_daily"
    )


def test_of_a_busy_day_that_is_not_over_the_hours_before_this_one_are_rolled(
    settings: Settings, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    if now.hour == 0:
        now += timedelta(hours=1)  # the hour that is not over is then the next: none may be rolled before it
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    before = this_hour - timedelta(hours=1)
    deliver(
        settings, [charge(1, started=this_hour, ended=this_hour), charge(2, started=before, ended=before)]
    )
    assert Roller(client).run() == [], "few charges are summed as fast"
    monkeypatch.setattr(rolls, "BUSY", 1)
    done = Roller(client).run()
    assert [(one.day, one.slot) for one in done] == [(before.date(), int(before.timestamp()) // 3600)]
    assert sql(settings, "SELECT sum(calls) FROM charges_daily") == "2\n"


def test_rolls_that_were_replaced_are_deleted_after_a_while(
    settings: Settings, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(settings, [charge(1)])
    roll(client)
    with pytest.raises(Broken):
        roll(Breaking(client, 1), [date(2026, 11, 24)])
    roll(client, [date(2026, 11, 24)])
    roller = Roller(client)
    assert roller.tidy() == 0, "a query may still read them"
    monkeypatch.setattr(rolls, "_KEEP_REPLACED", timedelta(0))
    assert roller.tidy() == 2
    assert roller.tidy() == 0
    assert sql(settings, "SELECT uniqExact(roll) FROM daily_rolls") == "1\n"
    assert sql(settings, "SELECT sum(calls) FROM charges_daily") == "1\n"


def test_durations_are_counted_in_buckets_of_two_digits(settings: Settings) -> None:
    started = datetime(2026, 11, 24, 10, tzinfo=UTC)
    for number, milliseconds in enumerate((0, 7, 99, 100, 101, 1234, 98_765, 600_000)):
        deliver(
            settings, [charge(number, started=started, ended=started + timedelta(milliseconds=milliseconds))]
        )
    found = sql(settings, "SELECT latency_ms_bucket FROM charges_hourly ORDER BY 1").split()
    assert found == ["1", "7", "99", "100", "110", "1300", "99000", "600000"]
