"""Any report as text: a table for people, csv and json for programs."""

import csv
import io
import json
from decimal import Decimal
from typing import Any, Literal

from farthing.ledger.cells import printable, spreadsheet_text
from farthing.ledger.report import Asked, Column, Report, exact

_NOT_KNOWN = "-"


def render_report(
    report: Report, fmt: Literal["table", "csv", "json"], organisation: str, asked: Asked | None = None
) -> str:
    """Return a report as text, ending in a line feed.

    Money stands there in full, as decimal text, in each of the three (json: a string, so that no reader
    makes a float of it). What is not known is ``-`` in the table, empty in csv, null in json. In csv, text
    that a spreadsheet would run as a formula begins with an apostrophe.
    """
    if fmt == "table":
        return _table(report, organisation, asked)
    return _csv(report) if fmt == "csv" else _json(report, organisation, asked)


def subject(organisation: str, asked: Asked | None) -> str:
    """Return what a report is about, such as ``Acme, sales, 2026-11``."""
    parts = [organisation, *((asked.department, asked.month) if asked else ())]
    return ", ".join(part for part in parts if part)


def _table(report: Report, organisation: str, asked: Asked | None) -> str:
    head = [f"{report.title}", printable(subject(organisation, asked)), ""]
    if not report.rows:
        return "\n".join([*head, "Nothing: no line answers this question."]) + "\n"
    # A single row reads better downwards.
    if len(report.rows) == 1 and len(report.columns) > 4:
        width = max(len(_title(column)) for column in report.columns)
        body = [
            f"{_title(column):<{width}}  {_shown(value)}"
            for column, value in zip(report.columns, report.rows[0], strict=True)
        ]
    else:
        cells = [[_title(column) for column in report.columns]]
        cells += [[_shown(value) for value in row] for row in report.rows]
        widths = [max(len(row[at]) for row in cells) for at in range(len(report.columns))]
        body = [_aligned(row, widths, report.columns) for row in cells]
        body.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    notes = ["", f"Left out: {report.left_out}"] if report.left_out not in ("", "nothing.") else []
    return "\n".join([*head, *body, *notes]) + "\n"


def _aligned(row: list[str], widths: list[int], columns: tuple[Column, ...]) -> str:
    cells = [
        cell.ljust(width) if column.kind in ("text", "day", "flag") else cell.rjust(width)
        for cell, width, column in zip(row, widths, columns, strict=True)
    ]
    return "  ".join(cells).rstrip()


def _title(column: Column) -> str:
    return column.name.replace("_usd", " USD").replace("usd_", "USD ").replace("_", " ")


def _shown(value: Any) -> str:
    if value is None:
        return _NOT_KNOWN
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,f}" if isinstance(value, Decimal) else printable(exact(value))


def _csv(report: Report) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.name for column in report.columns])
    for row in report.rows:
        writer.writerow(
            [
                spreadsheet_text(exact(value)) if column.kind == "text" else exact(value)
                for column, value in zip(report.columns, row, strict=True)
            ]
        )
    return out.getvalue()


def _json(report: Report, organisation: str, asked: Asked | None) -> str:
    names = [column.name for column in report.columns]
    document = {
        "report": report.name,
        "question": report.title,
        "organisation": organisation,
        "month": asked.month if asked else None,
        "department": asked.department or None if asked else None,
        "currency": "USD",
        "columns": {column.name: column.meaning for column in report.columns},
        "lines": [dict(zip(names, map(_plain, row), strict=True)) for row in report.rows],
        "left_out": report.left_out,
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else exact(value)
