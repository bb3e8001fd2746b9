"""FOCUS files from a real ledger: they add up to the statement, and are what the specification asks for."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from farthing.cli import main
from farthing.ledger import connect
from farthing.ledger.closing import close_month
from farthing.ledger.focus import FocusError, columns, export
from farthing.ledger.statement import statement, totals
from farthing.settings import Settings
from tests import focus_conformance, ledger_seed
from tests.ledger_stack import embedded_ledger

MONTH = "2026-11"
Rows = list[dict[str, str | None]]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("ledger")) as running:
        yield running


@pytest.fixture(scope="module")
def seeded(settings: Settings) -> list[ledger_seed.Row]:
    client = connect(settings.ledger)
    ledger_seed.insert(client, ledger_seed._price_book(), "price_book")
    return ledger_seed.seed(client, per_day=8)


@pytest.fixture
def client(settings: Settings, seeded: list[ledger_seed.Row]) -> Any:
    return connect(settings.ledger)


@pytest.fixture(scope="module")
def november(
    settings: Settings, seeded: list[ledger_seed.Row], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Rows]:
    """The rows of November in both versions, before any test adds to it."""
    folder = tmp_path_factory.mktemp("november")
    client = connect(settings.ledger)
    return {version: read(written(client, folder, version=version)) for version in ("1.2", "1.3")}


def written(client: Any, folder: Path, month: str = MONTH, fmt: str = "csv", **asked: Any) -> Path:
    file = folder / f"focus.{fmt}"
    export(
        client, month, file, fmt=fmt, organisation="Acme", usd_per_credit=Decimal("0.003"), **asked
    )  # fmt: skip
    return file


def read(file: Path) -> Rows:
    """Return the rows of a CSV file; a cell without quotes and text is null."""
    with file.open(encoding="utf-8", newline="") as text:
        return [
            {name: value or None for name, value in row.items()} for row in csv.DictReader(text, strict=True)
        ]


def billed(rows: Rows) -> Decimal:
    return sum((Decimal(row["BilledCost"] or 0) for row in rows), Decimal(0))


def of(seeded: list[ledger_seed.Row], month: str, **equal: object) -> list[ledger_seed.Row]:
    """Return the charges of a month that have a price."""
    return [
        row
        for row in seeded
        if f"{row['day']:%Y-%m}" == month
        and row["cost_total"] is not None
        and all(row[name] == value for name, value in equal.items())
    ]


def cost(rows: list[ledger_seed.Row], name: str = "cost_total") -> Decimal:
    return sum((row[name] or Decimal(0) for row in rows), Decimal(0))


def priced(number: int, day: date, **changes: Any) -> ledger_seed.Row:
    """Return one charge of its own department: 1000 input tokens, 100 output tokens of gpt-5."""
    (row,) = ledger_seed.charges(1, 1)[:1]
    started = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return row | {
        "id": f"focus-{number}", "day": day, "started": started, "ended": started,
        "department": f"d-{number}", "model": "gpt-5", "provider": "openai", "tier": "strong",
        "cost_source": "provider", "stand_in": False,
        "kind": "inference", "price_version": "map-1", "input_tokens": 1000, "output_tokens": 100,
        "cache_read_tokens": 0, "cache_write_tokens": 0, "cost_total": Decimal("0.00225"),
        "cost_input": Decimal("0.00125"), "cost_output": Decimal("0.001"), "cost_cache_read": Decimal(0),
        "cost_cache_write": Decimal(0), **changes,
    }  # fmt: skip


def test_the_file_adds_up_to_the_statement_and_to_the_charges(
    client: Any, seeded: list[ledger_seed.Row], november: dict[str, Rows]
) -> None:
    rows = november["1.2"]
    assert nano(billed(rows)) == nano(cost(of(seeded, MONTH))) == totals(statement(client, MONTH)).cost_nano
    by_department: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        by_department[row["SubAccountId"] or ""] += Decimal(row["BilledCost"] or 0)
    assert by_department == {
        name: cost(of(seeded, MONTH, department=name))
        for name in {row["department"] for row in of(seeded, MONTH)}
    }
    assert ledger_seed.HOSTILE in by_department, "names are kept as they are"


def test_each_kind_of_token_has_rows_of_its_own(
    seeded: list[ledger_seed.Row], november: dict[str, Rows]
) -> None:
    rows = november["1.2"]
    charges = of(seeded, MONTH)
    for meter, tokens, part in (
        ("Input Tokens", "input_tokens", "cost_input"),
        ("Output Tokens", "output_tokens", "cost_output"),
        ("Cache Read Tokens", "cache_read_tokens", "cost_cache_read"),
        ("Cache Write Tokens", "cache_write_tokens", "cost_cache_write"),
    ):
        these = [row for row in rows if row["SkuMeter"] == meter]
        expected = sum(row[tokens] for row in charges)
        if meter == "Input Tokens":
            expected -= sum(row["cache_read_tokens"] + row["cache_write_tokens"] for row in charges)
        assert sum(Decimal(row["ConsumedQuantity"] or 0) for row in these) == expected
        assert billed(these) == cost(charges, part)
    (key,) = {(row["ConsumedUnit"], row["PricingUnit"]) for row in rows}
    assert key == ("Tokens", "1000000 Tokens")
    kinds = {json.loads(row["Tags"] or "")["farthing/charge_kind"] for row in rows}
    assert kinds == {"inference", "grading", "summary", "failed_attempt"}
    assert any(json.loads(row["Tags"] or "").get("agent") == 'agent "x"' for row in rows)
    assert all(row["x_UnsplitCost"] is None for row in rows)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_every_column_is_as_the_specification_has_it(november: dict[str, Rows], version: str) -> None:
    rows = november[version]
    assert focus_conformance.problems(rows, version) == []
    assert tuple(rows[0]) == columns(version)


def test_the_conformance_table_finds_what_is_wrong(november: dict[str, Rows]) -> None:
    good = november["1.2"][:3]
    for name, value, text in (
        ("BilledCost", None, "BilledCost is null"), ("BilledCost", "+1", "no decimal"),
        ("Tags", "[]", "no json"),
        ("ChargePeriodStart", "2026-11-01", "no time"), ("ChargeClass", "Late", "ChargeClass is 'Late'"),
        ("SubAccountName", None, "only one of"), ("ListCost", "99", "is not ListCost"),
        ("SkuId", None, "SkuId is null"),
        ("PricingUnit", "per 1M", "PricingUnit is no unit"), ("ServiceName", " ", "empty string"),
    ):  # fmt: skip
        assert any(
            text in problem for problem in focus_conformance.problems([*good[1:], good[0] | {name: value}])
        ), name
    shortened = [{name: value for name, value in row.items() if name != "ListCost"} for row in good]
    with pytest.raises(KeyError):
        focus_conformance.problems(shortened)


def test_parquet_has_the_same_rows_with_exact_types(
    client: Any, november: dict[str, Rows], tmp_path: Path
) -> None:
    table = pyarrow.parquet.read_table(written(client, tmp_path, fmt="parquet", version="1.3"))
    assert tuple(table.column_names) == columns("1.3")
    kinds = focus_conformance.COLUMNS | focus_conformance.SINCE_1_3
    for field in table.schema:
        if field.name.startswith("x_"):
            continue
        expected = {"decimal": "decimal128(38", "time": "timestamp[", "string": "string", "json": "string"}
        assert str(field.type).startswith(expected[kinds[field.name].kind]), field
        assert kinds[field.name].null or not field.nullable, field
    assert str(table.schema.field("ChargePeriodStart").type).endswith("tz=UTC]")
    rows = november["1.3"]
    assert table.num_rows == len(rows)
    for name in ("BilledCost", "ListCost", "ConsumedQuantity", "PricingCurrencyEffectiveCost"):
        assert table[name].to_pylist() == [Decimal(row[name] or 0) for row in rows]
    for name in ("Tags", "SubAccountId", "InvoiceId", "SkuPriceId"):
        assert table[name].to_pylist() == [row[name] for row in rows]


def test_a_large_month_is_written_in_portions(
    client: Any, november: dict[str, Rows], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farthing.ledger.focus.file._ROWS_AT_ONCE", 500)
    assert read(written(client, tmp_path)) == november["1.2"]


def test_credits_are_the_pricing_currency(november: dict[str, Rows]) -> None:
    for row in november["1.2"]:
        credits = Decimal(row["PricingCurrencyEffectiveCost"] or 0)
        assert row["PricingCurrency"] == "credits"
        assert abs(credits * Decimal("0.003") - Decimal(row["EffectiveCost"] or 0)) < Decimal("1e-12")


@pytest.fixture(scope="module")
def odd(settings: Settings, seeded: list[ledger_seed.Row], tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The rows of a month with one charge for each department, each with something odd about it."""
    day = date(2027, 1, 5)
    nothing = {"cost_input": None, "cost_output": None, "cost_cache_read": None, "cost_cache_write": None}
    client = connect(settings.ledger)
    ledger_seed.insert(
        client,
        [
            priced(1, day),
            # A deployment with prices of its own, a fifth below the list.
            priced(
                2, day, price_version="map-1+deployment-1a2b", cost_total=Decimal("0.0018"),
                cost_input=Decimal("0.001"), cost_output=Decimal("0.0008"),
            ),
            priced(3, day, model="nobody-lists-this"),
            priced(4, day, model="gpt-5 (stand-in)", stand_in=True),
            priced(5, day, **nothing),
            priced(6, day, cost_input=None),
            priced(7, day, **nothing, input_tokens=0, output_tokens=0),
        ],
    )  # fmt: skip
    rows = read(written(client, tmp_path_factory.mktemp("odd"), "2027-01"))
    assert focus_conformance.problems(rows) == []
    assert billed(rows) == 6 * Decimal("0.00225") + Decimal("0.0018")
    return rows


