"""Questions to the ledger: each is a file of dashboards/sql, asked with bound parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

from farthing.ledger import sqlfiles
from farthing.ledger.errors import LedgerError

REPORTS = (
    "statement",
    "budget",
    "savings",
    "variance",
    "movers",
    "anomalies",
    "daily",
    "unit_economics",
    "cache_effect",
    "sovereign",
    "unallocated",
    "corrections",
    "credits",
    "invoices",
    "reconcile",
)
"""The questions that `farthing statement` asks, in the order in which it lists them."""

Kind = Literal["text", "day", "count", "money", "number", "flag"]
Idle = Literal["proportional", "even", "none"]

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])\Z")
_WRAPPERS = re.compile(r"\b(?:Nullable|LowCardinality)\(([^()]*(?:\([^()]*\))?)\)")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about. ``month`` is ``YYYY-MM`` in UTC; ``department`` empty: all of them.

    ``as_of`` is taken for today. ``idle`` is how idle hardware is shared, and ``slots`` how many calls one of
    its nodes serves at a time. Raises ValueError for a month that is none.
    """

    month: str
    department: str = ""
    as_of: date | None = None
    idle: Idle = "proportional"
    slots: int = 1

    def __post_init__(self) -> None:
        if not _MONTH.match(self.month):
            raise ValueError(f"{self.month!r} is not a month; write it as YYYY-MM, for example 2026-11")

    def parameters(self) -> dict[str, object]:
        """Return every parameter that a question may have, by name."""
        return {
            "month": self.month,
            "department": self.department,
            "as_of": self.as_of or datetime.now(UTC).date(),
            "idle": self.idle,
            "slots": self.slots,
        }


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an answer: its name, what its values are, and what the file says it means."""

    name: str
    kind: Kind
    meaning: str


@dataclass(frozen=True, slots=True)
class Report:
    """An answer. Money is Decimal, exact to nine places; None: not known."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    left_out: str = ""

    def records(self) -> list[dict[str, Any]]:
        """Return the rows by column name."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


def this_month() -> str:
    """Return the current UTC month as ``YYYY-MM``."""
    return datetime.now(UTC).strftime("%Y-%m")


def ask(client: Any, name: str, asked: Asked) -> Report:
    """Return the answer to one of `REPORTS` from the ledger behind a clickhouse-connect client.

    Raises ValueError for a department where the question is not asked by department, LedgerError if the
    ledger refuses the question, and FileNotFoundError for a name that has no file.
    """
    from clickhouse_connect.driver.exceptions import ClickHouseError

    question = sqlfiles.question(name)
    if asked.department and "department" not in question.parameters:
        raise ValueError(f"the report {name} is not asked by department: leave --department away")
    bound = {key: value for key, value in asked.parameters().items() if key in question.parameters}
    try:
        result = client.query(question.sql, parameters=bound)
    except ClickHouseError as error:
        raise LedgerError(_refused(name, error)) from None
    columns = tuple(
        Column(column, kind_of(kind.name), question.columns.get(column, ""))
        for column, kind in zip(result.column_names, result.column_types, strict=True)
    )
    if not columns:
        # An answer without rows comes without its columns: those that the file names stand in.
        columns = tuple(Column(column, "text", meaning) for column, meaning in question.columns.items())
    rows = tuple(tuple(row) for row in result.result_rows)
    return Report(name, question.title, columns, rows, question.left_out)


def _refused(name: str, error: Exception) -> str:
    text = str(error)
    code = getattr(error, "code", None)
    if code in (47, 60) or "UNKNOWN_TABLE" in text or "UNKNOWN_IDENTIFIER" in text:
        return f"the ledger lacks what the report {name} reads; bring it up to date: farthing ledger migrate"
    if code == 497 or "ACCESS_DENIED" in text:
        return f"the ledger does not let this user read what the report {name} needs; see ledger.user"
    return f"the ledger cannot answer the report {name}: {text.splitlines()[0]}"


def kind_of(clickhouse_type: str) -> Kind:
    """Return what values of a ClickHouse type are to a reader. Decimals of nine places are money."""
    inner, before = clickhouse_type, ""
    while inner != before:
        inner, before = _WRAPPERS.sub(r"\1", inner), inner
    if inner == "Bool":
        return "flag"
    if inner.startswith("Decimal"):
        return "money" if inner.rstrip(")").endswith(" 9") else "number"
    if re.match(r"U?Int\d", inner):
        return "count"
    if inner.startswith("Float"):
        return "number"
    return "day" if inner.startswith("Date") else "text"


def exact(value: Any) -> str:
    """Return a value as text without loss: money and other decimals in full, never as a float."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return "; ".join(f"{key}={exact(one)}" for key, one in value.items())
    return str(value)
