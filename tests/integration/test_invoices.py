"""Invoices in a real ledger: imported once, replaced, compared with the charges, and explained by calls."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from farthing.cli import main
from farthing.ledger import connect
from farthing.ledger.invoices import Variance, explain, keep, read, variance
from farthing.ledger.invoices.names import plain
from farthing.settings import Settings
from farthing.telemetry import Cost, Usage
from tests.invoice_samples import (
    DAY_10,
    DAY_11,
    OPENAI_COST_CSV,
    anthropic_bucket,
    anthropic_cost,
    anthropic_page,
    openai_bucket,
    openai_cost,
    openai_page,
    openai_usage,
)
from tests.ledger_stack import charge, deliver, embedded_ledger, sql

DAY, NEXT = date(2026, 11, 10), date(2026, 11, 11)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("ledger")) as running:
        yield running


@pytest.fixture
def client(settings: Settings) -> Any:
    for table in ("charges", "charge_arrivals", "provider_invoices"):
        sql(settings, f"TRUNCATE TABLE {table}")
    return connect(settings.ledger)


@pytest.fixture
def config(settings: Settings, tmp_path: Path) -> str:
    file = tmp_path / "farthing.yaml"
    file.write_text(
        f"ledger: {settings.ledger.model_dump_json(include={'url', 'user', 'password', 'database'})}"
    )
    return str(file)


def written(folder: Path, text: str, name: str = "export.json") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def stored(settings: Settings) -> list[str]:
    return sql(settings, "SELECT * FROM provider_invoices FINAL ORDER BY ALL FORMAT TSV").splitlines()


def bill(number: int, day: int = 10, **changes: Any) -> Any:
    """Return a charge of 1000 input tokens (300 of them cached) and 200 output tokens of gpt-5."""
    base = charge(number)
    started = base.started.replace(day=day)
    values = {
        "started": started, "ended": started, "usage": Usage(1000, 200, 300, 0, 0),
        "cost": Cost(875_000, 2_000_000, 37_500, 0), "model": "gpt-5",
    }  # fmt: skip
    return charge(number, **{**values, **changes})


def compared(client: Any, **asked: Any) -> dict[tuple[str, str], Variance]:
    rows = variance(client, DAY, NEXT, **asked)
    for row in rows:
        parts = (
            row.usage, row.unpriced_part, row.price, row.rounding, row.outside, row.not_invoiced,
            row.unexplained,
        )  # fmt: skip
        if row.difference is None:
            assert parts == (None,) * 7
        else:
            assert row.invoiced is not None
            assert row.difference == row.invoiced - row.charged
            assert sum(parts) == row.difference, "the parts add up, to the nano-dollar"
    return {(f"{row.day:%d}", row.model): row for row in rows}


USAGE = openai_usage(input_tokens=2000, output_tokens=400, input_cached_tokens=600, num_model_requests=2)
COSTS = (
    openai_cost("gpt-5-2025-08-07, input", "0.00175"),
    openai_cost("gpt-5-2025-08-07, cached input", "0.000075"),
    openai_cost("gpt-5-2025-08-07, output", "0.004"),
)


def imported(client: Any, folder: Path, usage: list[Any], costs: list[Any], day: int = DAY_10) -> None:
    for name, results in (("usage", usage), ("costs", costs)):
        if results:
            keep(client, read(written(folder, openai_page(openai_bucket(day, *results)), name)))


def test_a_file_imported_again_changes_nothing(settings: Settings, client: Any, tmp_path: Path) -> None:
    file = read(written(tmp_path, OPENAI_COST_CSV))
    first = keep(client, file)
    assert (first.written, first.removed, first.unchanged) == (2, 0, 0)
    before = stored(settings)
    assert [row.split("\t")[10] for row in before] == ["-2.5", "0.00125"]
    again = keep(client, read(written(tmp_path, OPENAI_COST_CSV, "renamed.csv")))
    assert (again.written, again.removed, again.unchanged) == (0, 0, 2)
    assert stored(settings) == before


def test_a_later_export_replaces_the_days_and_kind_it_tells(
    settings: Settings, client: Any, tmp_path: Path
) -> None:
    keep(client, read(written(tmp_path, openai_page(openai_bucket(DAY_10, openai_usage())), "usage")))
    costs = [
        openai_bucket(DAY_10, *COSTS, openai_cost("old line", 1)),
        openai_bucket(DAY_11, openai_cost("x", 5)),
    ]
    keep(client, read(written(tmp_path, openai_page(*costs), "costs")))
    newer = openai_page(openai_bucket(DAY_10, *COSTS[:2], openai_cost("gpt-5-2025-08-07, output", "0.005")))
    tried = keep(client, read(written(tmp_path, newer, "newer")), dry_run=True)
    assert (tried.written, tried.removed, tried.unchanged) == (1, 1, 2)
    untouched = stored(settings)
    assert not any("newer" in row for row in untouched), "a dry run writes nothing"

    assert keep(client, read(written(tmp_path, newer, "newer"))) == tried
    rows = compared(client)
    assert rows["10", "gpt-5"].invoiced == 6_825_000, "the new amount, and not both"
    assert rows["10", "gpt-5"].invoiced_tokens == 1200, "the usage export was not touched"
    assert ("10", "") not in rows, "a line that is gone is gone"
    assert rows["11", ""].invoiced == 5_000_000_000, "nor was the other day"
    assert keep(client, read(written(tmp_path, newer, "newer"))).written == 0


def test_equal_tokens_and_amounts_agree_whatever_the_snapshot(
    client: Any, settings: Settings, tmp_path: Path
) -> None:
    deliver(
        settings, [bill(1), bill(2, model="openai/gpt-5-2025-08-07"), bill(3, stand_in=True, model="gpt-5")]
    )
    deliver(settings, [bill(4, tier="local", cost_source="local", provider="vllm", model="qwen3-8b")])
    imported(client, tmp_path, [USAGE], list(COSTS))
    ((key, row),) = compared(client).items()
    assert key == ("10", "gpt-5"), "neither own hardware nor stand-ins are billed"
    assert (row.charged_calls, row.invoiced_requests, row.charged_tokens, row.invoiced_tokens) == (
        2,
        2,
        2400,
        2400,
    )
    assert (row.charged, row.invoiced, row.cause) == (5_825_000, 5_825_000, "agrees")


def test_the_causes_of_a_difference_are_told_apart(client: Any, settings: Settings, tmp_path: Path) -> None:
    deliver(settings, [bill(1), bill(2)])
    dearer = [*COSTS[:2], openai_cost("gpt-5-2025-08-07, output", "0.0045")]
    imported(client, tmp_path, [USAGE], dearer)
    row = compared(client)["10", "gpt-5"]
    assert (row.cause, row.price, row.difference) == ("price", 500_000, 500_000)

    # A third call that the ledger has not seen: its tokens at the ledger's own prices.
    imported(
        client,
        tmp_path,
        [openai_usage(input_tokens=3000, output_tokens=600, input_cached_tokens=900, num_model_requests=3)],
        [openai_cost("gpt-5-2025-08-07, tokens", "0.0087375")],
    )
    row = compared(client)["10", "gpt-5"]
    assert (row.cause, row.usage, row.price) == ("usage", 2_912_500, 0)

    imported(client, tmp_path, [USAGE], [openai_cost("gpt-5-2025-08-07, tokens", "0.005825002")])
    row = compared(client)["10", "gpt-5"]
    assert (row.cause, row.rounding, row.price) == ("rounding", 2, 0), (
        "two charges may be rounded by this much"
    )

    imported(
        client, tmp_path, [], [*COSTS, openai_cost("Service credit", "-3"), openai_cost("gpt-4o, input", 1)]
    )
    rows = compared(client)
    assert (rows["10", ""].cause, rows["10", ""].outside) == ("outside", -3_000_000_000)
    assert (rows["10", "gpt-4o"].cause, rows["10", "gpt-4o"].charged_calls) == ("outside", 0)

    deliver(settings, [bill(3, model="o3"), bill(4, cost=None, baseline_cost=None)])
    imported(
        client,
        tmp_path,
        [openai_usage(input_tokens=3000, output_tokens=600, input_cached_tokens=900, num_model_requests=3)],
        [openai_cost("gpt-5-2025-08-07, tokens", "0.0087375")],
    )
    rows = compared(client)
    assert (rows["10", "o3"].cause, rows["10", "o3"].not_invoiced) == ("not invoiced", -2_912_500)
    assert (rows["10", "gpt-5"].cause, rows["10", "gpt-5"].unpriced) == ("unpriced", 1)
    assert rows["10", "gpt-5"].unpriced_part == 2_912_500


def test_what_is_not_known_is_not_made_up(client: Any, settings: Settings, tmp_path: Path) -> None:
    deliver(settings, [bill(1), bill(2), bill(3, day=11)])
    imported(client, tmp_path, [USAGE], [])
    rows = compared(client)
    assert list(rows) == [("10", "gpt-5")], "of the eleventh nothing was imported"
    assert (rows["10", "gpt-5"].invoiced, rows["10", "gpt-5"].difference) == (None, None)
    assert rows["10", "gpt-5"].cause == "agrees"
    imported(client, tmp_path, [openai_usage(num_model_requests=1)], [])
    assert compared(client)["10", "gpt-5"].cause == "tokens only"

    imported(client, tmp_path, [], [openai_cost("gpt-5-2025-08-07, tokens", 1)], DAY_11)
    row = compared(client)["11", "gpt-5"]
    assert (row.invoiced_tokens, row.cause, row.unexplained) == (None, "unexplained", row.difference)


def test_whole_cents_are_rounded_by_the_provider(client: Any, settings: Settings, tmp_path: Path) -> None:
    sonnet = {"model": "claude-sonnet-4-5", "provider": "anthropic"}
    deliver(settings, [bill(n, **sonnet, cost=Cost(0, 11_200_000, 0, 0)) for n in range(5)])
    page = anthropic_page(anthropic_bucket("2026-11-10", anthropic_cost("6.0")))
    keep(client, read(written(tmp_path, page)))
    row = compared(client, provider="anthropic")["10", "claude-sonnet-4-5"]
    assert (row.charged, row.invoiced, row.cause) == (56_000_000, 60_000_000, "rounding")
    assert compared(client, provider="openai") == {}


def test_a_difference_is_explained_by_its_calls(client: Any, settings: Settings, tmp_path: Path) -> None:
    deliver(settings, [bill(1), bill(2, usage_estimated=True, cost=Cost(1, 1, 1, 1)), bill(3, day=11)])
    deliver(settings, [bill(4, cost=None, baseline_cost=None, model="gpt-5-2025-08-07"), bill(5, model="o3")])
    imported(client, tmp_path, [USAGE], list(COSTS))
    found = explain(client, DAY, "openai/gpt-5-2025-08-07")
    assert [call["id"] for call in found.calls] == ["charge-4", "charge-1", "charge-2"], "no price first"
    assert [call["cost_usd"] for call in found.calls] == [None, Decimal("0.0029125"), Decimal("0.000000004")]
    assert [call["usage_estimated"] for call in found.calls] == [False, False, True]
    assert {line["line"] for line in found.lines} == {
        "gpt-5-2025-08-07, usage", "gpt-5-2025-08-07, input", "gpt-5-2025-08-07, cached input",
        "gpt-5-2025-08-07, output",
    }  # fmt: skip
    assert [(row.model, row.charged_calls, row.estimated) for row in found.compared] == [("gpt-5", 3, 1)]
    assert len(explain(client, DAY, "gpt-5", limit=2).calls) == 2


@pytest.mark.parametrize(
    "name", ["gpt-5", "openai/GPT-5-2025-08-07", "gpt-5-20250807", "gpt-5@20250807", "gpt-5-latest"]
)
def test_the_ledgers_names_are_made_plain_as_the_invoices_are(
    client: Any, settings: Settings, tmp_path: Path, name: str
) -> None:
    deliver(settings, [bill(1, model=name), bill(2, model=name)])
    imported(client, tmp_path, [], list(COSTS))
    assert list(compared(client)) == [("10", plain(name))] == [("10", "gpt-5")]


def test_the_commands(
    client: Any, settings: Settings, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(settings, [bill(1), bill(2)])
    usage = written(tmp_path, openai_page(openai_bucket(DAY_10, USAGE)), "usage.json")
    dearer = openai_page(openai_bucket(DAY_10, *COSTS, openai_cost("gpt-5-2025-08-07, extra", "1")))
    costs = written(tmp_path, dearer, "costs.json")
    bad = written(tmp_path, OPENAI_COST_CSV.replace("usd", "eur"), "bad.csv")

    assert main(["reconcile", "import", str(usage), str(bad), "--config", config]) == 1
    out = capsys.readouterr()
    assert "bad.csv:2: the currency is 'eur'" in out.err
    assert "nothing was imported" in out.err
    assert stored(settings) == [], "not half of what was asked for"
    twice = written(tmp_path, usage.read_text(), "again.json")
    assert main(["reconcile", "import", str(usage), str(twice), "--config", config]) == 1
    assert "one would replace the other" in capsys.readouterr().err

    assert main(["reconcile", "import", str(usage), str(costs), "--config", config, "--dry-run"]) == 0
    assert "(dry run: nothing was changed)" in capsys.readouterr().out
    assert stored(settings) == []
    assert main(["reconcile", "import", str(usage), str(costs), "--config", config]) == 0
    assert "openai cost, 2026-11-10: 4 line(s) written, 0 removed, 0 unchanged" in capsys.readouterr().out

    assert main(["reconcile", "show", "--month", "2026-11", "--config", config]) == 0
    table = capsys.readouterr().out
    assert "1.000000000 USD  the same tokens at another price" in table
    assert main(["reconcile", "show", "--from", "2026-11-10", "--format", "csv", "--config", config]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["model"], row["difference_usd"], row["cause"]) == ("gpt-5", "1.000000000", "price")
    assert main(["reconcile", "show", "--from", "2026-11-10", "--format", "json", "--config", config]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["total"]["price_usd"] == document["lines"][0]["price_usd"] == "1.000000000"
    assert main(["reconcile", "show", "--month", "2026-10", "--config", config]) == 0
    assert "No invoice covers these days" in capsys.readouterr().out
    assert main(["reconcile", "show", "--config", config]) == 2

    assert main(["reconcile", "explain", "--day", "2026-11-10", "--model", "gpt-5", "--config", config]) == 0
    text = capsys.readouterr().out
    assert "charge-1" in text
    assert "gpt-5-2025-08-07, extra" in text
