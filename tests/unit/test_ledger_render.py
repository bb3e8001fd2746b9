"""The statement as people read it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.ledger.cells import rounded
from farthing.ledger.statement import StatementLine, render, totals


def line(department: str = "engineering", user: str = "ada", **changes: object) -> StatementLine:
    values: dict[str, object] = {
        "department": department, "cost_centre": "CC-1", "user": user, "tier": "strong", "model": "gpt-5",
        "calls": 1200, "input_tokens": 1_000_000, "output_tokens": 5000, "cached_tokens": 10,
        "cost_nano": 1_234_567_891, "baseline_nano": 2_000_000_000, "savings_nano": 765_432_109,
        "unpriced": 0, "without_baseline": 0, "stand_in": False,
    }  # fmt: skip
    return StatementLine(**{**values, **changes})


def test_the_table_has_aligned_columns_subtotals_and_a_grand_total() -> None:
    rows = [
        line(),
        line(user="grace"),
        line("sales", "alan", cost_nano=1, baseline_nano=None, savings_nano=-1),
    ]
    text = render(rows, "table", "Acme", month="2026-11")
    assert text.startswith("Statement of Acme, 2026-11\n")
    lines = text.splitlines()
    by_start = {row.split("  ")[0]: row for row in lines}
    head = by_start["department"]
    assert "2.469136" in by_start["engineering: total"], "2 × 1.234567891, rounded once"
    assert "0.000000" in by_start["sales: total"]
    assert "2.469136" in by_start["all departments"]
    assert "3,600" in by_start["all departments"]
    ends = [head.index("cost USD") + len("cost USD"), head.index("savings USD") + len("savings USD")]
    for row in lines[4:-2]:
        assert row.startswith("-") or all(row[end : end + 2].strip() == "" for end in ends), row
    assert "fixed cost of its hardware" in lines[-1]


def test_what_is_not_known_is_not_written_as_zero() -> None:
    rows = [line(cost_nano=None, baseline_nano=None, savings_nano=None, unpriced=1200)]
    text = render(rows, "table", "Acme")
    assert text.count("unpriced") > 3
    assert "unknown" in text
    assert "0.000000" not in text
    assert "have no price" in text
    document = json.loads(render(rows, "json", "Acme"))
    assert document["lines"][0]["cost_usd"] is None
    assert document["total"]["savings_usd"] is None
    assert ",,,,1200," in render(rows, "csv", "Acme")
    assert "3 call(s) have a cost but no baseline" in render([line(without_baseline=3)], "table", "Acme")


def test_a_stand_in_is_explained_and_only_then() -> None:
    assert "stand-in:" not in render([line()], "table", "Acme")
    text = render([line(model="gpt-5 (stand-in)", stand_in=True)], "table", "Acme")
    assert "gpt-5 (stand-in)" in text
    assert "stand-in: no provider's key is set, so the small local model answered" in text
    assert any(
        "stand-in" in note for note in json.loads(render([line(stand_in=True)], "json", "Acme"))["notes"]
    )


def test_an_empty_statement_says_so() -> None:
    assert "Nothing has been charged yet in 2026-11" in render([], "table", "Acme", month="2026-11")
    assert render([], "csv", "Acme").count("\n") == 1
    document = json.loads(render([], "json", "Acme"))
    assert document["lines"] == []
    assert document["total"]["calls"] == 0
    with pytest.raises(ValueError, match="table, csv or json"):
        render([], "xml", "Acme")


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0.000000"), (499, "0.000000"), (500, "0.000000"), (501, "0.000001"), (1500, "0.000002"),
        (2500, "0.000002"), (-1500, "-0.000002"), (-400, "0.000000"), (999_999_999, "1.000000"),
        (1_234_567_000_000_000, "1,234,567.000000"), (None, "?"),
    ],
)  # fmt: skip
def test_money_is_rounded_half_to_even_without_floats(nano: int | None, text: str) -> None:
    assert rounded(nano, 6, "?") == text


@given(st.lists(st.integers(-(10**20), 10**20) | st.none(), max_size=20))
def test_totals_are_sums_of_what_is_known(amounts: list[int | None]) -> None:
    known = [amount for amount in amounts if amount is not None]
    total = totals([line(cost_nano=amount) for amount in amounts])
    assert total.cost_nano == (sum(known) if known else None)
    assert total.calls == 1200 * len(amounts)
