"""What is turned away before it is graded: requests that would cost something other than what was held.

LiteLLM forwards much that a client sends. Whatever could change the model, the number of answers, or add
fees after the hold was taken is refused here, with a reason.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from farthing.proxy.errors import RefusedCallError
from farthing.settings import Key

CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_RAW = ("extra_body", "extra_query", "extra_headers")
_COUNTS = ("n", "best_of")
_MOST_ANSWERS = 128
_TOKENS_ONLY = (
    "function", "custom", "local_shell", "apply_patch", "bash", "text_editor", "computer", "memory",
)  # fmt: skip
"""Beginnings of the types of tools that the client runs: they cost their tokens and nothing else."""
_FEES = ("web_search_options", "search_parameters", "plugins")
_FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")


def check(data: Mapping[str, Any], key: Key | None, *, allow_unpriced: bool) -> None:
    """Raise RefusedCallError (400 or 403) for a request whose cost the hold could not cover.

    ``key`` is the key's entry on the ring, None for others. LiteLLM checks a key's models against the
    body, but calls the model of the path or the query; here ``data`` holds the one that it will call.
    """
    model = data.get("model")
    if model is not None and (not isinstance(model, str) or "," in model):
        raise _malformed("model", "must name one model")
    if key is not None and model is not None and "*" not in key.models and model not in key.models:
        raise _closed(f"This key may not call {model!r}; it may call {', '.join(key.models)}.")
    _check_numbers((data.get("proxy_server_request") or {}).get("body") or data)
    for body in _bodies(data):
        _check_body(body)
        if not allow_unpriced:
            _check_fees(body)


def _bodies(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield data
    for name in _FALLBACKS:
        yield from _mappings(data.get(name))


def _mappings(items: Any) -> list[Mapping[str, Any]]:
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def _check_numbers(body: Any) -> None:
    """Refuse NaN and Infinity, which are no JSON: sent on, they fail as a fault of the provider's."""
    rest = [body]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
        elif isinstance(value, float) and not math.isfinite(value):
            said = f"{value} is not a number in JSON."
            raise RefusedCallError(400, "invalid_request_error", said, reason="malformed")


def _check_body(body: Mapping[str, Any]) -> None:
    for name in _RAW:
        if body.get(name):
            raise _malformed(name, "is closed: it changes a call after it was priced")
    if not isinstance(body.get("stream", False), bool | None):
        raise _malformed("stream", "must be true or false")
    for name in CAPS:
        if body.get(name) is not None and (type(body[name]) is not int or body[name] < 1):
            raise _malformed(name, "must be a whole number of tokens, 1 or more")
    for name in _COUNTS:
        if body.get(name) is not None and (
            type(body[name]) is not int or not 1 <= body[name] <= _MOST_ANSWERS
        ):
            raise _malformed(name, f"must be a whole number from 1 to {_MOST_ANSWERS}")
    if body.get("background"):
        raise _closed("Background responses cannot be metered: their usage is known only later.")


def _check_fees(body: Mapping[str, Any]) -> None:
    kinds = [name for name in _FEES if body.get(name) is not None]
    for tool in _mappings(body.get("tools")):
        # Without a type: Anthropic's own tools have a name, Google's are one key such as googleSearch.
        kind = str(tool.get("type") or ("function" if "name" in tool else next(iter(tool), "tool")))
        if not kind.startswith(_TOKENS_ONLY):
            kinds.append(kind)
    if kinds:
        raise _closed(
            f"Tools that the provider runs ({', '.join(kinds)}) have fees that no token count shows. Set "
            "cost.on_unpriced: allow in farthing.yaml to let them pass, charged for their tokens alone."
        )


def _malformed(name: str, rule: str) -> RefusedCallError:
    return RefusedCallError(400, "invalid_request_error", f"`{name}` {rule}.", reason="malformed")


def _closed(message: str) -> RefusedCallError:
    return RefusedCallError(403, "permission_error", message, reason="closed")
