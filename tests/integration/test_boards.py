"""Every query of every board on a real ledger: it runs, has the right shape, and adds up to the charges."""

import html
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dashboards.grafana import preview
from dashboards.grafana.expand import ALL, View, expand, percent_encoded, queries, single_choices
from dashboards.grafana.sql import VARIABLES
from farthing.ledger import connect
from farthing.ledger.closing import close_month
from tests import boards_seed, ledger_seed
from tests.ledger_seed import HOSTILE, Row
from tests.ledger_stack import embedded_ledger

FOLDER = Path(__file__).resolve().parents[2] / "dashboards" / "grafana"
BOARDS = {
    name: json.loads((FOLDER / f"{name}.json").read_text())
    for name in ("finops", "sre", "grading", "sovereign")
}
QUERIES = {
    f"{name}: {title}": (name, sql, panel)
    for name, board in BOARDS.items()
    for title, (sql, panel) in queries(board).items()
}
SINCE = datetime(2026, 11, 1, tzinfo=UTC)
UNTIL = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC)
NOVEMBER = View(SINCE, UNTIL)
# What somebody might put into a link to a board, or call a department.
CRAFTED = (
    "\\",
    ") OR 1=1 --",
    "' OR '1'='1",
    'x"; DROP TABLE charges; --',
    "$__all",
    "{x}",
    "x}' , '",
    "🚀",
    "x7Z",
)


NUMBER = re.compile(r"(Nullable\()?(U?Int\d+|Float\d+|Decimal\(.*)\)?\Z")
TEXT = re.compile(r"(LowCardinality\()?(Nullable\()?String\)*\Z")


class Ledger(NamedTuple):
    """A ledger with three months of charges, of which October is closed, and what was put into it."""

    client: Any
    charges: list[Row]
    late: list[Row]
    books: dict[str, list[Row]]
    metrics: boards_seed.Metrics
    november: dict[str, Any]
    """What panels got for all of November, so that no query runs twice."""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with embedded_ledger(tmp_path_factory.mktemp("boards")) as settings:
        client = connect(settings.ledger)
        charges = ledger_seed.seed(client)
        books = ledger_seed.seed_books(client)
        close_month(client, "2026-10", force=True)
        late = ledger_seed.late_charges()
        ledger_seed.insert(client, late)
        yield Ledger(client, charges, late, books, boards_seed.seed(client, SINCE, UNTIL), {})
        client.close()


def ask(ledger: Ledger, title: str, view: View = NOVEMBER) -> list[dict[str, Any]]:
    """Return the rows of a panel, called "board: title", as its data source would get them."""
    answer = query(ledger, title, view)
    return [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]


def query(ledger: Ledger, title: str, view: View = NOVEMBER) -> Any:
    if view is not NOVEMBER:
        return ledger.client.query(expanded(title, view))
    if title not in ledger.november:
        ledger.november[title] = ledger.client.query(expanded(title, view))
    return ledger.november[title]


def expanded(title: str, view: View) -> str:
    board, sql, panel = QUERIES[title]
    view = replace(view, chosen=single_choices(BOARDS[board]) | dict(view.chosen))
    return expand(sql, view, panel.get("interval", ""))


def one(ledger: Ledger, title: str, view: View = NOVEMBER) -> Any:
    """Return the number of a panel of one number."""
    (row,) = ask(ledger, title, view)
    (value,) = row.values()
    return value


def column(rows: list[dict[str, Any]], name: str) -> Any:
    return sum(row[name] or 0 for row in rows)


def option(name: str) -> str:
    """Return the value that a variable's option has for a name."""
    return "x" + name.encode().hex().upper()


def within(row: Row, view: View = NOVEMBER) -> bool:
    return bool(view.since.date() <= row["day"] <= view.until.date())


def total(rows: list[Row], name: str = "cost_total") -> Decimal:
    return sum((row[name] for row in rows if row[name] is not None), Decimal(0))


def saved(rows: list[Row]) -> Decimal:
    """Return the savings as the statement defines them, from the charges alone."""
    found = Decimal(0)
    for row in rows:
        if row["cost_total"] is not None and row["kind"] != "inference":
            found -= row["cost_total"]
        elif row["cost_total"] is not None and row["baseline_cost"] is not None:
            found += row["baseline_cost"] - row["cost_total"]
    return found


