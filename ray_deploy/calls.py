"""What a client asks for, checked and made ready for the engine."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ray_deploy.engine import ToolMarkers
from ray_deploy.errors import Refused

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
SURFACES = (CHAT, COMPLETIONS, RESPONSES, MESSAGES)

_LIMITS = {
    CHAT: ("max_tokens", "max_completion_tokens", "n_predict"),
    COMPLETIONS: ("max_tokens", "n_predict"),
    RESPONSES: ("max_output_tokens", "max_tokens", "n_predict"),
    MESSAGES: ("max_tokens", "n_predict"),
}


@dataclass(frozen=True)
class Call:
    """One request for an answer: the surface, the model name asked for, and the body for the engine."""

    surface: str
    model: str
    body: bytes


def read_call(
    surface: str, raw: bytes, *, names: Collection[str], max_output: int, markers: ToolMarkers | None
) -> Call:
    """Check a request's body and make the engine's body of it.

    ``max_output`` is in tokens. Raises Refused: 400 for a body that is not a JSON object or names no
    model, 404 for a model that is not served.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refused(400, f"The body is not valid JSON: {reason}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise Refused(400, "The body must be a JSON object.", code="invalid_json")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refused(400, "`model` must be the name of a model.", param="model", code="missing_model")
    if model not in names:
        served = ", ".join(sorted(names))
        raise Refused(
            404,
            f"The model {model!r} does not exist here. Served: {served}.",
            param="model",
            code="model_not_found",
        )
    _limit_output(surface, body, max_output)
    if markers is not None:
        _force_tool_call(surface, body, markers)
    return Call(surface, model, json.dumps(body).encode())


def _limit_output(surface: str, body: dict[str, Any], max_output: int) -> None:
    # llama.cpp takes its own n_predict as a default, not as a cap: a client's higher figure would win.
    limits = _LIMITS[surface]
    asked = [name for name in limits if body.get(name) is not None]
    for name in asked or limits[:1]:
        value = body.get(name, max_output)
        if isinstance(value, int | float) and not 0 <= value <= max_output:
            value = max_output  # below zero means "no limit" to llama.cpp
        body[name] = value


def _force_tool_call(surface: str, body: dict[str, Any], markers: ToolMarkers) -> None:
    """Make a required tool call certain.

    llama.cpp's grammar for a required call lets any text come before the call, and a small model never
    ends that text; a named choice it takes as "auto". So the named tool becomes the only one, and the
    answer is begun with the mark that opens a call: from there on the grammar leaves only calls.
    """
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not isinstance(tools, list) or not tools or surface == COMPLETIONS:
        return
    if isinstance(choice, dict) and (name := _chosen_name(choice)):
        body["tools"] = [tool for tool in tools if _tool_name(tool) == name]
        if not body["tools"]:
            raise Refused(
                400,
                f"`tool_choice` names {name!r}, which is not in `tools`.",
                param="tool_choice",
                code="unknown_tool",
            )
    elif choice != "required" and not (isinstance(choice, dict) and choice.get("type") == "any"):
        return
    body["tool_choice"] = {"type": "any"} if surface == MESSAGES else "required"
    turns = "input" if surface == RESPONSES else "messages"
    history = body.get(turns)
    if isinstance(history, str):
        history = [{"role": "user", "content": history}]
    if not isinstance(history, list) or not history or _is_assistant(history[-1]):
        return
    opening: dict[str, Any] = {"role": "assistant", "content": markers.opening}
    if surface == RESPONSES:
        opening = {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": markers.opening}],
        }
    body[turns] = [*history, opening]
    # One call: a small model left to itself repeats calls until its output limit cuts one in half.
    body["stop_sequences" if surface == MESSAGES else "stop"] = [markers.closing]


def _is_assistant(turn: object) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "assistant"


def _chosen_name(choice: dict[str, Any]) -> str | None:
    name = choice.get("name") or _inner(choice).get("name")
    return name if choice.get("type") in ("function", "tool") and isinstance(name, str) else None


def _tool_name(tool: object) -> object:
    return (tool.get("name") or _inner(tool).get("name")) if isinstance(tool, dict) else None


def _inner(value: dict[str, Any]) -> dict[str, Any]:
    inner = value.get("function")
    return inner if isinstance(inner, dict) else {}
