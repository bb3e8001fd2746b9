"""The statement: what each department, user, tier and model cost in a month."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from farthing.ledger import sqlfiles
from farthing.ledger.lines import StatementLine, Totals, totals
from farthing.ledger.reconcile import Reconciliation, reconcile
from farthing.ledger.render import Format, render
from farthing.money import nano_from_usd

__all__ = [
    "Format",
    "Reconciliation",
    "StatementLine",
    "Totals",
    "reconcile",
    "render",
    "statement",
    "this_month",
    "totals",
]

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])\Z")


def this_month() -> str:
    """Return the current UTC month as ``YYYY-MM``."""
    return datetime.now(UTC).strftime("%Y-%m")


def statement(client: Any, month: str) -> list[StatementLine]:
    """Return the lines of a UTC month (``YYYY-MM``), by department, cost centre, user, tier and model.

    Raises ValueError if ``month`` is not one, and what clickhouse-connect raises.
    """
    if not _MONTH.match(month):
        raise ValueError(f"{month!r} is not a month; write it as YYYY-MM, for example 2026-11")
    result = client.query(sqlfiles.load("statement"), parameters={"month": month})
    lines: list[StatementLine] = []
    for row in result.result_rows:
        *names, calls, sent, written, cached, cost, baseline, savings, unpriced, without, stand_in = row
        department, cost_centre, user, tier, model = (str(name) for name in names)
        lines.append(
            StatementLine(
                department, cost_centre, user, tier, model, int(calls), int(sent), int(written), int(cached),
                _nano(cost), _nano(baseline), _nano(savings), int(unpriced), int(without), bool(stand_in),
            )
        )  # fmt: skip
    return lines


def _nano(usd: Decimal | None) -> int | None:
    return None if usd is None else nano_from_usd(usd)
