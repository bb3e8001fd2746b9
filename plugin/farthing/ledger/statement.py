"""The statement: what each department, user, tier and model cost in a month."""

from decimal import Decimal
from typing import Any

from farthing.ledger import sqlfiles
from farthing.ledger.lines import StatementLine, Totals, totals
from farthing.ledger.reconcile import Reconciliation, reconcile
from farthing.ledger.render import Format, render
from farthing.ledger.report import Asked, this_month
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


def statement(client: Any, month: str, department: str = "") -> list[StatementLine]:
    """Return the lines of a UTC month (``YYYY-MM``), by department, cost centre, user, tier and model.

    A closed month has the lines it was closed with; corrections of earlier months are lines of their own,
    behind the usage of their department. ``department`` empty: all. Raises ValueError if ``month`` is not
    one, and what clickhouse-connect raises.
    """
    asked = Asked(month, department).parameters()
    question = sqlfiles.question("statement")
    result = client.query(question.sql, parameters={name: asked[name] for name in question.parameters})
    lines: list[StatementLine] = []
    for row in result.result_rows:
        (
            entry,
            of_month,
            *names,
            calls,
            sent,
            written,
            cached,
            cost,
            baseline,
            savings,
            unpriced,
            without,
            fake,
        ) = row
        department, cost_centre, user, tier, model = (str(name) for name in names)
        lines.append(
            StatementLine(
                department, cost_centre, user, tier, model, int(calls), int(sent), int(written), int(cached),
                _nano(cost), _nano(baseline), _nano(savings), int(unpriced), int(without), bool(fake),
                "correction" if entry == "correction" else "usage", f"{of_month:%Y-%m}",
            )
        )  # fmt: skip
    return lines


def _nano(usd: Decimal | None) -> int | None:
    return None if usd is None else nano_from_usd(usd)
