"""OpenAI's exports: pages of the usage and costs APIs of an organisation, and the dashboard's CSV files."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from farthing.ledger.invoices.lines import Collected, amount, day_of, dollars, text, whole
from farthing.ledger.invoices.names import model_of_line_item, plain

USAGE_OBJECTS = ("organization.usage.completions.result", "organization.usage.embeddings.result")
COST_OBJECT = "organization.costs.result"

USAGE_CSV = frozenset(
    {"start_time", "end_time", "model", "num_model_requests", "input_tokens", "output_tokens"}
)
COST_CSV = frozenset({"start_time", "end_time", "amount_value", "amount_currency", "line_item"})

_NO_MODEL = "names no model: export it grouped by model, or it cannot be compared with the ledger"


def bucket(into: Collected, item: Mapping[str, Any]) -> None:
    """Mark the day of a bucket as spoken of. Raises ValueError."""
    into.days.add(_day(into, item))


def usage(into: Collected, item: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Add one result of a usage bucket, or one row of the activity CSV. Raises ValueError."""
    model = text(result.get("model"), "model")
    if not model:
        raise ValueError(f"a usage line {_NO_MODEL}")
    counts = (
        whole(result.get("input_tokens"), "input_tokens"),
        whole(_or_zero(result.get("output_tokens")), "output_tokens"),
        whole(_or_zero(result.get("input_cached_tokens")), "input_cached_tokens"),
        whole(_or_zero(result.get("input_cache_write_tokens")), "input_cache_write_tokens"),
        whole(result.get("num_model_requests"), "num_model_requests"),
    )
    if counts[2] + counts[3] > counts[0]:
        raise ValueError("more tokens are cached than there are input tokens")
    project = text(result.get("project_id"), "project_id")
    into.usage(_day(into, item), plain(model), f"{model}, usage", project, counts)


def cost(into: Collected, item: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Add one result of a costs bucket. Raises ValueError."""
    money = result.get("amount")
    if not isinstance(money, Mapping):
        raise ValueError("amount must be an object with value and currency")
    dollars(money.get("currency"))
    _cost(into, item, result, money.get("value"), "amount.value")


def cost_row(into: Collected, row: Mapping[str, Any]) -> None:
    """Add one row of the cost CSV. Raises ValueError."""
    dollars(row.get("amount_currency"))
    _cost(into, row, row, row.get("amount_value"), "amount_value")


def is_empty_row(row: Mapping[str, Any]) -> bool:
    """Return whether a CSV row only says that nothing happened on its day."""
    return not any(value for name, value in row.items() if name and not name.startswith(("start_", "end_")))


def _cost(
    into: Collected, item: Mapping[str, Any], result: Mapping[str, Any], value: object, name: str
) -> None:
    line = text(result.get("line_item"), "line_item")
    project = text(result.get("project_id"), "project_id")
    model = plain(model_of_line_item(line))
    into.cost(_day(into, item), model, line or "all lines", project, amount(value, name))


def _day(into: Collected, item: Mapping[str, Any]) -> date:
    start, end = (whole(item.get(name), name) for name in ("start_time", "end_time"))
    try:
        span = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"start_time {start} or end_time {end} is not a time") from None
    return day_of(*span, into.days)


def _or_zero(value: object) -> object:
    return 0 if value is None or value == "" else value
