"""The difference between what providers bill and what was charged, and the calls behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from farthing.ledger import sqlfiles
from farthing.ledger.invoices.names import plain
from farthing.money import nano_from_usd


@dataclass(frozen=True, slots=True)
class Variance:
    """One day and model of a provider; invoice_variance.sql explains the fields. Money is nano-dollars."""

    provider: str
    day: date
    model: str
    charged_calls: int
    invoiced_requests: int
    charged_tokens: int
    invoiced_tokens: int | None
    charged: int
    invoiced: int | None
    difference: int | None
    usage: int | None
    unpriced_part: int | None
    price: int | None
    rounding: int | None
    outside: int | None
    not_invoiced: int | None
    unexplained: int | None
    unpriced: int
    estimated: int
    cause: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a provider billed for a day and model, and the calls that were charged, the dearest first."""

    compared: Sequence[Variance]
    lines: Sequence[dict[str, Any]]
    """Lines of the invoice, as invoice_lines.sql gives them."""
    calls: Sequence[dict[str, Any]]
    """Calls of the ledger, as invoice_calls.sql gives them; money is Decimal USD."""


def variance(client: Any, first: date, last: date, provider: str = "", model: str = "") -> list[Variance]:
    """Compare the days from ``first`` to ``last`` (UTC, both included), of one provider and model or all.

    Raises what clickhouse-connect raises.
    """
    parameters = {"first": first, "last": last, "provider": provider, "model": plain(model)}
    found = client.query(sqlfiles.load("invoice_variance"), parameters=parameters).named_results()
    return [
        Variance(
            provider=str(row["provider"]),
            day=row["day"],
            model=str(row["model"]),
            charged_calls=int(row["charged_calls"]),
            invoiced_requests=int(row["invoiced_requests"]),
            charged_tokens=int(row["charged_tokens"]),
            invoiced_tokens=None if row["invoiced_tokens"] is None else int(row["invoiced_tokens"]),
            charged=nano_from_usd(row["charged_usd"]),
            invoiced=_nano(row["invoiced_usd"]),
            difference=_nano(row["difference_usd"]),
            usage=_nano(row["usage_usd"]),
            unpriced_part=_nano(row["unpriced_usd"]),
            price=_nano(row["price_usd"]),
            rounding=_nano(row["rounding_usd"]),
            outside=_nano(row["outside_usd"]),
            not_invoiced=_nano(row["not_invoiced_usd"]),
            unexplained=_nano(row["unexplained_usd"]),
            unpriced=int(row["unpriced"]),
            estimated=int(row["estimated"]),
            cause=str(row["cause"]),
        )
        for row in found
    ]


def explain(client: Any, day: date, model: str, provider: str = "", limit: int = 1000) -> Explanation:
    """Return what stands behind one day and model: comparison, lines of the invoice, at most ``limit`` calls.

    ``model`` may have a date or a provider's prefix. Raises what clickhouse-connect raises.
    """
    asked = {"day": day, "model": plain(model), "provider": provider}
    return Explanation(
        variance(client, day, day, provider, model),
        list(client.query(sqlfiles.load("invoice_lines"), parameters=asked).named_results()),
        list(
            client.query(sqlfiles.load("invoice_calls"), parameters={**asked, "limit": limit}).named_results()
        ),
    )


def _nano(usd: Any) -> int | None:
    return None if usd is None else nano_from_usd(usd)