def test_list_and_effective_cost_differ_where_prices_do(odd: Rows) -> None:
    seen = {
        (row["SubAccountId"], row["SkuMeter"]): (
            Decimal(row["ListCost"] or 0), Decimal(row["EffectiveCost"] or 0), row["x_ListPriceSource"]
        )
        for row in odd
    }  # fmt: skip
    listed, output = Decimal("0.00125"), Decimal("0.001")
    assert seen["d-1", "Input Tokens"] == (listed, listed, "price book")
    assert seen["d-2", "Input Tokens"] == (listed, Decimal("0.001"), "price book")
    assert seen["d-2", "Output Tokens"] == (output, Decimal("0.0008"), "price book")
    assert seen["d-3", "Input Tokens"] == (listed, listed, "as charged")
    assert seen["d-4", "Input Tokens"] == (listed, listed, "price book")
    discounted = next(
        row for row in odd if row["SubAccountId"] == "d-2" and row["SkuMeter"] == "Input Tokens"
    )
    assert (Decimal(discounted["ListUnitPrice"] or 0), Decimal(discounted["ContractedUnitPrice"] or 0)) == (
        Decimal("1.25"), Decimal(1),
    )  # fmt: skip


def test_what_the_parts_of_a_charge_leave_over_is_on_one_row(odd: Rows) -> None:
    assert [
        (row["SubAccountId"], row["SkuMeter"], row["BilledCost"], row["x_UnsplitCost"], row["ConsumedUnit"])
        for row in odd
        if row["SubAccountId"] in ("d-5", "d-6", "d-7")
    ] == [
        ("d-5", "Input Tokens", "0.002250000", "0.002250000", "Tokens"),
        ("d-5", "Output Tokens", "0.000000000", None, "Tokens"),
        ("d-6", "Input Tokens", "0.001250000", "0.001250000", "Tokens"),
        ("d-6", "Output Tokens", "0.001000000", None, "Tokens"),
        ("d-7", "Requests", "0.002250000", "0.002250000", "Requests"),
    ]


