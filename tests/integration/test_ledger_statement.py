"""The statement against a sum made apart from SQL: over random charges, to the nano-dollar."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

import pytest

from farthing.ledger import connect
from farthing.ledger.statement import StatementLine, reconcile, render, statement, this_month, totals
from farthing.settings import Settings
from farthing.telemetry import Charge, Cost
from tests.ledger_stack import charge, deliver, embedded_ledger, random_charges, sql


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("ledger")) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(settings: Settings) -> None:
    for table in ("otel_traces", "charges"):
        sql(settings, f"TRUNCATE TABLE {table}")


def by_hand(charges: list[Charge], month: str) -> list[StatementLine]:
    """Return the statement as DESIGN.md defines it, in plain Python integers."""
    groups: dict[tuple[str, ...], list[Charge]] = defaultdict(list)
    for one in charges:
        if one.started.strftime("%Y-%m") == month:
            who = one.account
            groups[who.department, who.cost_centre, who.user, one.tier, one.model].append(one)
    lines = []
    for key, group in sorted(groups.items()):
        priced = [one for one in group if one.cost is not None]
        answers = [one for one in priced if one.kind == "inference"]
        compared = [one for one in answers if one.baseline_cost is not None]
        overhead = [one for one in priced if one.kind != "inference"]
        savings = [one.baseline_cost - one.cost.total for one in compared] + [
            -one.cost.total for one in overhead
        ]
        lines.append(
            StatementLine(
                *key,
                calls=len(group),
                input_tokens=sum(one.usage.input_tokens for one in group),
                output_tokens=sum(one.usage.output_tokens for one in group),
                cached_tokens=sum(one.usage.cache_read for one in group),
                cost_nano=sum(one.cost.total for one in priced) if priced else None,
                baseline_nano=sum(one.baseline_cost for one in compared) if compared else None,
                savings_nano=sum(savings) if savings else None,
                unpriced=len(group) - len(priced),
                without_baseline=len(answers) - len(compared),
                stand_in=any(one.stand_in for one in group),
                of_month=month,
            )
        )
    return lines


@pytest.mark.parametrize("seed", [1, 2])
def test_every_figure_is_exact_over_random_charges(settings: Settings, seed: int) -> None:
    charges = random_charges(1200, seed)
    deliver(settings, charges)
    deliver(settings, charges[::7])
    client = connect(settings.ledger)
    for month in ("2026-10", "2026-11", "2026-12"):
        expected = by_hand(charges, month)
        assert len(expected) > 20
        assert statement(client, month) == expected
    assert statement(client, "2026-09") == []

    whole = reconcile(client)
    assert whole.rows == 1200
    assert whole.cost_nano == sum(one.cost.total for one in charges if one.cost)
    assert whole.settled_nano == sum(one.settled for one in charges)
    assert whole.unpriced == sum(one.cost is None for one in charges)
    everything = [line for month in ("2026-10", "2026-11", "2026-12") for line in by_hand(charges, month)]
    assert whole.baseline_nano == totals(everything).baseline_nano
    assert whole.savings_nano == totals(everything).savings_nano
    assert (whole.duplicates, whole.conflicts, whole.missing, whole.gaps) == (len(charges[::7]), 0, 0, 0)


def test_merging_parts_changes_no_figure(settings: Settings) -> None:
    charges = random_charges(200, 3)
    for _ in range(3):
        deliver(settings, charges, batch=50)
    client = connect(settings.ledger)
    before = statement(client, "2026-11")
    sql(settings, "OPTIMIZE TABLE charges FINAL")
    assert sql(settings, "SELECT count() FROM charges") == "200\n"
    assert statement(client, "2026-11") == before == by_hand(charges, "2026-11")


def test_sums_do_not_drift_and_hold_large_amounts(settings: Settings) -> None:
    tenth = charge(1, cost=Cost(100_000_000, 0, 0, 0), baseline_cost=None)
    huge = Cost(900_000_000_000_000_000, 0, 0, 0)
    deliver(settings, [charge(n, cost=tenth.cost, baseline_cost=None) for n in range(2000)], batch=1000)
    (line,) = statement(connect(settings.ledger), "2026-11")
    assert line.cost_nano == 200 * 10**9, "0.1 USD 2000 times"
    assert (line.baseline_nano, line.savings_nano, line.without_baseline) == (None, None, 2000)
    deliver(settings, [charge(n, cost=huge, baseline_cost=huge.total) for n in range(5000, 5003)])
    (line,) = statement(connect(settings.ledger), "2026-11")
    assert line.cost_nano == 200 * 10**9 + 3 * huge.total, "more than one Decimal(18, 9) can hold"


def test_a_failed_attempt_and_a_grading_only_cost(settings: Settings) -> None:
    deliver(
        settings,
        [
            charge(1, cost=Cost(1000, 0, 0, 0), baseline_cost=9000),
            charge(2, kind="failed_attempt", cost=Cost(300, 0, 0, 0), baseline_cost=5000),
            charge(3, kind="grading", cost=Cost(70, 0, 0, 0), baseline_cost=None),
            charge(4, cost=None, baseline_cost=None),
        ],
    )
    (line,) = statement(connect(settings.ledger), "2026-11")
    assert (line.calls, line.unpriced) == (4, 1)
    assert line.cost_nano == 1370
    assert line.baseline_nano == 9000, "a failed attempt answered nobody: no baseline"
    assert line.savings_nano == 9000 - 1370


def test_a_charge_belongs_to_the_utc_month_it_started_in(settings: Settings) -> None:
    base = charge(1)
    edge = base.started.replace(month=11, day=30, hour=23, minute=59, second=59, microsecond=999_999)
    deliver(settings, [charge(1, started=edge, ended=edge.replace(month=12, day=1, hour=0))])
    client = connect(settings.ledger)
    assert len(statement(client, "2026-11")) == 1
    assert statement(client, "2026-12") == []


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "November", "2026-11'; DROP TABLE charges", ""])
def test_a_month_that_is_none_is_refused(settings: Settings, month: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM"):
        statement(connect(settings.ledger), month)
    assert len(this_month()) == 7


def test_csv_and_json_keep_all_nine_decimals(settings: Settings) -> None:
    charges = random_charges(300, 4)
    deliver(settings, charges)
    lines = statement(connect(settings.ledger), "2026-11")
    read = list(csv.DictReader(io.StringIO(render(lines, "csv", "Acme"))))
    document = json.loads(render(lines, "json", "Acme", month="2026-11"))
    assert len(read) == len(document["lines"]) == len(lines)
    for line, row, item in zip(lines, read, document["lines"], strict=True):
        cost = None if line.cost_nano is None else Decimal(line.cost_nano).scaleb(-9)
        assert (Decimal(row["cost_usd"]) if row["cost_usd"] else None) == cost
        assert (None if item["cost_usd"] is None else Decimal(item["cost_usd"])) == cost
        assert item["cost_usd"] is None or len(item["cost_usd"].partition(".")[2]) == 9
    total = totals(lines)
    assert Decimal(document["total"]["savings_usd"]) == Decimal(total.savings_nano).scaleb(-9)
    by_department = sum(Decimal(item["cost_usd"]) for item in document["departments"])
    assert by_department == Decimal(document["total"]["cost_usd"])
