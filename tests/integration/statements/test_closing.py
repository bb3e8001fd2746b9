"""A closed month's statement never changes: what comes later is a line of its own, on a later statement."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from farthing.ledger import connect
from farthing.ledger.closing import close_month
from farthing.ledger.html import statement_page
from farthing.ledger.report import Asked, ask
from farthing.ledger.statement import render, statement, totals
from tests import ledger_seed
from tests.integration.statements.by_hand import in_month, savings, total
from tests.ledger_seed import Row
from tests.ledger_stack import embedded_ledger


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with embedded_ledger(tmp_path_factory.mktemp("closed")) as settings:
        client = connect(settings.ledger)
        yield client
        client.close()


def _lines(client: Any, name: str, month: str) -> list[Row]:
    return ask(client, name, Asked(month)).records()


def _cost(lines: list[Row]) -> Decimal:
    return sum((line["cost_usd"] or Decimal(0) for line in lines), Decimal(0))


def test_what_comes_after_closing_is_a_correction_line(client: Any) -> None:
    rows, late = ledger_seed.seed(client, per_day=6), ledger_seed.late_charges()
    for month in ("2026-09", "2026-10"):
        assert close_month(client, month, force=True).new
    frozen = {month: _lines(client, "statement", month) for month in ("2026-09", "2026-10")}
    open_month = _lines(client, "statement", "2026-11")
    assert _cost(frozen["2026-10"]) == total(in_month(rows, "2026-10"))
    assert _lines(client, "corrections", "2026-10") == []

    # Late, out of order, and the same batch three times.
    for batch in (late[::-1], late, late[3:] + rows[:50]):
        ledger_seed.insert(client, batch)
    assert {month: _lines(client, "statement", month) for month in frozen} == frozen, "for ever"
    pending = _lines(client, "corrections", "2026-10")
    assert {(row["booked_month"].month, row["booked"]) for row in pending} == {(11, False)}
    assert (_cost(pending), sum(row["calls"] for row in pending)) == (total(late), len(late))
    assert sum(row["savings_usd"] or 0 for row in pending) == savings(late)
    (unknown,) = (row for row in pending if row["unpriced"])
    assert (unknown["calls"], unknown["cost_usd"], unknown["savings_usd"]) == (1, None, None), "not zero"
    assert _lines(client, "corrections", "2026-09") == [], "repeats of what was there correct nothing"
    assert _lines(client, "corrections", "2026-11") == pending, "they stand on this statement"

    november = _lines(client, "statement", "2026-11")
    corrections = [row for row in november if row["entry"] == "correction"]
    assert [row for row in november if row["entry"] == "usage"] == open_month
    assert {(row["department"], row["user"], row["model"], row["cost_usd"]) for row in corrections} == {
        (row["department"], row["user"], row["model"], row["cost_usd"]) for row in pending
    }
    assert {f"{row['of_month']:%Y-%m}" for row in corrections} == {"2026-10"}
    budget = next(row for row in _lines(client, "budget", "2026-11") if row["scope"] == "organisation")
    assert budget["actual_usd"] == _cost(november) == total(in_month(rows, "2026-11")) + total(late)

    # Booked: the same lines, now frozen with November.
    assert close_month(client, "2026-11", force=True).corrections == len(pending)
    assert _lines(client, "statement", "2026-11") == november
    assert _lines(client, "corrections", "2026-10") == [row | {"booked": True} for row in pending]
    assert _lines(client, "statement", "2026-12") == []
    everything = sum((_cost(_lines(client, "statement", month)) for month in ledger_seed.MONTHS), Decimal(0))
    assert everything == total(rows) + total(late), "every charge is on one statement"


def test_corrections_are_told_from_usage_wherever_the_statement_is_shown(client: Any) -> None:
    lines = statement(client, "2026-11")
    booked = [line for line in lines if line.entry == "correction"]
    assert {line.of_month for line in booked} == {"2026-10"}
    table = render(lines, "table", "Acme", "2026-11")
    assert table.count("correction of 2026-10") == len(booked)
    assert "corrections are what came for a month after it was closed" in table
    assert render(lines, "csv", "Acme", "2026-11").count(",correction,2026-10\n") == len(booked)
    page = statement_page(client, "Acme", Asked("2026-11", "engineering"))
    assert "Corrections of closed months" in page
    assert "newcomer" in page, "who was on no earlier statement"
    mine = [line for line in lines if line.department == "engineering"]
    exact = f"{Decimal(totals(mine).cost_nano or 0).scaleb(-9):.9f}"
    assert f"exactly {exact}" in page
    assert "closed 20" in page
