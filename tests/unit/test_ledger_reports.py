"""What reports are made of: headers of SQL files, cells, markup, charts and file names."""

import re
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.ledger import sqlfiles
from farthing.ledger.cells import printable, rounded, spreadsheet_text
from farthing.ledger.html import charts, tables
from farthing.ledger.html.markup import Markup, join, named, tag, text
from farthing.ledger.html.pages import file_name
from farthing.ledger.report import REPORTS, Asked, Column, Report, exact, kind_of
from farthing.ledger.report_text import render_report

_FOLDER = Path(sqlfiles.__file__).parents[3] / "dashboards" / "sql"
_OURS = [*REPORTS, "trace", "audit"]


@pytest.mark.parametrize("name", _OURS)
def test_a_file_begins_with_what_finance_can_read(name: str) -> None:
    question = sqlfiles.question(name)
    assert question.title.endswith("?")
    assert "\n" not in question.title
    # What is bound is explained, what is explained is bound, and nothing is spliced in.
    body = question.sql[question.sql.index("\nSELECT" if "\nWITH" not in question.sql else "\nWITH") :]
    assert set(re.findall(r"\{(\w+):", body)) == set(question.parameters)
    assert all(question.parameters.values())
    assert all(question.columns.values())
    assert question.left_out or name in ("reconcile", "trace", "audit")
    known = set(Asked("2026-11").parameters())
    assert name in ("trace", "audit") or set(question.parameters) <= known


def test_every_file_that_asks_about_a_month_is_a_report() -> None:
    titled = {file.stem for file in _FOLDER.glob("*.sql") if "{month:String}" in file.read_text("utf-8")}
    others = {name for name in titled if name.startswith(("focus", "invoice_", "doctor"))}
    assert titled - others == set(REPORTS) - {"reconcile"}
    assert all(file.read_text("utf-8").startswith("-- ") for file in _FOLDER.glob("*.sql"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Nullable(Decimal(38, 9))", "money"), ("Decimal(18, 9)", "money"),
        ("Nullable(Decimal(18, 1))", "number"),
        ("Decimal(38, 19)", "number"), ("UInt64", "count"), ("Nullable(Int8)", "count"), ("Bool", "flag"),
        ("LowCardinality(String)", "text"), ("LowCardinality(Nullable(String))", "text"), ("Date", "day"),
        ("Nullable(DateTime64(9, 'UTC'))", "day"), ("Float64", "number"), ("Map(String, String)", "text"),
    ],
)  # fmt: skip
def test_a_columns_kind_follows_from_its_type(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_values_are_written_without_loss() -> None:
    assert exact(Decimal("0E-9")) == "0.000000000"
    assert exact(Decimal("-1E+3")) == "-1000"
    assert exact(None) == ""
    assert exact(True) == "true"
    assert exact({"a": 1, "b": Decimal("0.10")}) == "a=1; b=0.10"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "＝"])
def test_a_formula_becomes_text(sign: str) -> None:
    assert spreadsheet_text(f"{sign}1+1") == f"'{sign}1+1"
    assert spreadsheet_text(f"a{sign}1") == f"a{sign}1"
    columns = (Column("user", "text", ""), Column("cost_usd", "money", ""))
    report = Report("savings", "What?", columns, ((f"{sign}A1", Decimal("-1.5")),))
    body = render_report(report, "csv", "Acme").split("\n", 1)[1]
    assert f"'{sign}A1" in body
    assert body.rstrip().endswith(",-1.5"), "an amount below zero is no formula"


def test_a_terminal_is_not_steered_by_a_name() -> None:
    assert printable("a\x1b[2J\u202eb\nc") == "a�[2J�b�c"
    assert printable("Zürich 👩‍💻") == "Zürich 👩‍💻"


@given(st.integers(-(10**16), 10**16), st.integers(0, 9))
def test_rounding_is_half_to_even(nano: int, digits: int) -> None:
    shown = Decimal(rounded(nano, digits).replace(",", ""))
    assert shown == round(Decimal(nano).scaleb(-9), digits)
    assert not rounded(nano, digits).startswith("-") or shown < 0


@given(st.text(), st.text())
def test_text_never_becomes_markup(name: str, value: str) -> None:
    made = tag("p", name, tag("b", value), title=value)
    safe = re.sub(r"[<>\"]", "", name + value)
    assert made.count("<") == 4
    assert made.startswith('<p title="')
    assert isinstance(join(name), Markup)
    assert len(text(safe)) >= len(safe)
    read = ElementTree.fromstring(re.sub("[\ufffe\uffff]", "", made.replace("&#x27;", "'")))
    assert read.tag == "p"


def test_a_name_keeps_its_direction_to_itself() -> None:
    assert named("\u202eevil") == "<bdi>\u202eevil</bdi>"
    assert named("") == "<em>(none)</em>"
    assert text("a\x00\x1bb") == "a��b"


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_departments_do_not_share_a_file(names: list[str]) -> None:
    files = [file_name("2026-11", name) for name in names]
    assert len(set(files)) == 2
    assert all(re.fullmatch(r"statement-2026-11-[a-z0-9-]{1,60}\.html", file) for file in files)


def test_file_names_that_finance_recognises() -> None:
    assert file_name("2026-11", "engineering") == "statement-2026-11-engineering.html"
    assert file_name("2026-11", "Zürich / R&D").startswith("statement-2026-11-zurich-r-d-")
    assert file_name("2026-11", "").startswith("statement-2026-11-no-department-")
    assert file_name("2026-11", "../../etc/passwd").startswith("statement-2026-11-etc-passwd-")


@given(st.integers(1, 10**18))
def test_a_charts_scale_has_round_steps_and_room(top: int) -> None:
    marks = charts.ticks(top)
    step = marks[1]
    assert str(step).rstrip("0") in ("1", "2", "5")
    assert marks[-2] < top <= marks[-1]
    assert 2 <= len(marks) <= 5
    assert Decimal(rounded(step, charts.digits_of(step)).replace(",", "")) == Decimal(step).scaleb(-9)


def test_shares_are_cut_off_not_rounded_up() -> None:
    assert tables.percent(1999, 2000) == "99.9 %"
    assert tables.percent(-1, 3) == "−33.3 %"
    assert tables.percent(5, 0) == tables.percent(5, None) == "-"
    assert tables.percent(-1, 10**9) == "0.0 %"
