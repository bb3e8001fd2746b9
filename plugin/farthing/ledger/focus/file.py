"""Writing a month as a FOCUS file, and making sure that it adds up to the statement."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from farthing.ledger import sqlfiles
from farthing.ledger.errors import LedgerError
from farthing.ledger.focus.columns import columns
from farthing.money import nano_from_usd, usd_text

Format = Literal["csv", "parquet"]

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])\Z")
# The embedded engine builds an answer in memory; a FOCUS row is about 1 kB of CSV.
_ROWS_AT_ONCE = 100_000
_CSV: Mapping[str, str] = {
    "date_time_output_format": "iso",
    "format_csv_null_representation": "",
    # 0.000061050 and not 0.00006105: readers that guess types then take every amount for a decimal.
    "output_format_decimal_trailing_zeros": "1",
}
_PARQUET: Mapping[str, str] = {
    "output_format_parquet_string_as_string": "1",
    # Far fewer bytes than its uncompressed rows, which the usual bound counts.
    "max_result_bytes": "0",
}


class FocusError(LedgerError):
    """The file cannot be written, or would not add up to the statement."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written: ``billed`` nano-dollars in all; ``unpriced`` calls, of ``models``, have no row."""

    rows: int
    billed: int
    unpriced: int
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Month:
    first: date
    last: date
    department: str
    values: Mapping[str, object]
    """Parameters of focus.sql beside its days."""


def export(
    client: Any,
    month: str,
    output: Path,
    *,
    fmt: Format,
    organisation: str,
    usd_per_credit: Decimal,
    version: str = "1.2",
    department: str = "",
) -> Export:
    """Write a UTC month (``YYYY-MM``) to ``output`` as FOCUS, or leave ``output`` as it was.

    ``usd_per_credit`` is what a credit, the pricing currency, is worth. Raises ValueError for a month or
    version that is none, FocusError if the file cannot be written, or if charges arrived meanwhile so that
    it would not add up to the month's statement, and what clickhouse-connect raises.
    """
    found = _MONTH.match(month)
    if not found:
        raise ValueError(f"{month!r} is not a month; write it as YYYY-MM, for example 2026-11")
    first = date(int(found[1]), int(found[2]), 1)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    values = {"department": department, "organisation": organisation, "usd_per_credit": usd_per_credit}
    asked = _Month(first, last, department, values)
    rows_sql = sqlfiles.load("focus")
    chosen = _from(", ".join(columns(version)), rows_sql)

    days = client.query(
        sqlfiles.load("focus_days"), parameters={"month": month, "department": department}
    ).result_rows
    billed = _statement_total(client, month, department)
    with _replacing(output) as part:
        # The statement may be asked for in between; the file is only kept if nothing changed around it.
        if fmt == "csv":
            _write_csv(client, chosen, asked, days, part)
        else:
            _write_parquet(client, chosen, asked, part)
        count, total = _sum(client, rows_sql, asked)
        if total != billed or _statement_total(client, month, department) != billed:
            raise FocusError(
                f"the rows of {month} add up to {usd_text(total)} USD, its statement to {usd_text(billed)}: "
                "charges arrived meanwhile. Nothing was written; export again"
            )
    models = sorted({str(model) for _, _, _, some in days for model in some})
    return Export(count, billed, sum(int(missing) for _, _, missing, _ in days), tuple(models))


def _write_csv(client: Any, sql: str, asked: _Month, days: list[Any], part: Path) -> None:
    with part.open("wb") as file:
        for number, (first, last) in enumerate(_portions(asked, days)):
            parameters = {**asked.values, "first": first, "last": last}
            fmt = "CSVWithNames" if number == 0 else "CSV"
            file.write(client.raw_query(sql, parameters=parameters, fmt=fmt, settings=dict(_CSV)))


def _write_parquet(client: Any, sql: str, asked: _Month, part: Path) -> None:
    parameters = {**asked.values, "first": asked.first, "last": asked.last}
    part.write_bytes(client.raw_query(sql, parameters=parameters, fmt="Parquet", settings=dict(_PARQUET)))


def _portions(asked: _Month, days: list[Any]) -> Iterator[tuple[date, date]]:
    """Yield spans of days that hold about ``_ROWS_AT_ONCE`` rows, and together the whole month."""
    begins, rows = asked.first, 0
    for day, more, _, _ in days:
        if rows and rows + int(more) > _ROWS_AT_ONCE:
            yield begins, day - timedelta(days=1)
            begins, rows = day, 0
        rows += int(more)
    yield begins, asked.last


def _sum(client: Any, rows_sql: str, asked: _Month) -> tuple[int, int]:
    parameters = {**asked.values, "first": asked.first, "last": asked.last}
    ((count, total),) = client.query(
        _from("count(), sum(BilledCost)", rows_sql), parameters=parameters
    ).result_rows
    return int(count), nano_from_usd(total or 0)


def _statement_total(client: Any, month: str, department: str) -> int:
    """Return what the month's statement comes to, in nano-dollars, corrections on it included."""
    ((total,),) = client.query(
        _from("sum(cost_usd)", sqlfiles.load("statement")),
        parameters={"month": month, "department": department},
    ).result_rows
    return nano_from_usd(total or 0)


def _from(columns: str, sql: str) -> str:
    """Return a query of some columns of one of our own: texts of this package, and nobody's input."""
    return f"SELECT {columns} FROM ({sql})"  # noqa: S608


@contextlib.contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """Yield a file beside ``output`` that takes its place at the end, unless something goes wrong."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    except OSError as error:
        raise FocusError(f"{output}: cannot be written: {error.strerror}") from None
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)
        part.replace(output)
    except OSError as error:
        raise FocusError(f"{output}: cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