def answers(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["kind"] == "inference"]


@pytest.mark.parametrize("title", QUERIES)
def test_a_panel_gets_what_its_kind_draws(ledger: Ledger, title: str) -> None:
    panel = QUERIES[title][2]
    answer = query(ledger, title)
    names, kinds = list(answer.column_names), [kind.name for kind in answer.column_types]
    assert answer.result_rows, "nothing to draw"
    assert len(set(names)) == len(names)
    for row in answer.result_rows:
        assert not any(isinstance(value, float) and not math.isfinite(value) for value in row)
    match panel["type"]:
        case "stat":
            assert len(answer.result_rows) == len(names) == 1
            assert NUMBER.match(kinds[0])
            assert answer.result_rows[0][0] is not None
        case "timeseries":
            assert (names[0], kinds[0].split("(")[0]) == ("time", "DateTime")
            times = [row[0] for row in answer.result_rows]
            assert times == sorted(times), "the data source refuses others"
            if "series" in names:
                assert names == ["time", "series", "value"]
                assert TEXT.match(kinds[1])
                assert len({row[:2] for row in answer.result_rows}) == len(times)
                assert panel["fieldConfig"]["defaults"]["displayName"] == "${__field.labels.series}"
            else:
                assert len(set(times)) == len(times)
            assert all(
                NUMBER.match(kind)
                for name, kind in zip(names, kinds, strict=True)
                if name not in ("time", "series")
            )
            assert all(SINCE <= time.replace(tzinfo=UTC) <= UNTIL for time in times)
        case "barchart":
            assert names[0] == panel["options"]["xField"]
            assert TEXT.match(kinds[0])
            assert all(NUMBER.match(kind) for kind in kinds[1:])
        case "table":
            assert len(names) > 1
        case kind:
            raise AssertionError(f"no rule for panels of kind {kind}")
    money = {
        override["matcher"]["options"]
        for override in panel["fieldConfig"]["overrides"]
        if {"id": "unit", "value": "currencyUSD"} in override["properties"]
    }
    styled = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
    assert styled <= set(names), "a column that is not there"
    if panel["fieldConfig"]["defaults"]["unit"] == "currencyUSD":
        money |= {name for name, kind in zip(names, kinds, strict=True) if NUMBER.match(kind)}
    for name in money:
        assert "Decimal" in kinds[names.index(name)], f"{name} is money and not exact"


def test_spend_and_savings_are_the_ledgers(ledger: Ledger) -> None:
    november = [row for row in ledger.charges if within(row)]
    last = [row for row in november if row["day"] == date(2026, 11, 30)]
    spent = total(november)
    assert one(ledger, "finops: Spend today") == total(last) > 0
    assert one(ledger, "finops: Spend this month") == one(ledger, "finops: Spend in the time range") == spent
    assert one(ledger, "finops: Saved, net") == saved(november)
    assert one(ledger, "finops: Unpriced calls") == sum(row["cost_total"] is None for row in november) > 0
    for by in ("department", "tier", "model"):
        assert column(ask(ledger, f"finops: Spend by {by}"), "value") == spent
    lines = ask(ledger, "finops: Baseline, cost and savings")
    assert column(lines, "cost") == spent
    assert column(lines, "saved, net") == saved(november)
    overhead = [row for row in november if row["kind"] != "inference"]
    assert column(ask(ledger, "finops: What saving cost"), "value") == total(overhead) > 0
    assert column(ask(ledger, "finops: Savings by department, this month"), "saved") == saved(november)

    middle = View(datetime(2026, 10, 10, tzinfo=UTC), datetime(2026, 11, 9, 23, 59, 59, tzinfo=UTC))
    part = [row for row in ledger.charges + ledger.late if within(row, middle)]
    assert one(ledger, "finops: Spend in the time range", middle) == total(part)


