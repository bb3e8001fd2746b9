"""Variances as text: a table for people, csv and json for programs, and an explanation in words."""

import csv
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

from farthing.ledger.cells import printable, spreadsheet_text
from farthing.ledger.invoices.variance import Explanation, Variance
from farthing.money import usd_text

Format = Literal["table", "csv", "json"]

_NOTHING = "No invoice covers these days: import one with `farthing reconcile import`."
_PARTS = (
    ("usage", "usage that only one of both counts"),
    ("unpriced_part", "calls without a price in the ledger"),
    ("price", "the same tokens at another price"),
    ("rounding", "rounding"),
    ("outside", "bought around Farthing, or no usage (credits, fees)"),
    ("not_invoiced", "charged and not billed"),
    ("unexplained", "unexplained: no usage export tells the tokens billed"),
)
_MONEY = ("charged", "invoiced", "difference", *(name for name, _ in _PARTS))
_TEXTS = ("provider", "model")
_FIELDS = {
    "provider": "provider", "day": "day", "model": "model", "charged_calls": "charged_calls",
    "invoiced_requests": "invoiced_requests", "charged_tokens": "charged_tokens",
    "invoiced_tokens": "invoiced_tokens", "charged": "charged_usd", "invoiced": "invoiced_usd",
    "difference": "difference_usd", "usage": "usage_usd", "unpriced_part": "unpriced_usd",
    "price": "price_usd", "rounding": "rounding_usd", "outside": "outside_usd",
    "not_invoiced": "not_invoiced_usd", "unexplained": "unexplained_usd", "unpriced": "unpriced",
    "estimated": "estimated", "cause": "cause",
}  # fmt: skip


def render(rows: Sequence[Variance], fmt: Format) -> str:
    """Return variances as text, ending in a line feed. Money has all nine decimals, in json too as text.

    In csv, text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    if fmt == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_FIELDS.values())
        for row in rows:
            writer.writerow(
                "" if value is None else spreadsheet_text(value) if name in _TEXTS else value
                for name, value in _values(row).items()
            )
        return out.getvalue()
    if fmt == "json":
        document = {"currency": "USD", "lines": [_values(row) for row in rows], "total": _totals(rows)}
        return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    return _table(rows)


def words(explained: Explanation, limit: int) -> str:
    """Return an explanation for people, ending in a line feed; ``limit`` is how many calls were asked for."""
    out: list[str] = []
    for row in explained.compared:
        out.append(f"{row.provider}, {row.day}, {printable(row.model) or '(no model)'}: {row.cause}")
        ours = f"{row.charged_tokens:,} tokens in {row.charged_calls} calls"
        out.append(f"  charged   {_usd(row.charged):>22} USD for {ours}")
        tokens = "unknown" if row.invoiced_tokens is None else f"{row.invoiced_tokens:,}"
        theirs = f"{tokens} tokens in {row.invoiced_requests or 'unknown'} requests"
        out.append(f"  invoiced  {_usd(row.invoiced):>22} USD for {theirs}")
        out.append(f"  differ by {_usd(row.difference):>22} USD")
        out += [
            f"    of which {_usd(getattr(row, name)):>20} {meaning}"
            for name, meaning in _PARTS
            if getattr(row, name)
        ]
        out.append("")
    if not explained.compared:
        out += [_NOTHING, ""]
    out += _columns("lines of the invoice", explained.lines, left=3)
    out += _columns(f"calls of the ledger, the dearest first (at most {limit})", explained.calls, left=7)
    return "\n".join(out) + "\n"


def _table(rows: Sequence[Variance]) -> str:
    if not rows:
        return _NOTHING + "\n"
    head = (
        "provider",
        "day",
        "model",
        "calls",
        "tokens",
        "invoiced",
        "charged USD",
        "invoiced USD",
        "difference",
        "cause",
    )
    body = [
        (
            row.provider, str(row.day), printable(row.model) or "(no model)", f"{row.charged_calls:,}",
            f"{row.charged_tokens:,}",
            "" if row.invoiced_tokens is None else f"{row.invoiced_tokens:,}", _usd(row.charged),
            _usd(row.invoiced), _usd(row.difference), row.cause,
        )
        for row in rows
    ]  # fmt: skip
    total = _totals(rows)
    last = (
        "all", "", "", "", "", "", total["charged_usd"], total["invoiced_usd"], total["difference_usd"], ""
    )  # fmt: skip
    widths = [max(len(str(line[at])) for line in (head, *body, last)) for at in range(len(head))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [
        _aligned(head, widths),
        rule,
        *(_aligned(line, widths) for line in body),
        rule,
        _aligned(last, widths),
    ]
    parts = [
        f"  {total[_FIELDS[name]]:>20} USD  {meaning}" for name, meaning in _PARTS if _amount(rows, name)
    ]
    return "\n".join([*lines, "", *(["The difference is made of", *parts] if parts else [])]).rstrip() + "\n"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    texts = (
        str(cell).rjust(width) if 3 <= at <= 8 else str(cell).ljust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(texts).rstrip()


def _columns(title: str, rows: Sequence[dict[str, Any]], left: int) -> list[str]:
    if not rows:
        return [f"{title}: none", ""]
    head = list(rows[0])
    body = [[_cell(row[name]) for name in head] for row in rows]
    widths = [max(len(line[at]) for line in (head, *body)) for at in range(len(head))]
    return [
        f"{title}:",
        *(
            "  "
            + "  ".join(
                cell.ljust(width) if at < left else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in (head, *body)
        ),
        "",
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return f"{value:.9f}"
    # A department's name may hold a line feed; a table must not.
    return printable(" ".join(str(value).split()))


def _values(row: Variance) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, shown in _FIELDS.items():
        value = getattr(row, name)
        values[shown] = _usd(value, None) if name in _MONEY else value.isoformat() if name == "day" else value
    return values


def _totals(rows: Sequence[Variance]) -> dict[str, str]:
    return {_FIELDS[name]: usd_text(_amount(rows, name)) for name in _MONEY}


def _amount(rows: Sequence[Variance], name: str) -> int:
    # Days of which only usage was imported have no difference: they are in none of the sums.
    return sum(getattr(row, name) or 0 for row in rows if row.difference is not None)


def _usd(nano: int | None, unknown: str | None = "unknown") -> Any:
    return unknown if nano is None else usd_text(nano)
