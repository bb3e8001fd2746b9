"""A statement as text: a table for people, csv and json for programs."""

import csv
import io
import json
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

from farthing.ledger.cells import printable, rounded, spreadsheet_text
from farthing.ledger.lines import StatementLine, Totals, totals
from farthing.money import usd_text

Format = Literal["table", "csv", "json"]

HARDWARE_NOTE = (
    "The local tier's calls carry no share of the fixed cost of its hardware: "
    "that is not in the cost per call, and not in the savings."
)
STAND_IN_NOTE = (
    "stand-in: no provider's key is set, so the small local model answered under this model's name; "
    "tokens are real, the price is the named model's list price, and no provider sends a bill."
)
UNPRICED_NOTE = (
    "unpriced calls have no price: they are in no amount above, which are too low by what they cost."
)
BASELINE_NOTE = "{count} call(s) have a cost but no baseline: they are in cost, not in baseline or savings."
CORRECTION_NOTE = (
    "corrections are what came for a month after it was closed: they are in the totals of this statement, "
    "and the statement of that month stays as it was."
)
EMPTY_NOTE = "Nothing has been charged yet{when}. Charges appear here once calls are settled and delivered."

_HEAD = (
    "department", "cost centre", "user", "tier", "model", "calls", "input", "output", "cached",
    "cost USD", "baseline USD", "savings USD", "unpriced", "",
)  # fmt: skip
_NAMES = 5
_FIELDS = (
    "department", "cost_centre", "user", "tier", "model", "calls", "input_tokens", "output_tokens",
    "cached_tokens", "cost_usd", "baseline_usd", "savings_usd", "unpriced", "without_baseline", "stand_in",
    "entry", "of_month",
)  # fmt: skip


def render(rows: Sequence[StatementLine], fmt: Format, organisation: str, month: str | None = None) -> str:
    """Return a statement as text, ending in a line feed.

    ``table`` has subtotals and money to six decimals; ``csv`` and ``json`` have all nine, as text, so
    that no reader turns them into floats (csv: empty, json: null, where an amount is not known). In csv,
    text that a spreadsheet would run as a formula begins with an apostrophe.
    Raises ValueError for another format.
    """
    if fmt == "table":
        return _table(rows, organisation, month)
    if fmt == "csv":
        return _csv(rows)
    if fmt == "json":
        return _json(rows, organisation, month)
    raise ValueError(f"format {fmt!r} is not known; use table, csv or json")


def _table(rows: Sequence[StatementLine], organisation: str, month: str | None) -> str:
    title = f"Statement of {printable(organisation)}" + (f", {month}" if month else "")
    if not rows:
        when = f" in {month}" if month else ""
        return f"{title}\n\n{EMPTY_NOTE.format(when=when)}\n"
    body: list[tuple[str, ...] | None] = []
    for department, group in groupby(
        sorted(rows, key=lambda line: line.department), lambda line: line.department
    ):
        lines = list(group)
        body += [(*map(printable, _names(line)), *_figures(line), _of(line)) for line in lines]
        body += [
            (f"{printable(department) or '(none)'}: total", "", "", "", "", *_figures(totals(lines)), ""),
            None,
        ]
    body.append(("all departments", "", "", "", "", *_figures(totals(rows)), ""))
    widths = [max(len(row[i]) for row in (_HEAD, *filter(None, body))) for i in range(len(_HEAD))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    out = [title, "", _aligned(_HEAD, widths), rule]
    out += [rule if row is None else _aligned(row, widths) for row in body]
    return "\n".join([*out, "", *_notes(rows)]) + "\n"


def _notes(rows: Sequence[StatementLine]) -> list[str]:
    grand = totals(rows)
    notes = [STAND_IN_NOTE] if any(line.stand_in for line in rows) else []
    if any(line.entry == "correction" for line in rows):
        notes.append(CORRECTION_NOTE)
    if grand.unpriced:
        notes.append(UNPRICED_NOTE)
    if grand.without_baseline:
        notes.append(BASELINE_NOTE.format(count=grand.without_baseline))
    return [*notes, HARDWARE_NOTE]


def _figures(line: StatementLine | Totals) -> tuple[str, ...]:
    return (
        f"{line.calls:,}",
        f"{line.input_tokens:,}",
        f"{line.output_tokens:,}",
        f"{line.cached_tokens:,}",
        rounded(line.cost_nano, 6, "unpriced"),
        rounded(line.baseline_nano, 6, "-"),
        rounded(line.savings_nano, 6, "unknown"),
        f"{line.unpriced:,}",
    )


def _names(line: StatementLine) -> tuple[str, ...]:
    return line.department, line.cost_centre, line.user, line.tier, line.model


def _of(line: StatementLine) -> str:
    return f"correction of {line.of_month}" if line.entry == "correction" else ""


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [
        cell.ljust(width) if i < _NAMES else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _exact(nano: int | None) -> str | None:
    return None if nano is None else usd_text(nano)


def _values(line: StatementLine) -> tuple[str | int | bool | None, ...]:
    return (
        line.department, line.cost_centre, line.user, line.tier, line.model, line.calls, line.input_tokens,
        line.output_tokens, line.cached_tokens, _exact(line.cost_nano), _exact(line.baseline_nano),
        _exact(line.savings_nano), line.unpriced, line.without_baseline, line.stand_in, line.entry,
        line.of_month,
    )  # fmt: skip


def _csv(rows: Sequence[StatementLine]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_FIELDS)
    for line in rows:
        writer.writerow([_cell(name, value) for name, value in zip(_FIELDS, _values(line), strict=True)])
    return out.getvalue()


def _cell(name: str, value: str | int | bool | None) -> str | int:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    # Amounts are text already, and one below zero is no formula.
    return spreadsheet_text(value) if isinstance(value, str) and not name.endswith("_usd") else value


def _json(rows: Sequence[StatementLine], organisation: str, month: str | None) -> str:
    departments = [
        {"department": department, **_totals(list(group))}
        for department, group in groupby(
            sorted(rows, key=lambda line: line.department), lambda line: line.department
        )
    ]
    document = {
        "organisation": organisation,
        "month": month,
        "currency": "USD",
        "lines": [dict(zip(_FIELDS, _values(line), strict=True)) for line in rows],
        "departments": departments,
        "total": _totals(rows),
        "notes": _notes(rows) if rows else [EMPTY_NOTE.format(when=f" in {month}" if month else "")],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _totals(rows: Sequence[StatementLine]) -> dict[str, str | int | None]:
    sums = totals(rows)
    return {
        "calls": sums.calls,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cached_tokens": sums.cached_tokens,
        "cost_usd": _exact(sums.cost_nano),
        "baseline_usd": _exact(sums.baseline_nano),
        "savings_usd": _exact(sums.savings_nano),
        "unpriced": sums.unpriced,
        "without_baseline": sums.without_baseline,
    }
