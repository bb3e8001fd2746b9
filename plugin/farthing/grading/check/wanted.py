"""What a request asks of its answer, read from the body of any surface."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from farthing.grading.shapes import get, turns_of

MAX_TOOLS = 4096
"""Tools read per request; with more, a call of any name is taken as offered."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the client asked for. Texts are windowed: of a long one, its head and its tail."""

    ask: str = ""
    """The user's own last turn."""
    system: str = ""
    past: str = ""
    """The turns before the ask."""
    json: bool = False
    """The answer must be JSON by the API's own setting, not just by the prompt's words."""
    schema: object = None
    tools: Mapping[str, object] = field(default_factory=dict)
    """Names of the offered tools with their parameter schemas."""
    tools_open: bool = False
    """Tools of other names may be called too: the server expands some, or there are too many to read."""
    call_required: bool = False
    call_named: str = ""
    calls_forbidden: bool = False
    cap: int | None = None
    """The client's own limit of output tokens."""
    capped_by_default: bool = False
    """Text completions end at 16 tokens unless told otherwise."""


def wanted_from(payload: Mapping[str, object]) -> Wanted:
    """Return what a request body asks of its answer. Raises nothing on any JSON."""
    turns = turns_of(payload)
    asks = [i for i, turn in enumerate(turns) if turn.role == "user" and any(turn.pieces)]
    at = asks[-1] if asks else len(turns)
    as_json, schema = _json_format(payload)
    required, named, forbidden = _choice(payload)
    tools, tools_open = _tools(payload)
    return Wanted(
        ask=turns[at].text if asks else "",
        system="\n".join(turn.text for turn in turns[:64] if turn.role == "system"),
        past="\n".join(turn.text for turn in turns[max(0, at - 16) : at] if turn.role != "system"),
        json=as_json,
        schema=schema,
        tools=tools,
        tools_open=tools_open,
        call_required=required,
        call_named=named,
        calls_forbidden=forbidden,
        cap=_cap(payload),
        capped_by_default="prompt" in payload and "messages" not in payload and "input" not in payload,
    )


def _json_format(payload: Mapping[str, object]) -> tuple[bool, object]:
    for wanted in (
        payload.get("response_format"),
        payload.get("output_format"),
        get(payload.get("text"), "format"),
        get(payload.get("output_config"), "format"),
    ):
        if isinstance(wanted, type):
            return True, _schema_of(wanted)
        kind = get(wanted, "type")
        if kind == "json_object":
            return True, get(wanted, "response_schema")
        if kind == "json_schema":
            inner = get(wanted, "json_schema")
            schema = get(inner, "schema")
            return True, schema if schema is not None else get(wanted, "schema")
    return False, None


def _schema_of(model: type) -> object:
    try:
        return model.model_json_schema()  # type: ignore[attr-defined]
    except Exception:  # not a pydantic model, or one without a schema
        return None


def _tools(payload: Mapping[str, object]) -> tuple[Mapping[str, object], bool]:
    offered: dict[str, object] = {}
    more = False
    for name_of_list in ("tools", "functions"):
        tools = payload.get(name_of_list)
        if not isinstance(tools, list | tuple):
            continue
        more = more or len(tools) > MAX_TOOLS
        for tool in tools[:MAX_TOOLS]:
            function = get(tool, "function") or get(tool, "custom") or tool
            name = get(function, "name")
            if not isinstance(name, str) or not name or get(tool, "type") in ("mcp", "namespace"):
                more = True  # a tool that the server runs or expands: names of its own
                continue
            schema = get(function, "parameters")
            offered[name] = schema if schema is not None else get(function, "input_schema")
    return offered, more


def _choice(payload: Mapping[str, object]) -> tuple[bool, str, bool]:
    choice = payload.get("tool_choice")
    if choice is None:
        choice = payload.get("function_call")
    kind = choice if isinstance(choice, str) else get(choice, "type")
    if kind in ("required", "any"):
        return True, "", False
    if kind == "none":
        return False, "", True
    if kind in ("function", "tool", "custom") or (kind is None and isinstance(choice, Mapping)):
        name = get(get(choice, "function"), "name") or get(get(choice, "custom"), "name")
        name = name or get(choice, "name")
        return (True, name, False) if isinstance(name, str) and name else (False, "", False)
    if kind == "allowed_tools":
        mode = get(choice, "mode") or get(get(choice, "allowed_tools"), "mode")
        return mode == "required", "", False
    return False, "", False


def _cap(payload: Mapping[str, object]) -> int | None:
    caps = [payload.get(name) for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
    numbers = [cap for cap in caps if isinstance(cap, int) and not isinstance(cap, bool) and cap > 0]
    return min(numbers) if numbers else None