def test_budgets_movers_caches_and_corrections_are_the_ledgers(ledger: Ledger) -> None:
    november = [row for row in ledger.charges if within(row)]
    shown = total(november) + total(ledger.late)
    budget = ask(ledger, "finops: Budget, actual and forecast, this month")
    (whole,) = [row for row in budget if row["scope"] == "organisation"]
    assert whole["actual"] == shown, "what came late for October is on November's statement"
    assert column([row for row in budget if row["scope"] == "department"], "actual") == shown
    assert one(ledger, "finops: Budget used this month") == float(
        int(shown * 1000 / whole["budget"]) / Decimal(10)
    )

    moved = ask(ledger, "finops: Largest changes against the time before")
    for what in ("department", "model"):
        assert column([row for row in moved if row["what"] == what], "now") == total(november)
    wild = ask(ledger, "finops: Days out of the ordinary, this month")[0]
    assert (wild["day"], wild["department"]) == (ledger_seed.WILD_DAY, ledger_seed.WILD_DEPARTMENT)

    caches = ask(ledger, "finops: What the providers' caches saved, this month")
    assert column(caches, "cost") == total(november, "cost_cache_read") > 0
    unpriced = [row for row in november if row["cost_total"] is None]
    assert column(ask(ledger, "finops: Unpriced calls, by model"), "calls") == len(unpriced)
    corrections = ask(ledger, "finops: Corrections of closed months")
    assert column(corrections, "cost") == total(ledger.late)
    assert column(corrections, "calls") == len(ledger.late)
    assert {row["of"] for row in corrections} == {"2026-10"}