def test_calls_without_a_price_have_no_row_and_lend_no_tokens(
    client: Any, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = date(2027, 3, 5)
    same = {"department": "d", "agent": "", "user": "ada", "grade": "HIGH"}
    ledger_seed.insert(
        client, [priced(1, day, **same), priced(2, day, **same, cost_total=None, input_tokens=77_000)]
    )
    config = tmp_path / "farthing.yaml"
    config.write_text(
        f"ledger: {settings.ledger.model_dump_json(include={'url', 'user', 'password', 'database'})}"
    )
    asked = ["focus", "export", "--config", str(config), "--output", str(tmp_path / "out.csv"), "--month"]
    assert main([*asked, "2027-03"]) == 3, "the file is written, and is not all there is to know"
    out = capsys.readouterr()
    assert "1 call(s) of 2027-03 have no price and no row: of gpt-5" in out.err
    assert "2 rows, 0.002250000 USD billed in 2027-03" in out.out
    assert {row["SkuMeter"]: row["ConsumedQuantity"] for row in read(tmp_path / "out.csv")} == {
        "Input Tokens": "1000.000", "Output Tokens": "100.000",
    }  # fmt: skip
    assert main([*asked, "2027-03", "--department", "another"]) == 0
    assert read(tmp_path / "out.csv") == [], "without charges it is a heading alone"
    assert (tmp_path / "out.csv").read_text().count("\n") == 1
    assert main([*asked[:5], str(tmp_path / "no" / "folder.csv"), "--month", MONTH]) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_a_charge_that_arrives_meanwhile_stops_the_export(client: Any, tmp_path: Path) -> None:
    day = date(2027, 4, 5)
    ledger_seed.insert(client, [priced(1, day)])
    file = written(client, tmp_path, "2027-04")
    before = file.read_bytes()

    class Busy:
        """The client, but that a charge arrives once the rows are read."""

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def raw_query(self, *arguments: Any, **named: Any) -> bytes:
            answer: bytes = client.raw_query(*arguments, **named)
            ledger_seed.insert(client, [priced(2, day)])
            return answer

    with pytest.raises(FocusError, match="charges arrived meanwhile"):
        written(Busy(), tmp_path, "2027-04")
    assert file.read_bytes() == before, "the old file is untouched"
    assert list(tmp_path.iterdir()) == [file], "and no part of a new one is left"


def test_a_closed_month_keeps_its_sum_and_later_charges_are_corrections(
    client: Any, seeded: list[ledger_seed.Row], november: dict[str, Rows], tmp_path: Path
) -> None:
    closed = read(written(client, tmp_path, "2026-10"))
    assert {row["x_StatementMonth"] for row in closed} == {None}
    close_month(client, "2026-10")
    late = [row for row in ledger_seed.late_charges() if row["day"].month == 10]
    ledger_seed.insert(client, late)

    again = read(written(client, tmp_path, "2026-10"))
    assert billed(again) == billed(closed) == cost(of(seeded, "2026-10"))
    assert {row["x_StatementMonth"] for row in again} == {"2026-10"}
    assert {row["ChargeClass"] for row in again} == {None}
    whole = [
        row
        for row in again
        if row["ChargePeriodEnd"] == "2026-11-01T00:00:00Z" and row["SkuMeter"] == "Tokens"
    ]
    lines = {(row["department"], row["user"], row["model"]) for row in late if row["cost_total"] is not None}
    assert 0 < len(whole) <= len(lines), "changed lines are one row each, as they were closed"

    later = read(written(client, tmp_path, MONTH))
    corrections = [row for row in later if row["ChargeClass"] == "Correction"]
    assert billed(corrections) == cost([row for row in late if row["cost_total"] is not None])
    assert billed(later) == billed(november["1.2"]) + billed(corrections)
    assert nano(billed(later)) == totals(statement(client, MONTH)).cost_nano
    assert {(row["ChargePeriodStart"], row["BillingPeriodStart"]) for row in corrections} == {
        ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    }
    assert focus_conformance.problems(later) == []
    assert focus_conformance.problems(again) == []


def test_shares_of_the_sovereign_tier_add_up_to_one(november: dict[str, Rows]) -> None:
    rows = november["1.3"]
    shares: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        if row["AllocatedMethodId"] is None:
            assert (row["AllocatedMethodDetails"], row["AllocatedResourceId"]) == (None, None)
            assert json.loads(row["Tags"] or "")["farthing/tier"] != "local" or row["SkuMeter"] == "Tokens"
            continue
        details = json.loads(row["AllocatedMethodDetails"] or "", parse_float=Decimal)
        (element,) = details["Elements"]
        assert element["UsageQuantity"] == Decimal(row["ConsumedQuantity"] or 0)
        shares[str(row["ResourceId"])] += element["AllocatedRatio"]
    assert len(shares) > 20
    assert set(shares.values()) == {Decimal(1)}


@pytest.mark.parametrize("month", ["2026-13", "November", "2026-11'; DROP TABLE charges"])
def test_a_month_that_is_none_is_refused(client: Any, tmp_path: Path, month: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM"):
        written(client, tmp_path, month)
    with pytest.raises(ValueError, match=r"FOCUS 1\.1"):
        written(client, tmp_path, version="1.1")


def nano(usd: Decimal) -> int:
    return int(usd * 10**9)
