"""A past call, whatever wrote it down; and how a row of LiteLLM's spend logs, or a request, becomes one."""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal

from farthing.audit.tokens import usage_of, usage_of_row
from farthing.grading import GradeName
from farthing.money import nano_from_usd
from farthing.telemetry import Usage

LeftOut = Literal["failed", "cached", "other"]
"""Why a call is not audited: it failed; LiteLLM's cache answered it; it is no text generation."""

ASKS = ("messages", "input", "prompt")
CUT_MARK = "litellm_truncated"
"""What LiteLLM writes into a stored text that it shortened."""
_REDACTED = "redacted-by-litellm"
_ROW_COLUMNS = {"request_id", "call_type", "spend", "startTime", "proxy_server_request"}
_OTHER_TYPES = (
    "embed", "image", "speech", "transcri", "moderat", "rerank", "batch", "file", "vector_store", "search",
    "ocr", "video", "realtime", "mcp", "fine_tun", "container", "assistant",
)  # fmt: skip
_PACKED = ("messages", "tools", "usage", "response", "body", "request", "metadata")
_IDS = ("id", "request_id", "custom_id")
_TIMES = ("startTime", "start_time", "timestamp", "created_at", "time")
_DEAREST_USD = 10**6


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the gateway itself recorded when it made the call. ``intent`` is the key of its intent."""

    grade: GradeName | None
    """None: the client named its model, and nothing was graded."""
    score: float
    source: str
    intent: str
    climbed: bool
    """The call was answered by a higher tier after a cheaper one's attempt failed."""


@dataclass(frozen=True, slots=True)
class PastCall:
    """One call that was made.

    ``paid`` is what it cost by its own record, in nano-dollars; None: to be priced from its tokens.
    ``payload`` is the request body; None: its prompt was not kept.
    """

    name: str
    """Its request id, else ``line 12`` of its file."""
    started: datetime | None
    model: str
    provider: str
    usage: Usage
    payload: Mapping[str, object] | None
    paid: int | None = None
    estimated: bool = False
    """Nobody reported its tokens: Farthing counted them."""
    unanswered: bool = False
    """Its answer is not recorded, so its output tokens are not known and are counted as none."""
    cut: bool = False
    """LiteLLM shortened the stored prompt."""
    stand_in: bool = False
    """A small local model answered under the model's name."""
    recorded: Recorded | None = None
    """What the ledger says of it; None for a call from a file."""


def call_of(record: Mapping[str, object], place: str) -> PastCall | LeftOut:
    """Return the call that a record describes: a row of LiteLLM_SpendLogs, or a request.

    ``place`` names the record where it has no id. Raises ValueError, saying what is wrong, if it is neither.
    """
    if len(_ROW_COLUMNS & record.keys()) >= 2:
        return _call_of_row(record, place)
    return _call_of_request(record, place)


def _call_of_row(row: Mapping[str, object], place: str) -> PastCall | LeftOut:
    metadata, response = _mapping(row.get("metadata")), _mapping(row.get("response"))
    status = _text(row.get("status")) or _text(metadata.get("status"))
    if status.lower() in ("failure", "failed", "error"):
        return "failed"
    if _text(row.get("cache_hit")).lower() == "true" or row.get("cache_hit") is True:
        return "cached"
    kind = _text(row.get("call_type")).lower()
    if any(part in kind for part in _OTHER_TYPES):
        return "other"
    payload, cut = _stored_request(row)
    usage, estimated, unanswered = usage_of_row(row, metadata, response, payload)
    spend = _amount(row.get("spend"))
    return PastCall(
        name=clean(row.get("request_id")) or place,
        started=moment(row.get("startTime") or row.get("start_time")),
        model=clean(row.get("model")) or clean(row.get("model_group")),
        provider=clean(row.get("custom_llm_provider")),
        usage=usage,
        payload=payload,
        # LiteLLM writes 0 for a model it has no price of, which is not the same as free.
        paid=spend or None,
        estimated=estimated,
        unanswered=unanswered,
        cut=cut,
    )


def _stored_request(row: Mapping[str, object]) -> tuple[Mapping[str, object] | None, bool]:
    """Return the request body that a row kept, and whether LiteLLM shortened it."""
    body = _mapping(row.get("proxy_server_request"))
    if not has_ask(body) and isinstance(body.get("body"), Mapping | str):
        body = _mapping(body["body"])
    if not has_ask(body):
        stored = _loaded(row.get("messages"))
        if isinstance(stored, Mapping):
            body = stored
        else:
            body = {"messages" if isinstance(stored, list) else "prompt": stored}
        if row.get("tools"):
            body = {**body, "tools": _loaded(row["tools"])}
    if not has_ask(body):
        return None, False
    return body, any(CUT_MARK in str(body.get(name)) for name in ASKS)


def _call_of_request(record: Mapping[str, object], place: str) -> PastCall:
    # A prompt may itself be JSON, and stays the text it is; in CSV these others are JSON as text.
    packed = {name: _loaded(record[name]) for name in _PACKED if isinstance(record.get(name), str)}
    record = {**record, **packed}
    body: Mapping[str, object] = record
    for name in ("body", "request", "kwargs"):
        inner = record.get(name)
        if not has_ask(body) and isinstance(inner, Mapping):
            body = inner
    if not any(name in body for name in ASKS):
        raise ValueError("has none of prompt, messages, input, and is no row of LiteLLM's spend logs")
    usage, estimated, unanswered = usage_of(record, body)
    return PastCall(
        name=next(filter(None, (clean(record.get(name)) for name in _IDS)), place),
        started=next(filter(None, (moment(record.get(name)) for name in _TIMES)), None),
        model=clean(body.get("model")) or clean(record.get("model")),
        provider=clean(record.get("provider")) or clean(record.get("custom_llm_provider")),
        usage=usage,
        payload=body if has_ask(body) else None,
        estimated=estimated,
        unanswered=unanswered,
    )


def has_ask(body: Mapping[str, object]) -> bool:
    """Return whether a request body holds a prompt, of any surface, that was not redacted."""
    asks = [body[name] for name in ASKS if body.get(name)]
    return bool(asks) and _REDACTED not in str(asks[0])[:500]


def moment(value: object) -> datetime | None:
    """Return a time written as ISO 8601 or as epoch seconds or milliseconds, in UTC; None if it is none."""
    try:
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return datetime.fromtimestamp(float(value) / (1000 if value > 10**11 else 1), UTC)
        found = datetime.fromisoformat(str(value).strip())
    except (ValueError, OverflowError, OSError):
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def clean(value: object) -> str:
    """Return a short text that a terminal can show: what prints, without line ends and control signs."""
    text = "" if value is None else str(value)[:200]
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()


def _amount(value: object) -> int:
    """Return USD as nano-dollars; 0 if nothing is written. Raises ValueError if it is no amount."""
    if value is None or value == "":
        return 0
    try:
        usd = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("spend is not a number") from None
    if not usd.is_finite() or not 0 <= usd <= _DEAREST_USD:
        raise ValueError("spend is not an amount in USD")
    return nano_from_usd(usd)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, object]:
    found = _loaded(value)
    return found if isinstance(found, Mapping) else {}


def _loaded(value: object) -> object:
    """Return what a column holds: exports write JSON into text, pandas writes Python's own notation."""
    if not isinstance(value, str) or value[:1] not in ("{", "[", '"'):
        return value
    try:
        found = json.loads(value, parse_float=Decimal)
        return _loaded(found) if isinstance(found, str) and found != value else found
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return value
