"""Exports of usage and cost as files: what is read from them, and what is refused, where and why."""

from datetime import date
from pathlib import Path

import pytest

from farthing.ledger.invoices.lines import InvoiceError, InvoiceLine
from farthing.ledger.invoices.names import model_of_line_item, plain
from farthing.ledger.invoices.reading import read
from farthing.ledger.invoices.text import render, words
from farthing.ledger.invoices.variance import Explanation, Variance
from tests.invoice_samples import (
    ANTHROPIC_COST_CSV,
    ANTHROPIC_USAGE_CSV,
    DAY_10,
    DAY_11,
    OPENAI_COST_CSV,
    OPENAI_USAGE_CSV,
    anthropic_bucket,
    anthropic_cost,
    anthropic_page,
    anthropic_usage,
    openai_bucket,
    openai_cost,
    openai_page,
    openai_usage,
)

TENTH, ELEVENTH = date(2026, 11, 10), date(2026, 11, 11)


def written(folder: Path, text: str, name: str = "export") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_openai_usage_pages_are_added_up_by_day_model_and_project(tmp_path: Path) -> None:
    pages = openai_page(
        openai_bucket(
            DAY_10, openai_usage(), openai_usage(input_tokens=50, input_cached_tokens=0, num_model_requests=1)
        )
    )
    more = openai_page(openai_bucket(DAY_11, openai_usage("gpt-5-mini", input_cached_tokens=None)))
    found = read(written(tmp_path, pages + "\n" + more))
    assert (found.provider, found.kind, found.days) == ("openai", "usage", {TENTH, ELEVENTH})
    assert found.lines == (
        InvoiceLine(TENTH, "gpt-5", "gpt-5-2025-08-07, usage", "proj_a", 1050, 400, 300, 0, 6),
        InvoiceLine(ELEVENTH, "gpt-5-mini", "gpt-5-mini, usage", "proj_a", 1000, 200, 0, 0, 5),
    )


def test_amounts_are_exact_and_may_be_below_zero(tmp_path: Path) -> None:
    page = openai_page(
        openai_bucket(
            DAY_10,
            openai_cost("gpt-5-2025-08-07, cached input", 0.1),
            openai_cost("gpt-5-2025-08-07, cached input", 0.2),
            openai_cost("Service credit", -25),
            openai_cost("web search tool calls", "0.0100000004"),
        )
    )
    lines = {line.line: (line.model, line.amount) for line in read(written(tmp_path, page)).lines}
    assert lines == {
        "gpt-5-2025-08-07, cached input": ("gpt-5", 300_000_000),
        "Service credit": ("", -25_000_000_000),
        "web search tool calls": ("", 10_000_000),
    }, "0.1 + 0.2 is 0.3, and no float was in between"


def test_anthropic_counts_the_whole_input_and_bills_in_cents(tmp_path: Path) -> None:
    usage = read(written(tmp_path, anthropic_page(anthropic_bucket("2026-11-10", anthropic_usage()))))
    assert (usage.provider, usage.kind) == ("anthropic", "usage")
    assert usage.lines == (
        InvoiceLine(
            TENTH, "claude-sonnet-4-5", "claude-sonnet-4-5-20250929, usage", "wrkspc_1", 1100, 90, 300, 100
        ),
    )
    cost = read(
        written(tmp_path, anthropic_page(anthropic_bucket("2026-11-10", anthropic_cost("123.78912"))))
    )
    (line,) = cost.lines
    assert (line.model, line.amount) == ("claude-sonnet-4-5", 1_237_891_200)


