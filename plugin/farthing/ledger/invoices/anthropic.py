"""Anthropic's exports: the Admin API's usage and cost reports, and the console's CSV files."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from farthing.ledger.invoices.lines import Collected, amount, day_of, dollars, text, whole
from farthing.ledger.invoices.names import plain

USAGE_CSV = frozenset(
    {"usage_date_utc", "model_version", "usage_input_tokens_no_cache", "usage_output_tokens"}
)
COST_CSV = frozenset({"usage_date_utc", "model", "token_type", "cost_usd"})

_CENTS = 100


def bucket(into: Collected, item: Mapping[str, Any]) -> None:
    """Mark the day of a bucket as spoken of. Raises ValueError."""
    into.days.add(_day(into, item))


def usage(into: Collected, item: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Add one result of a messages usage report. Raises ValueError. It counts tokens and no requests."""
    model = text(result.get("model"), "model")
    if not model:
        raise ValueError("a usage line names no model: export it with group_by[]=model")
    written = result.get("cache_creation") or {}
    if not isinstance(written, Mapping):
        raise ValueError("cache_creation must be an object")
    uncached, output, read = (
        whole(result.get(name), name)
        for name in ("uncached_input_tokens", "output_tokens", "cache_read_input_tokens")
    )
    write = sum(
        whole(written.get(name, 0), f"cache_creation.{name}")
        for name in ("ephemeral_1h_input_tokens", "ephemeral_5m_input_tokens")
    )
    workspace = text(result.get("workspace_id"), "workspace_id")
    counts = (uncached + read + write, output, read, write, 0)
    into.usage(_day(into, item), plain(model), f"{model}, usage", workspace, counts)


def cost(into: Collected, item: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Add one result of a cost report, whose amounts are cents. Raises ValueError."""
    dollars(result.get("currency"))
    usd = amount(result.get("amount"), "amount") / _CENTS
    model = text(result.get("model"), "model")
    line = text(result.get("description"), "description") or _line(
        model, text(result.get("token_type"), "token_type") or text(result.get("cost_type"), "cost_type")
    )
    workspace = text(result.get("workspace_id"), "workspace_id")
    into.cost(_day(into, item), plain(model), line, workspace, usd)


def usage_row(into: Collected, row: Mapping[str, Any]) -> None:
    """Add one row of the console's usage CSV. Raises ValueError."""
    model = text(row.get("model_version"), "model_version")
    if not model:
        raise ValueError("model_version is empty")
    uncached, output, read, hour, minutes = (
        whole(row.get(name) or 0, name)
        for name in (
            "usage_input_tokens_no_cache",
            "usage_output_tokens",
            "usage_input_tokens_cache_read",
            "usage_input_tokens_cache_write_1h",
            "usage_input_tokens_cache_write_5m",
        )
    )
    counts = (uncached + read + hour + minutes, output, read, hour + minutes, 0)
    workspace = text(row.get("workspace"), "workspace")
    into.usage(_date(row.get("usage_date_utc")), plain(model), f"{model}, usage", workspace, counts)


def cost_row(into: Collected, row: Mapping[str, Any]) -> None:
    """Add one row of the console's cost CSV, whose amounts are dollars. Raises ValueError."""
    model = text(row.get("model"), "model")
    usd = amount(row.get("cost_usd"), "cost_usd")
    line = _line(model, text(row.get("token_type"), "token_type") or text(row.get("cost_type"), "cost_type"))
    workspace = text(row.get("workspace"), "workspace")
    into.cost(_date(row.get("usage_date_utc")), plain(model), line, workspace, usd)


def _line(model: str, what: str) -> str:
    return ", ".join(part for part in (model, what) if part) or "all lines"


def _day(into: Collected, item: Mapping[str, Any]) -> date:
    start, end = (_moment(item.get(name), name) for name in ("starting_at", "ending_at"))
    return day_of(start, end, into.days)


def _moment(value: object, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text(value, name))
    except ValueError:
        raise ValueError(f"{name} is {value!r} and must be a time such as 2026-11-24T00:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _date(value: object) -> date:
    try:
        # The console also writes hours and minutes when it shows them; the day is what counts.
        return datetime.fromisoformat(text(value, "usage_date_utc")).date()
    except ValueError:
        raise ValueError(f"usage_date_utc is {value!r} and must be a day such as 2026-11-24") from None
