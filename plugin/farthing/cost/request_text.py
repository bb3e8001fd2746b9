"""What of a request body becomes input tokens: its text, its attachments, its template."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

TEMPLATE_TOKENS = 64
"""A chat template's own system text and marks (SmolLM2's default system turn has 26)."""
MESSAGE_TOKENS = 12
"""Role, separators and wrappers of one message, result or call."""
TOOL_USE_TOKENS = 1024
"""The hidden system text that a provider adds when tools are offered (Claude: up to 804)."""
IMAGE_TOKENS = 10_000
"""One image. Claude bills up to 4 784, GPT-5 class models up to 10 000 at original detail."""
AUDIO_TOKENS, AUDIO_BYTES_PER_TOKEN = 4_000, 100
"""One audio part: at least 4 000 tokens (two minutes at 32 a second), more by its size in base64."""
FILE_TOKENS, FILE_BYTES_PER_TOKEN = 30_000, 8
"""One file: at least ten dense pages, more by its size in base64. An estimate: no bound exists."""
MAX_DEPTH = 32

_READ = ("system", "instructions", "messages", "input", "prompt", "prediction", "documents")
_READ_AS_JSON = (
    "tools",
    "functions",
    "tool_choice",
    "response_format",
    "text",
    "output_format",
    "output_config",
)
_IMAGES = {"image", "image_url", "input_image", "image_file", "video", "video_url", "input_video"}
_IMAGES |= {"computer_screenshot", "image_generation_call"}
_AUDIO = {"audio", "input_audio", "audio_url"}
_FILES = {"file", "input_file", "document"}
_UNSEEN = {"type", "id", "call_id", "status", "cache_control"}
_AS_JSON = {"input", "parameters", "input_schema", "schema", "arguments", "properties", "annotations"}


@dataclass(slots=True)
class RequestText:
    """The text of a request and the tokens of everything that is not its text."""

    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    overhead: int = TEMPLATE_TOKENS


def read_request(payload: Mapping[str, object]) -> RequestText:
    """Collect what the model will read. Raises nothing, whatever the shape."""
    request = RequestText()
    for name in _READ:
        if payload.get(name) is not None:
            _read(request, payload[name], 0)
    for name in _READ_AS_JSON:
        if payload.get(name) is not None:
            _add(request, _json(payload[name]))
    if payload.get("tools") or payload.get("functions"):
        request.overhead += TOOL_USE_TOKENS
    return request


def has_hidden_input(payload: Mapping[str, object]) -> bool:
    """Return True if the input includes what the provider stores: its size cannot be known beforehand."""
    stored = any(payload.get(name) for name in ("previous_response_id", "conversation"))
    return stored or isinstance(payload.get("prompt"), Mapping)


def _read(request: RequestText, value: object, depth: int) -> None:
    if isinstance(value, str):
        _add(request, value)
    elif isinstance(value, bool | int | float):
        _add(request, str(value))
    elif isinstance(value, list | tuple):
        for item in value if depth < MAX_DEPTH else ():
            _read(request, item, depth + 1)
    elif isinstance(value, Mapping):
        _read_mapping(request, value, depth)
    elif isinstance(value, BaseModel):
        _read(request, value.model_dump(exclude_none=True), depth + 1)


def _read_mapping(request: RequestText, value: Mapping[object, object], depth: int) -> None:
    kind = value.get("type")
    kind = kind if isinstance(kind, str) else ""
    if "role" in value or kind:
        request.overhead += MESSAGE_TOKENS
    if kind in _IMAGES:
        request.overhead += IMAGE_TOKENS
    elif kind in _AUDIO:
        request.overhead += max(AUDIO_TOKENS, _data_chars(value, 0) // AUDIO_BYTES_PER_TOKEN)
    elif kind in _FILES and not _is_text_source(value):
        request.overhead += max(FILE_TOKENS, _data_chars(value, 0) // FILE_BYTES_PER_TOKEN)
    elif depth >= MAX_DEPTH:
        _add(request, _json(value))
    else:
        for name, item in value.items():
            if name in _AS_JSON and not isinstance(item, str):
                _add(request, _json(item))
            elif name not in _UNSEEN:
                _read(request, item, depth + 1)


def _is_text_source(part: Mapping[object, object]) -> bool:
    source = part.get("source")
    return isinstance(source, Mapping) and source.get("type") in ("text", "content")


def _data_chars(value: object, depth: int) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping) and depth < MAX_DEPTH:
        return max((_data_chars(item, depth + 1) for item in value.values()), default=0)
    return 0


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (ValueError, TypeError, RecursionError):  # a cycle, a key that is no text, a bottomless nest
        return ""


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema()
    return str(value)


def _add(request: RequestText, text: str) -> None:
    request.pieces.append(text)
    request.chars += len(text)
