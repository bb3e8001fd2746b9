"""The statement as a page, and the command that writes it: what finance holds in its hands."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from farthing.cli import main
from farthing.ledger.html import statement_page, statement_pages
from farthing.ledger.report import REPORTS, Asked
from tests.integration.statements.by_hand import in_month, total
from tests.integration.statements.conftest import Seeded
from tests.ledger_seed import FORMULA, HOSTILE

AS_OF = date(2026, 12, 1)
_VOID = {"meta", "br", "link", "hr", "img", "input"}


class Page(HTMLParser):
    """A page taken apart: its elements, its text, and the exact amounts in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def test_a_page_holds_every_department_and_loads_nothing(seeded: Seeded) -> None:
    text = statement_page(seeded.client, "Acme & Söhne <GmbH>", Asked("2026-11", as_of=AS_OF))
    page = Page(text)
    assert page.count("section") == 8, "a summary and seven departments"
    assert page.count("h1") == 8
    for name in (HOSTILE, FORMULA, "(no department)", "gateway", "Acme & Söhne <GmbH>"):
        assert name in page.text
    # A name that is markup stayed a name, and the page fetches and runs nothing.
    assert not {name for name, _ in page.tags} & {"script", "link", "img", "iframe", "object", "a", "form"}
    names = {name for _, given in page.tags for name in given}
    assert not {name for name in names if name in ("href", "src", "style") or name.startswith("on")}
    assert not re.search(r"url\(|@import", text)
    assert ("meta", "default-src 'none'") in [
        (name, (given.get("content") or "").split(";")[0])
        for name, given in page.tags
        if "http-equiv" in given
    ]
    # Accessible: charts have names, tables captions, heads a scope.
    assert page.count("svg") == page.count("title") - 1 > 16
    assert page.count("caption") == page.count("table") > 16
    assert all(given.get("scope") for name, given in page.tags if name == "th")
    assert ("html", {"lang": "en"}) in page.tags


def test_the_amounts_on_a_page_are_the_ledgers(seeded: Seeded) -> None:
    for department in ("sales", HOSTILE):
        rows = [row for row in in_month(seeded.rows, "2026-11") if row["department"] == department]
        page = Page(statement_page(seeded.client, "Acme", Asked("2026-11", department, AS_OF)))
        exact = f"{total(rows):.9f}"
        assert f"{len(rows):,} calls, exactly {exact}" in page.text
        values = [given["value"] for name, given in page.tags if name == "data"]
        assert exact in values, "the total of the usage table, in full"
        assert page.count("section") == 1
        other = "support" if department == "sales" else "sales"
        assert other not in page.text.replace(HOSTILE, "")


def test_each_department_has_a_file_of_its_own(seeded: Seeded) -> None:
    pages = dict(statement_pages(seeded.client, "Acme", Asked("2026-11", as_of=AS_OF)))
    assert len(pages) == 8
    assert "statement-2026-11-engineering.html" in pages
    assert all(re.fullmatch(r"statement-2026-11[a-z0-9-]*\.html", name) for name in pages), "safe everywhere"
    alone = dict(statement_pages(seeded.client, "Acme", Asked("2026-11", "engineering", AS_OF)))
    assert alone == {"statement-2026-11-engineering.html": pages["statement-2026-11-engineering.html"]}


def test_a_month_without_charges_is_a_page_that_says_so(seeded: Seeded) -> None:
    page = Page(statement_page(seeded.client, "Acme", Asked("2025-01", "sales", AS_OF)))
    assert "Nothing was charged to this department in the month." in page.text


@pytest.fixture
def farthing(
    seeded: Seeded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    config = tmp_path / "farthing.yaml"
    ledger = seeded.settings.ledger
    config.write_text(
        yaml.safe_dump(
            {
                "organisation": "Acme",
                "ledger": {"url": ledger.url, "user": ledger.user, "password": ledger.password},
            }
        )
    )

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["statement", *arguments, "--config", str(config)])
        return status, *capsys.readouterr()

    return run


def test_every_question_is_listed_and_answered_in_every_format(
    farthing: Callable[..., tuple[int, str, str]],
) -> None:
    status, out, _ = farthing("--list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == list(REPORTS)
    assert all(line.rstrip().endswith("?") for line in out.splitlines()), "a question each"
    when = ("--month", "2026-11", "--as-of", "2026-12-01")
    for report in REPORTS:
        read = json.loads(farthing(report, *when, "--format", "json")[1])
        lines = read["lines"]
        table = list(csv.DictReader(io.StringIO(farthing(report, *when, "--format", "csv")[1])))
        assert len(table) == len(lines)
        assert bool(lines) == (report != "corrections")
        for line in lines:
            for name, value in line.items():
                assert not isinstance(value, float) or name == "score", "money is text, not a float"
                if name.endswith("_usd") and value is not None:
                    assert re.fullmatch(r"-?\d+\.\d{9}", value)
        # The table and the page are made the same way for every report: three of them show it.
        if report in ("budget", "corrections", "reconcile"):
            shown = farthing(report, *when)[1]
            assert shown.endswith("\n")
            assert Page(farthing(report, *when, "--format", "html")[1]).count("table") == 1


def test_no_spreadsheet_runs_what_a_name_says(farthing: Callable[..., tuple[int, str, str]]) -> None:
    for report in ("statement", "savings", "budget"):
        text = farthing(report, "--month", "2026-11", "--format", "csv")[1]
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert f"'{FORMULA}" in cells
        assert not [
            cell for cell in cells if cell[:1] in ("=", "+", "-", "@") and not re.fullmatch(r"-?[\d.]+", cell)
        ]
        assert HOSTILE in cells, "other text is as it was"
    names = json.loads(farthing("savings", "--month", "2026-11", "--format", "json")[1])["lines"]
    assert FORMULA in {line["department"] for line in names}, "json is for programs: as it was"


def test_the_command_writes_files(
    seeded: Seeded, farthing: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    when = ("--month", "2026-11", "--format", "html", "--as-of", "2026-12-01")
    status, out, err = farthing(*when, "--output", f"{tmp_path}/statements/")
    assert (status, out) == (0, "")
    assert "wrote 8 statements" in err
    assert len(list((tmp_path / "statements").iterdir())) == 8
    one = tmp_path / "sales.html"
    assert farthing(*when, "--department", "sales", "--output", str(one))[0] == 0
    rows = [row for row in in_month(seeded.rows, "2026-11") if row["department"] == "sales"]
    assert f"exactly {total(rows):.9f}" in one.read_text()
    status, _, err = farthing("budget", "--format", "html", "--output", f"{tmp_path}/")
    assert status == 2
    assert "only the statement as html" in err
    status, _, err = farthing("invoices", "--department", "sales")
    assert status == 2
    assert "leave --department away" in err
    assert farthing(*when, "--output", f"{tmp_path}/no/such/folder.html")[0] == 1


def test_a_table_shows_amounts_in_full(seeded: Seeded, farthing: Callable[..., tuple[int, str, str]]) -> None:
    text = farthing("savings", "--month", "2026-11")[1]
    spent = sum(row["savings_usd"] for row in seeded.ask("savings") if row["department"] == "support")
    assert f"{Decimal(spent):.9f}" in text
    assert "Left out: the fixed cost of own hardware" in text
