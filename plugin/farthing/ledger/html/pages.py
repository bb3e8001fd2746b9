"""Whole pages: a statement for each department, and any other report."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from farthing.ledger.html import parts, tables
from farthing.ledger.html.figures import Book, Department, gather
from farthing.ledger.html.markup import Markup, join, named, tag
from farthing.ledger.lines import totals
from farthing.ledger.report import Asked, Report, exact

NO_DEPARTMENT = "(no department)"


def statement_page(client: Any, organisation: str, asked: Asked) -> str:
    """Return a month's statement as one page: a section for each department, behind a summary of all.

    With ``asked.department`` it is that department's section alone. Raises LedgerError.
    """
    book = gather(client, organisation, asked)
    sections = [section(book, one) for one in book.departments]
    if not asked.department:
        sections.insert(0, summary(book))
    return page(
        f"Statement of {organisation}, {asked.department or 'all departments'}, {asked.month}", *sections
    )


def statement_pages(client: Any, organisation: str, asked: Asked) -> Iterator[tuple[str, str]]:
    """Yield a file name and a page: a month's summary first, then each department. Raises LedgerError."""
    book = gather(client, organisation, asked)
    if not asked.department:
        yield (
            f"statement-{book.month}.html",
            page(f"Statement of {organisation}, {book.month}", summary(book)),
        )
    for one in book.departments:
        title = f"Statement of {organisation}, {one.name or NO_DEPARTMENT}, {book.month}"
        yield file_name(book.month, one.name), page(title, section(book, one))


def file_name(month: str, department: str) -> str:
    """Return a file name that is safe on every system, and another one for every department.

    What is not a lower-case letter or a digit becomes a hyphen; where that changed the name, a digest of the
    name makes it unique.
    """
    plain = unicodedata.normalize("NFKD", department).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].rstrip("-")
    if not department:
        slug = "no-department"
    if slug != department:
        slug = (
            f"{slug or 'department'}-{hashlib.sha256(department.encode(errors='replace')).hexdigest()[:10]}"
        )
    return f"statement-{month}-{slug}.html"


def report_page(report: Report, organisation: str, asked: Asked | None) -> str:
    """Return any report as a page with one table; money in full."""
    heads = [
        tag(
            "th", column.name.replace("_", " "), scope="col", title=column.meaning, class_=_align(column.kind)
        )
        for column in report.columns
    ]
    body = [
        tag("tr", *(tag("td", _shown(value, column.kind), class_=_align(column.kind))
                    for value, column in zip(row, report.columns, strict=True)))
        for row in report.rows
    ]  # fmt: skip
    facts = {"Month": asked.month, "Department": asked.department or "all"} if asked else {}
    caption = tag("caption", f"{len(report.rows):,} lines. Amounts in USD.")
    table = tag("table", caption, tag("thead", tag("tr", *heads)), tag("tbody", *body))
    meanings = [tag("p", tag("strong", column.name.replace("_", " ")), ": ", column.meaning)
                for column in report.columns if column.meaning]  # fmt: skip
    if report.left_out:
        meanings.append(tag("p", tag("strong", "Left out"), ": ", report.left_out))
    return page(
        f"{report.title} {organisation}",
        tag("section", parts.header(organisation, report.title, facts), tag("h2", "Answer"),
            tag("div", table, class_="scroll"), tag("div", *meanings, class_="notes"), class_="wide"),
    )  # fmt: skip


def page(title: str, *sections: Markup) -> str:
    """Return a whole document. It loads nothing, and its policy forbids it to."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        Markup(f"<style>{_style()}</style>"),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', tag('main', *sections)), lang='en')}\n"


def summary(book: Book) -> Markup:
    """Return the organisation's page: every department on a line."""
    lines = [line for one in book.departments for line in (*one.usage, *one.corrections)]
    whole = totals(lines)
    digits = parts.digits_for(whole.cost_nano)
    days: dict[date, dict[str, int]] = {}
    for one in book.departments:
        for day, tiers in one.daily.items():
            for tier, cost in tiers.items():
                days.setdefault(day, {})[tier] = days.get(day, {}).get(tier, 0) + cost
    tiles = [
        parts.tile(
            "Charged",
            money=whole.cost_nano,
            more=f"{whole.calls:,} calls, {len(book.departments):,} departments",
        ),
        parts.saved_tile(whole.savings_nano, whole.baseline_nano, ""),
        parts.budget_tile(book.budget),
        parts.change_tile(book, [one.variance for one in book.departments if one.variance]),
    ]
    return tag(
        "section",
        parts.header(book.organisation, "Statement of all departments", parts.facts(book)),
        tag("div", *tiles, class_="tiles"),
        parts.daily(book, days),
        tag("h2", "Departments"),
        tables.departments(book.departments, digits),
        parts.budget_chart(book.budget),
        parts.notes(whole.without_baseline, whole.unpriced, any(line.stand_in for line in lines)),
    )


def section(book: Book, one: Department) -> Markup:
    """Return one department's statement."""
    sums = one.total
    digits = parts.digits_for(sums.cost_nano)
    centres = sorted({line.cost_centre for line in (*one.usage, *one.corrections) if line.cost_centre})
    facts = {"Cost centre": ", ".join(centres) or "none", **parts.facts(book)}
    baseline = str(one.savings["baseline_models"]) if one.savings else ""
    tiles = [
        parts.tile(
            "Charged",
            money=sums.cost_nano,
            more=f"{sums.calls:,} calls, exactly {parts.exact_usd(sums.cost_nano)}",
        ),
        parts.saved_tile(sums.savings_nano, sums.baseline_nano, baseline),
        parts.budget_tile(one.budget),
        parts.change_tile(book, [one.variance] if one.variance else []),
    ]
    has_usage = [
        tag("h2", "Usage", tag("small", f"{book.month}, in USD")),
        tables.usage(one.usage, digits, _ROUNDING),
    ]
    empty = [tag("p", "Nothing was charged to this department in the month.")]
    has_corrections = [tag("h2", "Corrections of closed months"), tables.corrections(one.corrections, digits)]
    left, right = parts.savings(one, digits), parts.variance(book, one, digits)
    return tag(
        "section",
        parts.header(book.organisation, named(one.name, NO_DEPARTMENT), facts),
        tag("div", *tiles, class_="tiles"),
        parts.daily(book, one.daily) if one.daily else None,
        parts.budget_chart(one.budget),
        tag("div", tag("div", left), tag("div", right), class_="pair") if left or right else None,
        *(has_usage if one.usage else [] if one.corrections else empty),
        *(has_corrections if one.corrections else []),
        *([tag("h2", "Own hardware"), tables.hardware(one.hardware, digits)] if one.hardware else []),
        parts.notes(
            sums.without_baseline,
            sums.unpriced,
            any(line.stand_in for line in (*one.usage, *one.corrections)),
        ),
    )


_ROUNDING = (
    "Amounts are rounded for reading, so lines may differ from their sum in the last digit; sums are exact."
)


@cache
def _style() -> str:
    return (files("farthing.ledger.html") / "statement.css").read_text("utf-8")


def _align(kind: str) -> str | None:
    return "n" if kind in ("count", "money", "number") else "d" if kind == "day" else None


def _shown(value: Any, kind: str) -> Markup:
    if value is None:
        return tag("em", "unknown" if kind == "money" else "-")
    if kind == "count":
        return join(f"{value:,}")
    if kind == "money":
        return tag("data", f"{value:,f}".replace("-", "−"), value=exact(value))
    return named(exact(value), "(none)") if kind == "text" else join(exact(value))