def test_the_dashboards_csv_files_say_the_same(tmp_path: Path) -> None:
    usage = read(written(tmp_path, OPENAI_USAGE_CSV))
    assert usage.days == {TENTH, ELEVENTH}, "a row without anything says that nothing was used"
    assert usage.lines == (
        InvoiceLine(TENTH, "gpt-5", "gpt-5-2025-08-07, usage", "proj_a", 1050, 220, 300, 0, 6),
    )
    cost = read(written(tmp_path, OPENAI_COST_CSV))
    assert [(line.model, line.amount) for line in cost.lines] == [("", -2_500_000_000), ("gpt-5", 1_250_000)]
    tokens = read(written(tmp_path, ANTHROPIC_USAGE_CSV))
    assert tokens.lines == (
        InvoiceLine(
            TENTH, "claude-haiku-4-5", "claude-haiku-4-5-20251001, usage", "Default", 1100, 90, 300, 100
        ),
    )
    bill = read(written(tmp_path, ANTHROPIC_COST_CSV), "anthropic")
    assert [(line.model, line.amount) for line in bill.lines] == [
        ("claude-haiku-4-5", 70_000_000),
        ("claude-haiku-4-5", 50_000_000),
    ]


ONE = openai_bucket(DAY_10, openai_usage())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("date,amount\n2026-11-10,1\n", r":1: columns of no export that is known"),
        ('{"data": 1}', r":1: not a page of an export"),
        ('{"hello": []}', r":1: not a page of an export"),
        ("[1, 2]", r":1: not a page"),
        (openai_page(ONE)[:-3], r":\d+: not JSON"),
        ("{}\n{}x", r":1: not a page"),
        (openai_page(openai_bucket(DAY_10)), "nothing to import"),
        (
            openai_page(openai_bucket(DAY_10, openai_usage(input_tokens=-1))),
            r"results\[0\]: input_tokens is -1",
        ),
        (openai_page(openai_bucket(DAY_10, openai_usage(input_tokens=1.5))), r"input_tokens is .*1\.5"),
        (openai_page(openai_bucket(DAY_10, openai_usage(input_tokens=True))), "input_tokens is True"),
        (openai_page(openai_bucket(DAY_10, openai_usage(input_tokens=10**30))), "input_tokens is 1000"),
        (openai_page(openai_bucket(DAY_10, *[openai_usage(input_tokens=2**62)] * 2)), "too large"),
        (
            openai_page(openai_bucket(DAY_10, openai_usage(input_tokens="1e999999"))),
            "input_tokens is '1e999999'",
        ),
        (
            openai_page(openai_bucket(DAY_10, openai_usage(input_cached_tokens=2000))),
            "more tokens are cached",
        ),
        (openai_page(openai_bucket(DAY_10, openai_usage(model=None))), "names no model"),
        (
            openai_page(openai_bucket(DAY_10, openai_usage(num_model_requests=None))),
            "num_model_requests is None",
        ),
        (openai_page(openai_bucket(DAY_10 + 3600, openai_usage())), "not within one UTC day"),
        (
            openai_page(openai_bucket(DAY_10 + 3600, openai_usage(), seconds=3600)),
            "begins 2026-11-10 at 01:00",
        ),
        (openai_page(openai_bucket(10**15, openai_usage())), "is not a time"),
        (
            openai_page(openai_bucket(DAY_10, openai_usage(object="organization.usage.images.result"))),
            "not read",
        ),
        (openai_page(openai_bucket(DAY_10, openai_usage(), openai_cost("a", 1))), "one kind to a file"),
        (openai_page(openai_bucket(DAY_10, openai_cost("a", "NaN"))), "must be an amount"),
        (openai_page(openai_bucket(DAY_10, openai_cost("a", 1))).replace("1,", "NaN,"), "NaN is no amount"),
        (openai_page(openai_bucket(DAY_10, openai_cost("a", 10**11))), "more than the ledger can hold"),
        (
            openai_page(openai_bucket(DAY_10, openai_cost("a", 1, amount={"value": 1, "currency": "eur"}))),
            "only USD",
        ),
        (openai_page(openai_bucket(DAY_10, openai_cost("a", 1, amount=1))), "amount must be an object"),
        (anthropic_page(anthropic_bucket("2026-11-10", anthropic_cost("1", currency="EUR"))), "only USD"),
        (anthropic_page(anthropic_bucket("2026-11-10", anthropic_cost("one"))), "amount is 'one'"),
        (
            anthropic_page(anthropic_bucket("2026-11-10", anthropic_usage(output_tokens=None))),
            "output_tokens is None",
        ),
        (OPENAI_COST_CSV.replace("-2.5", "two"), r":3: amount_value is 'two'"),
        (OPENAI_COST_CSV.replace("-2.5,usd", "-2.5,gbp"), r":3: the currency is 'gbp'"),
        (OPENAI_USAGE_CSV.replace("200.0", "200.5"), r":2: output_tokens is '200\.5'"),
        (OPENAI_USAGE_CSV.replace(",700.0", ",700.0,1"), r":2: 16 cells under 15 columns"),
        (OPENAI_USAGE_CSV.replace("user_id", "model"), ":1: a column comes twice"),
        (ANTHROPIC_COST_CSV.replace("2026-11-10", "10.11.2026"), ":2: usage_date_utc is"),
        (ANTHROPIC_COST_CSV.splitlines()[0], "only a heading"),
        ('a,b\n"unfinished', ":1: columns of no export"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InvoiceError, match=reason) as refused:
        read(written(tmp_path, text))
    assert str(refused.value).startswith(str(tmp_path / "export"))