def test_operations_are_counted_from_the_ledger(ledger: Ledger) -> None:
    november = [row for row in ledger.charges if within(row)]
    good = [row for row in answers(november) if row["outcome"] == "ok"]
    assert one(ledger, "sre: Answers") == len(good)
    attempts = [row for row in november if row["kind"] in ("inference", "failed_attempt")]
    failed = [row for row in november if row["outcome"] == "failed"]
    assert one(ledger, "sre: Error share") == len(failed) / len(attempts) > 0
    assert column(ask(ledger, "sre: Failed attempts, by model"), "cost") == total(failed)
    assert column(ask(ledger, "sre: Failed attempts, by model"), "failed") == len(failed)
    climbs = ask(ledger, "sre: Climbs")
    assert column(climbs, "value") == sum(row["climbed_from"] != "" for row in answers(november)) > 0
    assert {row["series"] for row in climbs} == {"fast → strong"}
    step = NOVEMBER.interval_s("1h")
    rates = ask(ledger, "sre: Calls per second, by tier")
    assert column(rates, "value") * step == pytest.approx(len(answers(november)))

    def digits(row: Row) -> int:
        ms = max(1, int((row["ended"] - row["started"]).total_seconds() * 1000))
        place = 10 ** max(0, len(str(ms)) - 2)
        return -(-ms // place) * place

    times = sorted(map(digits, good))
    assert one(ledger, "sre: Answer time, p95") == pytest.approx(times[int(len(times) * 0.95)], rel=0.011)


def test_counters_are_summed_once_whatever_the_sender(ledger: Ledger) -> None:
    grown = ledger.metrics.grown

    def of(metric: str, **attributes: str) -> int:
        wanted = {(key.replace("_", "."), value) for key, value in attributes.items()}
        return sum(n for (name, facts), n in grown.items() if name == metric and wanted <= facts)

    assert one(ledger, "sre: Denials") == of("farthing.denials") > 100
    reasons = ask(ledger, "sre: Denials, by reason")
    assert column([row for row in reasons if row["series"] == "loop"], "value") == of(
        "farthing.denials", farthing_denial_reason="loop"
    )
    hostile = replace(NOVEMBER, chosen={"department": [option(HOSTILE)]})
    assert one(ledger, "sre: Denials", hostile) == of("farthing.denials", farthing_account_department=HOSTILE)
    cache = ask(ledger, "grading: Intent cache")
    assert column([row for row in cache if row["series"] == "near"], "value") == of(
        "farthing.grades", farthing_grade_cache="near"
    )
    assert column(ask(ledger, "grading: Grading time that the cache saved"), "saved") == of(
        "farthing.grade.saved"
    )
    assert one(ledger, "sre: Charges waiting") == max(ledger.metrics.newest_pending.values())

    # One point for the whole month: its quantiles are those of all that was observed.
    whole = ledger.client.query(
        expand(QUERIES["sre: Time that Farthing adds"][1], NOVEMBER, "31d").replace(
            " 2678400 second", " 5 year"
        )
    ).result_rows
    seen = sorted(ledger.metrics.overhead_s)
    ((_, p50, p95, p99),) = whole
    for level, value in ((0.5, p50), (0.95, p95), (0.99, p99)):
        exact = seen[math.ceil(level * len(seen)) - 1]
        bounds = (0.0, *boards_seed.OVERHEAD_BUCKETS)
        low = max(bound for bound in bounds if bound < exact)
        assert low <= value <= min((bound for bound in bounds if bound >= exact), default=bounds[-1])


def test_grades_are_shared_out_over_all_graded_answers(ledger: Ledger) -> None:
    graded = [row for row in ledger.charges if within(row) and row["kind"] == "inference" and row["grade"]]
    for grade in ("LOW", "MEDIUM", "HIGH"):
        share = sum(row["grade"] == grade for row in graded) / len(graded)
        assert one(ledger, f"grading: Graded {grade}") == share
    for title in ("Share of each grade", "Where grades come from"):
        assert column(ask(ledger, f"grading: {title}"), "value") == len(graded)
    pairs = ask(ledger, "grading: Grade against the tier that answered")
    assert column(pairs, "calls") == len(graded)
    assert column(pairs, "cost") == total(graded)
    assert column(ask(ledger, "grading: Sources of grades"), "saved") == saved(graded)
    grading = [row for row in ledger.charges if within(row) and row["kind"] == "grading"]
    assert one(ledger, "grading: Paid for grading") == total(grading) > 0
    last = [row for row in graded if row["day"] == date(2026, 11, 30)]
    scores = ask(ledger, "grading: Scores on the last day")
    assert sum(column(scores, grade) for grade in ("LOW", "MEDIUM", "HIGH")) == len(last)


def test_own_hardware_costs_what_its_hours_cost(ledger: Ledger) -> None:
    def cost(node: Row) -> Decimal:
        begins, ends = max(node["valid_from"], SINCE), min(node["valid_to"] or UNTIL, UNTIL)
        return node["usd_per_hour"] * int((ends - begins).total_seconds()) / 3600

    hardware = sum(map(cost, ledger.books["hardware_costs"]))
    # Each node and day is cut off at the nano-dollar.
    nearly = pytest.approx(hardware, abs=Decimal(62).scaleb(-9))
    assert one(ledger, "sovereign: Hardware cost") == nearly
    days = ask(ledger, "sovereign: Hardware cost: used and idle")
    assert column(days, "used") + column(days, "idle") == one(ledger, "sovereign: Hardware cost")
    local = [row for row in ledger.charges if within(row) and row["tier"] == "local"]
    tokens = sum(row["input_tokens"] + row["output_tokens"] for row in local)
    assert column(ask(ledger, "sovereign: Tokens on own hardware, by department"), "value") == tokens
    assert one(ledger, "sovereign: Per 1,000 tokens, all in") == pytest.approx(hardware * 1000 / tokens)
    busy = sum((row["ended"] - row["started"]).total_seconds() for row in local)
    one_at_a_time = one(ledger, "sovereign: Utilisation")
    four = one(ledger, "sovereign: Utilisation", replace(NOVEMBER, chosen={"slots": "4"}))
    assert four * 4 == pytest.approx(one_at_a_time)
    seconds = sum(cost({**node, "usd_per_hour": 3600}) for node in ledger.books["hardware_costs"])
    assert one_at_a_time == pytest.approx(busy / float(seconds), rel=0.001)
    departments = ask(ledger, "sovereign: Cost by department, this month")
    before_last = [row for row in local if row["day"] < date(2026, 11, 30)]
    assert column(departments, "charged") == total(before_last)


@pytest.mark.parametrize("board", BOARDS)
def test_choosing_everything_is_the_same_as_all(ledger: Ledger, board: str) -> None:
    chosen = {}
    for variable in BOARDS[board]["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["current"]["value"] == [ALL]
            rows = ledger.client.query(expand(variable["query"], NOVEMBER)).result_rows
            assert all(value == option("" if text.startswith("(no ") else text) for value, text in rows)
            chosen[variable["name"]] = [value for value, _ in rows]
            names = {row[variable["name"]] for row in ledger.charges if within(row)}
            assert len(rows) == len(names) > 2
    # A department may have a budget and no charge.
    chosen["department"].append(option("legal"))
    everything = replace(NOVEMBER, chosen=chosen)
    for title, (of, sql, _) in QUERIES.items():
        if of == board and "conditionalAll" in sql and "Denials" not in title:
            assert ask(ledger, title, everything) == ask(ledger, title), title


def test_a_choice_narrows_to_just_that(ledger: Ledger) -> None:
    for name in (HOSTILE, ledger_seed.FORMULA, ""):
        mine = [row for row in ledger.charges if within(row) and row["department"] == name]
        view = replace(NOVEMBER, chosen={"department": [option(name)]})
        assert one(ledger, "finops: Spend in the time range", view) == total(mine) > 0
        assert len(ask(ledger, "finops: Savings by department, this month", view)) == 1
        shown = ask(ledger, "finops: Spend by department", view)
        assert {row["series"] for row in shown} == {name or "(no department)"}
        beside = replace(
            NOVEMBER, chosen={"department": [option(name), *CRAFTED], "tier": [option("strong")]}
        )
        strong = [row for row in mine if row["tier"] == "strong"]
        assert (one(ledger, "finops: Spend in the time range", beside) or 0) == total(strong)


def test_what_somebody_crafts_neither_breaks_nor_widens_a_query(ledger: Ledger) -> None:
    crafted = replace(NOVEMBER, chosen=dict.fromkeys(VARIABLES, CRAFTED) | {"slots": "1') OR 1=1 --"})
    nothing = replace(NOVEMBER, chosen=dict.fromkeys(VARIABLES, (option("no such name"),)))
    encoded = {percent_encoded(CRAFTED), percent_encoded("1') OR 1=1 --")}
    for text in encoded:
        # There is nothing in it that SQL could read as more than a part of a string.
        assert re.fullmatch(r"[A-Za-z0-9%._~-]+", text)
    for title, (_, sql, _) in QUERIES.items():
        literals = re.findall(r"decodeURLComponent\('(.*?)'\)", expanded(title, crafted))
        assert set(literals) <= {percent_encoded(CRAFTED)}, title
        assert len(literals) == sql.count(":percentencode}") - sql.count("${slots:"), title
    for title in (
        "finops: Spend in the time range",
        "finops: Spend by department",
        "finops: Savings by department, this month",
        "finops: Budget, actual and forecast, this month",
        "sre: Denials",
        "sre: Answer time, by model",
        "grading: Grade against the tier that answered",
        "sovereign: Cost by department, this month",
    ):
        assert ask(ledger, title, crafted) == ask(ledger, title, nothing), title
    assert one(ledger, "finops: Spend in the time range", crafted) is None
    assert one(ledger, "sovereign: Utilisation", crafted) == one(ledger, "sovereign: Utilisation")


def test_a_time_without_data_claims_nothing(ledger: Ledger) -> None:
    before = View(datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 31, 23, 59, 59, tzinfo=UTC))
    counts = {"finops: Unpriced calls", "sre: Answers", "sre: Denials"}
    for title, (_, _, panel) in QUERIES.items():
        if panel["type"] == "stat":
            rows = ask(ledger, title, before)
            value = next(iter(rows[0].values())) if rows else None
            assert value == (0 if title in counts else None), title


def test_the_preview_draws_every_panel_and_no_markup_of_others(ledger: Ledger) -> None:
    asked: list[str] = []

    class Client:
        def query(self, sql: str) -> Any:
            asked.append(sql)
            return known[sql]

    for name, board in BOARDS.items():
        titles = [title for title, (of, _, _) in QUERIES.items() if of == name]
        known = {expanded(title, NOVEMBER): query(ledger, title) for title in titles}
        page = preview.page(Client(), board, NOVEMBER)
        assert set(asked) >= set(known)
        for title in titles:
            assert f"<h3>{html.escape(title.partition(': ')[2])}</h3>" in page
        assert page.count("<svg") == sum(
            QUERIES[title][2]["type"] in ("timeseries", "barchart") for title in titles
        )
        assert "Query results, not Grafana" in page
        assert "no rows" not in page
        assert "<script" not in page
    assert "&lt;script&gt;" in preview.page(Client(), BOARDS["sovereign"], NOVEMBER)


def test_the_preview_says_why_it_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = ["--from", "2026-11-01", "--to", "2026-11-30"]
    assert preview.main(["--ledger", "http://127.0.0.1:9", *days, str(tmp_path / "pages")]) == 1
    assert "does not answer" in capsys.readouterr().err
    assert not (tmp_path / "pages").exists()
