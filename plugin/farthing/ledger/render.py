"""A statement as text: a table for people, csv and json for programs."""

import csv
import io
import json
from collections.abc import Sequence
from itertools import groupby
from typing import Literal

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
EMPTY_NOTE = "Nothing has been charged yet{when}. Charges appear here once calls are settled and delivered."

_HEAD = (
    "department", "cost centre", "user", "tier", "model", "calls", "input", "output", "cached",
    "cost USD", "baseline USD", "savings USD", "unpriced",
)  # fmt: skip
_NAMES = 5
_FIELDS = (
    "department", "cost_centre", "user", "tier", "model", "calls", "input_tokens", "output_tokens",
    "cached_tokens", "cost_usd", "baseline_usd", "savings_usd", "unpriced", "without_baseline", "stand_in",
)  # fmt: skip


def render(rows: Sequence[StatementLine], fmt: Format, organisation: str, month: str | None = None) -> str:
    """Return a statement as text, ending in a line feed.

    ``table`` has subtotals and money to six decimals; ``csv`` and ``json`` have all nine, as text, so
    that no reader turns them into floats (csv: empty, json: null, where an amount is not known).
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
    title = f"Statement of {organisation}" + (f", {month}" if month else "")
    if not rows:
        when = f" in {month}" if month else ""
        return f"{title}\n\n{EMPTY_NOTE.format(when=when)}\n"
    body: list[tuple[str, ...] | None] = []
    for department, group in groupby(
        sorted(rows, key=lambda line: line.department), lambda line: line.department
    ):
        lines = list(group)
        body += [
            (line.department, line.cost_centre, line.user, line.tier, line.model, *_figures(line))
            for line in lines
        ]
        body += [(f"{department or '(none)'}: total", "", "", "", "", *_figures(totals(lines))), None]
    body.append(("all departments", "", "", "", "", *_figures(totals(rows))))
    widths = [max(len(row[i]) for row in (_HEAD, *filter(None, body))) for i in range(len(_HEAD))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    out = [title, "", _aligned(_HEAD, widths), rule]
    out += [rule if row is None else _aligned(row, widths) for row in body]
    return "\n".join([*out, "", *_notes(rows)]) + "\n"


def _notes(rows: Sequence[StatementLine]) -> list[str]:
    grand = totals(rows)
    notes = [STAND_IN_NOTE] if any(line.stand_in for line in rows) else []
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
        _six(line.cost_nano, "unpriced"),
        _six(line.baseline_nano, "-"),
        _six(line.savings_nano, "unknown"),
        f"{line.unpriced:,}",
    )


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [
        cell.ljust(width) if i < _NAMES else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _six(nano: int | None, unknown: str) -> str:
    """Return an amount with six decimals, rounded half to even like every rounding here."""
    if nano is None:
        return unknown
    micro, rest = divmod(abs(nano), 1000)
    micro += rest > 500 or (rest == 500 and micro % 2 == 1)
    sign = "-" if nano < 0 and micro else ""
    return f"{sign}{micro // 1_000_000:,}.{micro % 1_000_000:06d}"


def _exact(nano: int | None) -> str | None:
    return None if nano is None else usd_text(nano)


def _values(line: StatementLine) -> tuple[str | int | bool | None, ...]:
    return (
        line.department, line.cost_centre, line.user, line.tier, line.model, line.calls, line.input_tokens,
        line.output_tokens, line.cached_tokens, _exact(line.cost_nano), _exact(line.baseline_nano),
        _exact(line.savings_nano), line.unpriced, line.without_baseline, line.stand_in,
    )  # fmt: skip


def _csv(rows: Sequence[StatementLine]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_FIELDS)
    for line in rows:
        *values, stand_in = _values(line)
        writer.writerow(
            [*("" if value is None else value for value in values), "true" if stand_in else "false"]
        )
    return out.getvalue()


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
