"""The lines of a statement, and their sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One line. Money is nano-dollars; None means not known, because prices are missing.

    ``cost_nano`` and ``baseline_nano`` leave out the ``unpriced`` calls; ``savings_nano`` also leaves out the
    ``without_baseline`` ones. ``cached_tokens`` are part of ``input_tokens``. A correction is what a closed
    month, ``of_month`` (``YYYY-MM``), got after it was closed; its counts and amounts may be below zero.
    """

    department: str
    cost_centre: str
    user: str
    tier: str
    model: str
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_nano: int | None
    baseline_nano: int | None
    savings_nano: int | None
    unpriced: int
    without_baseline: int
    stand_in: bool
    entry: Literal["usage", "correction"] = "usage"
    of_month: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of some lines; amounts are None if no line knows them."""

    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_nano: int | None
    baseline_nano: int | None
    savings_nano: int | None
    unpriced: int
    without_baseline: int


def totals(lines: Sequence[StatementLine]) -> Totals:
    """Return the sums of ``lines``."""
    return Totals(
        sum(line.calls for line in lines),
        sum(line.input_tokens for line in lines),
        sum(line.output_tokens for line in lines),
        sum(line.cached_tokens for line in lines),
        _sum([line.cost_nano for line in lines]),
        _sum([line.baseline_nano for line in lines]),
        _sum([line.savings_nano for line in lines]),
        sum(line.unpriced for line in lines),
        sum(line.without_baseline for line in lines),
    )


def _sum(amounts: list[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
