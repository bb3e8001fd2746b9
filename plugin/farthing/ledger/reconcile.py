"""The ledger's own check of itself."""

from dataclasses import dataclass
from typing import Any

from farthing.ledger import sqlfiles
from farthing.money import nano_from_usd


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Whether the ledger is whole. Money is nano-dollars.

    reconcile.sql explains the fields; ``rows`` is its ``charges``.
    """

    rows: int
    cost_nano: int
    settled_nano: int
    baseline_nano: int
    savings_nano: int
    unpriced: int
    deliveries: int
    duplicates: int
    conflicts: int
    missing: int
    gaps: int


def reconcile(client: Any) -> Reconciliation:
    """Return the ledger's own check of itself, over all charges."""
    (row,) = client.query(sqlfiles.load("reconcile")).result_rows
    rows, cost, settled, baseline, savings, *counts = row
    money = (nano_from_usd(amount or 0) for amount in (cost, settled, baseline, savings))
    return Reconciliation(int(rows), *money, *(int(count) for count in counts))
