"""Past calls from the ledger. Its charges hold no prompts: the grades and intents are those recorded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from itertools import chain
from typing import Any, cast

from farthing.audit.calls import PastCall, Recorded
from farthing.audit.errors import AuditError
from farthing.grading import GradeName
from farthing.ledger import LedgerError, connect, sqlfiles
from farthing.money import nano_from_usd
from farthing.settings import Ledger
from farthing.telemetry import Usage

_EVERY = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LedgerCalls:
    """The calls of a time, the newest first, and what else that time's charges tell.

    ``other_nano`` is what gradings, summaries and failed attempts cost; ``climbs`` the share of each
    tier's attempts that another tier had to answer, by the tier's grade, where it had any.
    """

    calls: Iterator[PastCall]
    other_nano: int
    climbs: Mapping[GradeName, Fraction]


def read_ledger(ledger: Ledger, since: datetime, last: int | None) -> LedgerCalls:
    """Return the answered calls begun ``since`` then, at most the ``last`` ones.

    Raises LedgerError if the ledger cannot be reached, AuditError if it is older than this Farthing.
    """
    client = connect(ledger)
    rows = _rows(client, since, last)
    first = next(rows, None)
    if first is None:
        return LedgerCalls(iter(()), 0, {})
    shares = {
        "LOW": (first["local_climbed"], first["local_answered"]),
        "MEDIUM": (first["fast_climbed"], first["fast_answered"]),
    }
    climbs = {grade: Fraction(c, c + answered) for grade, (c, answered) in shares.items() if c + answered}
    return LedgerCalls(
        (_call(row) for row in chain([first], rows)),
        nano_from_usd(first["other_usd"] or 0),
        cast("Mapping[GradeName, Fraction]", climbs),
    )


def _rows(client: Any, since: datetime, last: int | None) -> Iterator[dict[str, Any]]:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    parameters = {"since": since, "last": last or _EVERY}
    try:
        with client.query_row_block_stream(sqlfiles.load("audit"), parameters=parameters) as stream:
            names = stream.source.column_names
            for block in stream:
                for row in block:
                    yield dict(zip(names, row, strict=True))
    except ClickHouseError as error:
        text = str(error).splitlines()[0]
        if "intent" in text:
            raise AuditError(
                "the ledger has no intents yet; bring it up to date with `farthing ledger migrate`"
            ) from None
        raise LedgerError(f"the ledger cannot answer: {text}") from None
    finally:
        client.close()


def _call(row: Mapping[str, Any]) -> PastCall:
    started = row["started"]
    return PastCall(
        name=row["id"],
        started=started if started.tzinfo else started.replace(tzinfo=UTC),
        model=row["model"],
        provider=row["provider"],
        usage=Usage(
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cache_read=row["cache_read_tokens"],
            cache_write=row["cache_write_tokens"],
            reasoning=row["reasoning_tokens"],
            cache_write_1h=row["cache_write_1h_tokens"],
        ),
        payload=None,
        paid=None if row["cost_usd"] is None else nano_from_usd(row["cost_usd"]),
        estimated=row["usage_estimated"],
        stand_in=row["stand_in"],
        recorded=Recorded(
            grade=row["grade"] or None,
            score=row["grade_score"] or 0.0,
            source=row["grade_source"],
            intent=row["intent"],
            climbed=bool(row["climbed_from"]),
        ),
    )