def test_the_line_in_a_file_of_several_pages_is_that_of_the_page(tmp_path: Path) -> None:
    good = openai_page(ONE)
    with pytest.raises(InvoiceError, match=rf"export:{good.count(chr(10)) + 2}: data\[0\]\.results\[0\]: "):
        read(
            written(
                tmp_path, good + "\n" + openai_page(openai_bucket(DAY_11, openai_usage(output_tokens="x")))
            )
        )


def test_files_that_cannot_be_read_or_are_of_another_provider(tmp_path: Path) -> None:
    with pytest.raises(InvoiceError, match="No such file"):
        read(tmp_path / "none.json")
    (tmp_path / "latin").write_bytes(b"a,b\n\xff")
    with pytest.raises(InvoiceError, match=":2: not UTF-8"):
        read(tmp_path / "latin")
    with pytest.raises(InvoiceError, match="an export of openai, and not of anthropic"):
        read(written(tmp_path, openai_page(ONE)), "anthropic")


def test_what_a_reader_should_know_is_noted(tmp_path: Path) -> None:
    assert "has_more" in read(written(tmp_path, openai_page(ONE, has_more=True))).notes[0]
    ungrouped = read(written(tmp_path, openai_page(openai_bucket(DAY_10, openai_cost(None, 1)))))
    assert "name no model" in ungrouped.notes[0]
    assert [line.line for line in ungrouped.lines] == ["all lines"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-5-2025-08-07", "gpt-5"),
        ("openai/gpt-5", "gpt-5"),
        ("GPT-5-mini", "gpt-5-mini"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("Claude Haiku 4.5", "claude-haiku-4-5"),
        ("Claude 3.5 Sonnet 2024-10-22", "claude-3-5-sonnet"),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet"),
        ("claude-opus-4@20250514", "claude-opus-4"),
        ("gpt-4-0613", "gpt-4-0613"),
        ("gpt-4.1", "gpt-4.1"),
    ],
)
def test_a_model_has_one_name(name: str, expected: str) -> None:
    assert plain(name) == expected


@pytest.mark.parametrize(
    ("line", "model"),
    [
        ("gpt-5-2025-08-07, cached input", "gpt-5-2025-08-07"),
        ("priority | gpt-5.6, output, long context", "gpt-5.6"),
        ("gpt-image-1 text, cached input", "gpt-image-1"),
        ("web search tool calls", ""),
        ("", ""),
        ("Service credit", ""),
    ],
)
def test_the_model_of_a_line_of_costs(line: str, model: str) -> None:
    assert model_of_line_item(line) == model


def test_no_name_is_run_by_a_spreadsheet_or_a_terminal() -> None:
    row = Variance(
        "openai", date(2026, 11, 10), "=cmd|\x1b[2j", 0, 0, 0, None, 0, -5, -5, 0, 0, 0, 0, -5, 0, 0, 0, 0,
        "outside",
    )  # fmt: skip
    assert "openai,2026-11-10,'=cmd|" in render([row], "csv")
    assert ",0.000000000,-0.000000005," in render([row], "csv"), "an amount below zero is no formula"
    assert "\x1b" not in render([row], "table") + words(Explanation([row], [{"line": "\x1b[2J"}], []), 1)
