"""Money at the edges: months closed out of order, no prices, dear hardware, readers of one department."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.ledger import connect, sqlfiles
from farthing.ledger.closing import close_month
from farthing.ledger.focus import export
from farthing.ledger.report import REPORTS, Asked, ask
from farthing.settings import Settings
from tests import ledger_seed
from tests.integration.statements.by_hand import cost_of, grouped, in_month, total
from tests.ledger_seed import Row
from tests.ledger_stack import embedded_ledger

READER = {"user": "sales-reader", "password": "sales's own", "department": "sales"}
BY_DEPARTMENT = [name for name in REPORTS if "department" in sqlfiles.question(name).parameters]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("edges"), readers=[READER]) as running:
        yield running


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[Any]:
    client = connect(settings.ledger)
    yield client
    client.close()


@pytest.fixture(scope="module")
def rows(client: Any) -> list[Row]:
    ledger_seed.seed_books(client)
    return ledger_seed.seed(client, per_day=3)


def lines(client: Any, name: str, month: str, **more: Any) -> list[Row]:
    return ask(client, name, Asked(month, **{"as_of": date(2026, 12, 1), **more})).records()


def cost(found: list[Row]) -> Decimal:
    return sum((row["cost_usd"] or Decimal(0) for row in found), Decimal(0))


@pytest.mark.parametrize("name", BY_DEPARTMENT)
def test_a_departments_reader_gets_its_own_answer_to_every_question(
    settings: Settings, client: Any, rows: list[Row], name: str
) -> None:
    own = settings.ledger.model_copy(update={"user": READER["user"], "password": READER["password"]})
    reader = connect(own)
    try:
        found = lines(reader, name, "2026-11", department="sales", as_of=date(2026, 11, 20))
    finally:
        reader.close()
    expected = lines(client, name, "2026-11", department="sales", as_of=date(2026, 11, 20))
    if name == "sovereign":
        assert found == [], "what hardware costs is nobody's own row"
    elif name == "cache_effect":
        # Nor is the price book: prices are the average of what was charged, which the seed has at list price.
        assert found == [row | {"price_source": "average"} for row in expected]
    else:
        assert found == expected
        assert found or name in ("corrections", "unallocated")


@pytest.mark.parametrize("name", [*REPORTS, "invoice_variance", "focus"])
def test_no_question_needs_a_setting_that_a_reader_may_not_change(name: str) -> None:
    sql = "\n".join(line for line in sqlfiles.load(name).splitlines() if not line.lstrip().startswith("--"))
    assert "settings" not in sql.lower()


def test_a_node_of_many_dollars_an_hour_is_added_up(client: Any, rows: list[Row]) -> None:
    node = {
        "node": "eight-gpus", "tier": "strong", "valid_from": datetime(2026, 11, 1, tzinfo=UTC),
        "valid_to": None, "usd_per_hour": Decimal("98765.432109876"), "method": "rent", "note": "",
    }  # fmt: skip
    ledger_seed.insert(client, [node], "hardware_costs")
    found = [row for row in lines(client, "sovereign", "2026-11") if row["tier"] == "strong"]
    assert sum(row["total_usd"] for row in found) == node["usd_per_hour"] * 30 * 24


def test_a_cost_without_parts_is_in_the_variance(client: Any, rows: list[Row]) -> None:
    lump = rows[-1] | {
        "id": "lump", "department": "lump sums", "cost_total": Decimal("7.5"), "cost_input": None,
        "cost_output": None, "cost_cache_read": None, "cost_cache_write": None,
    }  # fmt: skip
    ledger_seed.insert(client, [lump])
    (row,) = lines(client, "variance", "2026-11", department="lump sums")
    assert (row["now_usd"], row["volume_usd"], row["change_usd"]) == (Decimal("7.5"),) * 3


def test_one_late_call_of_an_old_department_is_no_new_habit(client: Any, rows: list[Row]) -> None:
    seldom = [
        rows[-1] | {"id": f"seldom-{at}", "department": "seldom", "day": at,
                    "started": datetime(at.year, at.month, at.day, 12, tzinfo=UTC),
                    "ended": datetime(at.year, at.month, at.day, 12, tzinfo=UTC), "cost_total": Decimal(28)}
        for at in (date(2026, 9, 20), date(2026, 11, 18))
    ]  # fmt: skip
    ledger_seed.insert(client, seldom)
    (row,) = lines(client, "budget", "2026-11", department="seldom", as_of=date(2026, 11, 20))
    # One Wednesday of the four in 28 days cost 28: the one Wednesday left is expected to cost 7.
    assert (row["method"], row["actual_usd"], row["forecast_usd"]) == ("weekday", 28, 35)


def test_invoices_know_snapshots_and_forget_lines_that_were_withdrawn(client: Any, rows: list[Row]) -> None:
    at = date(2026, 8, 5)
    moment = datetime(2026, 8, 5, 12, tzinfo=UTC)
    call = rows[-1] | {
        "id": "snapshot", "day": at, "started": moment, "ended": moment, "tier": "strong",
        "provider": "openai", "model": "openai/gpt-5-2025-08-07", "stand_in": False,
        "cost_total": Decimal("0.25"),
    }  # fmt: skip
    ledger_seed.insert(client, [call])
    tokens = {name: call[name] for name in ("input_tokens", "output_tokens")}
    line = {
        "provider": "openai", "day": at, "model": "gpt-5", "line": "gpt-5, usage", **tokens, "requests": 1,
        "amount_usd": Decimal("0.25"), "currency": "USD", "imported_at": datetime(2026, 9, 1, tzinfo=UTC),
    }  # fmt: skip
    gone = line | {
        "model": "gpt-4",
        "input_tokens": 0,
        "output_tokens": 0,
        "requests": 0,
        "amount_usd": Decimal(0),
    }
    ledger_seed.insert(client, [line, gone], "provider_invoices")
    (row,) = lines(client, "invoices", "2026-08")
    assert (row["model"], row["verdict"], row["difference_usd"]) == ("gpt-5", "agrees", 0)


# These close months, so they come last.


def test_months_closed_out_of_order_show_every_charge_once(
    client: Any, rows: list[Row], tmp_path: Path
) -> None:
    months = ("2026-09", "2026-10", "2026-11", "2026-12")
    before = sum((cost(lines(client, "statement", month)) for month in months), Decimal(0))
    close_month(client, "2026-09", force=True)
    close_month(client, "2026-11", force=True)
    late = [
        row | {"id": f"late-{at}", "cost_total": Decimal(1) if row["cost_total"] is not None else None}
        for at, row in enumerate(in_month(rows, "2026-09")[:5] + in_month(rows, "2026-11")[:4])
    ]
    ledger_seed.insert(client, late)

    def corrections(found: list[Row]) -> dict[str, Decimal]:
        late = [row for row in found if row["entry"] == "correction"]
        return {f"{of:%Y-%m}": cost(some) for of, some in grouped(late, "of_month").items()}

    september, november = (total(in_month(late, month)) for month in ("2026-09", "2026-11"))
    for _ in range(2):
        found = {month: lines(client, "statement", month) for month in months}
        assert corrections(found["2026-10"]) == {"2026-09": september}, (
            "the first month after it that is open"
        )
        assert corrections(found["2026-12"]) == {"2026-11": november}
        assert sum(map(cost, found.values())) == before + september + november
        pending = lines(client, "corrections", "2026-09")
        assert {f"{row['booked_month']:%Y-%m}" for row in pending} == {"2026-10"}
        (whole,) = (row for row in lines(client, "budget", "2026-10") if row["scope"] == "organisation")
        assert whole["actual_usd"] == cost(found["2026-10"])
        close_month(client, "2026-10", force=True)
    for month in ("2026-10", "2026-12"):
        done = export(
            client, month, tmp_path / "focus.csv", fmt="csv", organisation="Acme", usd_per_credit=Decimal(1)
        )
        assert done.billed == cost(found[month]) * 10**9


def test_a_late_call_without_a_price_is_not_free(client: Any, rows: list[Row], tmp_path: Path) -> None:
    late = in_month(rows, "2026-11")[0] | {
        "id": "late-unpriced", "user": "a late one", "model": "unlisted", "cost_total": None,
        "cost_input": None, "cost_output": None, "cost_cache_read": None, "cost_cache_write": None,
        "baseline_cost": None,
    }  # fmt: skip
    tried = rows[0] | {
        "id": "late-failed", "day": late["day"], "started": late["started"], "ended": late["ended"],
        "user": "a late one", "model": "tried", "kind": "failed_attempt", "cost_total": Decimal(2),
        "baseline_cost": None,
    }  # fmt: skip
    close_month(client, "2026-11", force=True)
    ledger_seed.insert(client, [late, tried])
    for name in ("statement", "corrections"):
        found = [row for row in lines(client, name, "2026-12") if row["user"] == "a late one"]
        amounts = {row["model"]: (row["unpriced"], row["cost_usd"], row["savings_usd"]) for row in found}
        assert amounts == {late["model"]: (1, None, None), "tried": (0, 2, -2)}
    file = tmp_path / "focus.csv"
    export(client, "2026-12", file, fmt="csv", organisation="Acme", usd_per_credit=Decimal(1))
    mine = [line for line in file.read_text(encoding="utf-8").splitlines() if "a late one" in line]
    assert [("tried" in line, late["model"] in line) for line in mine] == [(True, False)]
    assert cost_of([tried], lambda row: True) == 2
