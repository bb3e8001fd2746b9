"""Each question of dashboards/sql against sums made in plain Python from the rows that were put in."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest

from farthing.ledger import sqlfiles
from farthing.ledger.report import REPORTS, Asked, ask
from tests.integration.statements.by_hand import (
    compared,
    cost_of,
    divided,
    grouped,
    in_month,
    is_answer,
    savings,
    total,
    unpriced,
    without_baseline,
)
from tests.integration.statements.conftest import Seeded
from tests.ledger_seed import FORMULA, HOSTILE, MONTHS, Row

BY_DEPARTMENT = [name for name in REPORTS if "department" in sqlfiles.question(name).parameters]


@pytest.mark.parametrize("month", MONTHS)
def test_the_statement_has_every_charge_once(seeded: Seeded, month: str) -> None:
    names = ("department", "cost_centre", "user", "tier", "model")
    expected = []
    for key, rows in sorted(grouped(in_month(seeded.rows, month), *names).items()):
        priced = [row for row in rows if row["cost_total"] is not None]
        known = compared(rows) or [row for row in priced if not is_answer(row)]
        expected.append(
            dict(zip(names, key, strict=True))
            | {
                "entry": "usage", "of_month": date.fromisoformat(f"{month}-01"), "calls": len(rows),
                "input_tokens": sum(row["input_tokens"] for row in rows),
                "output_tokens": sum(row["output_tokens"] for row in rows),
                "cached_tokens": sum(row["cache_read_tokens"] for row in rows),
                "cost_usd": total(priced) if priced else None,
                "baseline_usd": total(compared(rows), "baseline_cost") if compared(rows) else None,
                "savings_usd": savings(rows) if known else None, "unpriced": unpriced(rows),
                "without_baseline": without_baseline(rows), "stand_in": any(row["stand_in"] for row in rows),
            }
        )  # fmt: skip
    found = seeded.ask("statement", month)
    assert found == expected
    assert sum(row["cost_usd"] or 0 for row in found) == total(in_month(seeded.rows, month))
    assert {row["department"] for row in found} >= {HOSTILE, FORMULA, "", "gateway"}


def test_savings_are_net_of_what_they_cost(seeded: Seeded) -> None:
    found = {row["department"]: row for row in seeded.ask("savings")}
    assert len(found) == 7
    for department, rows in grouped(in_month(seeded.rows, "2026-11"), "department").items():
        baseline, answers = total(compared(rows), "baseline_cost"), total(compared(rows))
        other = {kind: cost_of(rows, lambda row, kind=kind: row["kind"] == kind)
                 for kind in ("grading", "summary", "failed_attempt")}  # fmt: skip
        net = savings(rows)
        assert net == baseline - answers - sum(other.values())
        assert found[department] == {
            "department": department, "baseline_models": "gpt-5", "answers": len(compared(rows)),
            "baseline_usd": baseline, "answers_usd": answers, "gross_usd": baseline - answers,
            "gradings_usd": other["grading"], "summaries_usd": other["summary"],
            "failed_usd": other["failed_attempt"], "savings_usd": net,
            "savings_percent": divided(net * 100, baseline, 2), "without_baseline": without_baseline(rows),
            "not_compared_usd": cost_of(rows, lambda row: is_answer(row) and row["baseline_cost"] is None),
            "unpriced": unpriced(rows),
        }  # fmt: skip
    lines = seeded.ask("statement")
    assert sum(row["savings_usd"] for row in found.values()) == sum(row["savings_usd"] or 0 for row in lines)


def _segments(rows: list[Row]) -> dict[tuple[str, str], tuple[int, Decimal]]:
    """Return tokens and cost by model and kind of token, of priced calls."""
    found: dict[tuple[str, str], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    for row in rows:
        if row["cost_total"] is None:
            continue
        fresh = row["input_tokens"] - row["cache_read_tokens"] - row["cache_write_tokens"]
        for kind, tokens, cost in (
            ("input", fresh, row["cost_input"]), ("output", row["output_tokens"], row["cost_output"]),
            ("cache read", row["cache_read_tokens"], row["cost_cache_read"]),
            ("cache write", row["cache_write_tokens"], row["cost_cache_write"]),
        ):  # fmt: skip
            before = found[row["model"], kind]
            found[row["model"], kind] = (before[0] + tokens, before[1] + cost)
    return found


@pytest.mark.parametrize(("as_of", "last_day"), [(date(2026, 12, 1), 31), (date(2026, 11, 17), 16)])
def test_volume_mix_and_price_add_up_to_the_change(seeded: Seeded, as_of: date, last_day: int) -> None:
    found = seeded.ask("variance", as_of=as_of)
    assert len(found) == 7
    now = grouped(in_month(seeded.rows, "2026-11", last_day), "department")
    before = grouped(in_month(seeded.rows, "2026-10", last_day), "department")
    for row in found:
        new, old = (_segments(side.get(row["department"], [])) for side in (now, before))
        q0, c0 = (
            sum(tokens for tokens, _ in old.values()),
            sum((cost for _, cost in old.values()), Decimal(0)),
        )
        q1, c1 = (
            sum(tokens for tokens, _ in new.values()),
            sum((cost for _, cost in new.values()), Decimal(0)),
        )
        average = divided(c0 * q1, q0)
        priced = Decimal(0)
        for key, (tokens, cost) in new.items():
            had = old.get(key, (0, Decimal(0)))
            priced += divided(had[1] * tokens, had[0]) if had[0] else cost
        assert (row["before_usd"], row["now_usd"], row["change_usd"]) == (c0, c1, c1 - c0)
        assert (row["before_tokens"], row["now_tokens"]) == (q0, q1)
        assert (row["volume_usd"], row["mix_usd"]) == (average - c0, priced - average)
        assert row["volume_usd"] + row["mix_usd"] + row["price_usd"] == row["change_usd"], (
            "to the nano-dollar"
        )
        # gpt-5-mini became cheaper, and no other price moved.
        assert row["price_usd"] < 0
    assert sum(row["now_usd"] for row in found) == total(in_month(seeded.rows, "2026-11", last_day))


def test_a_first_month_is_all_volume(seeded: Seeded) -> None:
    for row in seeded.ask("variance", "2026-09"):
        assert row["volume_usd"] == row["change_usd"] == row["now_usd"] > 0
        assert (row["mix_usd"], row["price_usd"], row["before_usd"]) == (0, 0, 0)


def test_the_largest_changes_come_first(seeded: Seeded) -> None:
    found = grouped(seeded.ask("movers"), "what")
    now, before = in_month(seeded.rows, "2026-11"), in_month(seeded.rows, "2026-10")
    named = {
        "department": lambda row: row["department"],
        "user": lambda row: f"{row['user']} ({row['department']})",
        "model": lambda row: row["model"], "agent": lambda row: row["agent"],
    }  # fmt: skip
    assert list(found) == list(named)
    for what, name in named.items():
        costs: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
        for side, rows in enumerate((before, now)):
            for row in rows:
                costs[name(row)][side] += row["cost_total"] or 0
        expected = sorted(
            (
                (key, old, new)
                for key, (old, new) in costs.items()
                if old != new and (what, key) != ("agent", "")
            ),
            key=lambda item: (-abs(item[2] - item[1]), item[0]),
        )
        assert [(row["name"], row["before_usd"], row["now_usd"]) for row in found[what]] == expected[:10]
        for row in found[what]:
            assert row["change_usd"] == row["now_usd"] - row["before_usd"]
            share = divided(row["change_usd"] * 100, row["before_usd"], 1) if row["before_usd"] else None
            assert row["change_percent"] == share


def test_days_and_tiers_add_up_to_the_month(seeded: Seeded) -> None:
    found = seeded.ask("daily", "2026-10")
    by_key = grouped(in_month(seeded.rows, "2026-10"), "day", "department", "tier")
    assert {(row["day"], row["department"], row["tier"]) for row in found} == set(by_key)
    for row in found:
        rows = by_key[row["day"], row["department"], row["tier"]]
        priced = [one for one in rows if one["cost_total"] is not None]
        known = compared(rows) or [one for one in priced if not is_answer(one)]
        assert (row["calls"], row["unpriced"]) == (len(rows), unpriced(rows))
        assert row["cost_usd"] == (total(priced) if priced else None), "not known is not zero"
        assert row["savings_usd"] == (savings(rows) if known else None)


def test_unit_costs(seeded: Seeded) -> None:
    expected = {}
    for department, rows in grouped(in_month(seeded.rows, "2026-11"), "department").items():

        def sessions(some: list[Row]) -> int:
            return len({(row["key_hash"], row["session_id"]) for row in some})

        answers, tagged = [row for row in rows if is_answer(row)], [row for row in rows if row["task"]]
        expected[department, "answer", ""] = (len(answers), rows)
        expected[department, "session", ""] = (sessions(rows), rows)
        if tagged:
            expected[department, "task", ""] = (len({row["task"] for row in tagged}), tagged)
        for agent, some in grouped(rows, "agent").items():
            if agent:
                expected[department, "agent", agent] = (sessions(some), some)
    found = seeded.ask("unit_economics")
    assert {(row["department"], row["unit"], row["name"]) for row in found} == set(expected)
    for row in found:
        units, rows = expected[row["department"], row["unit"], row["name"]]
        assert (row["units"], row["calls"], row["cost_usd"]) == (units, len(rows), total(rows))
        assert row["usd_per_unit"] == divided(total(rows), units)


def test_what_caches_saved(seeded: Seeded) -> None:
    prices = {"gpt-5-mini": 200, "gpt-5": 1250, "claude-sonnet-4-5": 3000, "qwen3-8b": 37,
              "gpt-5-mini (stand-in)": 250}  # fmt: skip
    found = {(row["department"], row["model"]): row for row in seeded.ask("cache_effect")}
    seen = 0
    for key, rows in grouped(in_month(seeded.rows, "2026-11"), "department", "model").items():
        rows = [row for row in rows if row["cost_total"] is not None]
        read, written = (
            sum(row[name] for row in rows) for name in ("cache_read_tokens", "cache_write_tokens")
        )
        if not read + written:
            assert key not in found
            continue
        seen += 1
        full = Decimal(read * prices[key[1]]).scaleb(-9)
        extra = total(rows, "cost_cache_write") - Decimal(written * prices[key[1]]).scaleb(-9)
        row = found[key]
        assert (row["read_tokens"], row["write_tokens"]) == (read, written)
        assert (row["read_usd"], row["read_full_usd"]) == (total(rows, "cost_cache_read"), full)
        assert (row["write_usd"], row["write_extra_usd"]) == (total(rows, "cost_cache_write"), extra)
        assert row["saved_usd"] == full - total(rows, "cost_cache_read")
        assert row["net_usd"] == row["saved_usd"] - extra
        assert row["read_percent"] == divided(
            Decimal(read * 100), sum(one["input_tokens"] for one in rows), 1
        )
        assert row["price_source"] == "price book"
    assert seen == len(found) > 20
    assert any(row["write_extra_usd"] > 0 for row in found.values()), "Anthropic's cache writes cost extra"


def test_without_a_price_book_the_average_price_of_the_month_is_taken(seeded: Seeded) -> None:
    seeded.client.command("TRUNCATE TABLE price_book")
    try:
        average = {(row["department"], row["model"]): row for row in seeded.ask("cache_effect")}
    finally:
        rows = seeded.books["price_book"]
        seeded.client.insert("price_book", [list(row.values()) for row in rows], column_names=list(rows[0]))
    listed = {(row["department"], row["model"]): row for row in seeded.ask("cache_effect")}
    assert {row["price_source"] for row in average.values()} == {"average"}
    # The seed's calls are all at list price, so the average is the list price.
    for key, row in average.items():
        assert row | {"price_source": ""} == listed[key] | {"price_source": ""}


def test_what_cannot_be_billed_is_listed_with_what_to_do(seeded: Seeded) -> None:
    found = grouped(seeded.ask("unallocated"), "reason")
    rows = in_month(seeded.rows, "2026-11")
    reasons = {
        "no department": lambda row: row["department"] == "",
        "gateway": lambda row: row["department"] == "gateway",
        "no price": lambda row: row["cost_total"] is None,
        "no baseline": lambda row: without_baseline([row]) == 1,
        "stand-in": lambda row: row["stand_in"],
    }  # fmt: skip
    assert list(found) == list(reasons)
    for reason, holds in reasons.items():
        mine = [row for row in rows if holds(row)]
        assert sum(row["calls"] for row in found[reason]) == len(mine) > 0
        assert all(row["what_to_do"] for row in found[reason])
        # A line without a baseline may have other calls in it, which have one.
        first = min(row["first_day"] for row in found[reason])
        assert first == min(row["day"] for row in mine) or reason == "no baseline"
    assert all(row["cost_usd"] is None for row in found["no price"]), "not known is not zero"
    assert sum(row["cost_usd"] for row in found["gateway"]) == cost_of(rows, reasons["gateway"])


def test_credits_roll_forward(seeded: Seeded) -> None:
    for month in MONTHS:
        books = [row for row in seeded.books["credit_roll_forward"] if f"{row['month']:%Y-%m}" == month]
        found = seeded.ask("credits", month)
        assert {row["account"]: row["closing_usd"] for row in found} == {
            row["account"]: row["closing"] for row in books
        }
        for row in found:
            moved = row["granted_usd"] + row["adjusted_usd"] - row["settled_usd"] - row["expired_usd"]
            assert row["opening_usd"] + moved == row["closing_usd"]
            assert row["unexplained_usd"] == 0
            assert row["carried_usd"] == (None if month == MONTHS[0] else 0)
    assert [row["account"] for row in seeded.ask("credits", department="sales")] == ["department:sales"]


def test_invoices_agree_but_for_what_was_changed_in_them(seeded: Seeded) -> None:
    found = {(row["provider"], row["day"], row["model"]): row for row in seeded.ask("invoices")}
    dearer, unseen = (
        found.pop(("openai", date(2026, 11, 10), "gpt-5")),
        found.pop(("openai", date(2026, 11, 12), "gpt-5-mini")),
    )
    assert (dearer["verdict"], dearer["difference_usd"]) == ("amount differs", Decimal("0.75"))
    assert dearer["difference_percent"] == divided(Decimal(75), dearer["charged_usd"], 2)
    assert (unseen["verdict"], unseen["difference_usd"]) == ("tokens differ", Decimal("0.018"))
    assert unseen["invoiced_tokens"] - unseen["charged_tokens"] == 90_000
    billed = {(row["provider"], row["day"], row["model"]) for row in seeded.books["provider_invoices"]}
    for key, row in found.items():
        assert row["verdict"] == ("agrees" if key in billed else "not invoiced")
        assert row["model"] not in ("qwen3-8b", "gpt-5-mini (stand-in)")
    assert {row["model"] for row in found.values() if row["verdict"] == "not invoiced"} == {"internal-beta"}
    assert {row["verdict"] for row in seeded.ask("invoices", "2026-10")} == {"not imported"}


def test_the_ledger_checks_itself(seeded: Seeded) -> None:
    (row,) = seeded.ask("reconcile")
    assert (row["charges"], row["cost_usd"]) == (len(seeded.rows), total(seeded.rows))
    assert (row["settled_usd"], row["unpriced"]) == (total(seeded.rows, "settled"), unpriced(seeded.rows))
    assert row["savings_usd"] == savings(seeded.rows)
    assert (row["conflicts"], row["missing"], row["gaps"]) == (0, 0, 0)


@pytest.mark.parametrize("name", [*REPORTS, "trace", "trace_of_charge", "audit"])
def test_a_file_says_what_its_columns_are(seeded: Seeded, name: str) -> None:
    question = sqlfiles.question(name)
    bound = {
        **Asked("2026-11").parameters(),
        "trace_id": "0" * 32,
        "charge_id": "c",
        "since": date(2026, 1, 1),
        "last": 10,
    }
    used = {key: value for key, value in bound.items() if key in question.parameters}
    if name == "audit":
        used["since"] = "2026-01-01 00:00:00.000"
    described = seeded.client.query(f"DESCRIBE TABLE (\n{question.sql}\n)", parameters=used).result_rows
    assert [row[0] for row in described] == list(question.columns)
    assert all(question.columns.values())


@pytest.mark.parametrize("name", BY_DEPARTMENT)
def test_a_department_is_bound_and_sees_its_own_lines_only(seeded: Seeded, name: str) -> None:
    def answer(department: str) -> list[Row]:
        rows = seeded.ask(name, department=department)
        # The largest changes of one department are others than those of all.
        return rows if name != "movers" else []

    everything = answer("")
    for department in ("engineering", HOSTILE):
        key = "name" if name == "budget" else "department"
        assert answer(department) == [
            row
            for row in everything
            if row.get(key) == department and row.get("scope", "department") == "department"
        ]
    assert seeded.ask(name, department="\\' OR '1'='1'; DROP TABLE charges; -- {month:String}") == []
    assert seeded.client.command("SELECT count() FROM charges FINAL") == len(seeded.rows)


@pytest.mark.parametrize("name", [name for name in REPORTS if name != "reconcile"])
def test_a_month_without_charges_has_no_lines(seeded: Seeded, name: str) -> None:
    rows = seeded.ask(name, "2025-01", as_of=date(2026, 12, 1))
    assert [row for row in rows if any(row.get(key) for key in ("calls", "cost_usd", "actual_usd"))] == []


def test_a_question_that_knows_no_department_says_so(seeded: Seeded) -> None:
    with pytest.raises(ValueError, match="invoices is not asked by department"):
        ask(seeded.client, "invoices", Asked("2026-11", "sales"))
    with pytest.raises(ValueError, match="YYYY-MM"):
        Asked("2026-11'; DROP TABLE charges")
