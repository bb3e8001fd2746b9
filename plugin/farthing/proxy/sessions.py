"""Which conversation a request belongs to: the account's own, never another's.

A client's session id is namespaced by its key. Without one, the conversation's first user turn names it,
so that the turns of one conversation stay together.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from farthing.telemetry import Account

_HEADERS = ("x-litellm-session-id", "x-session-id")


def session_of(account: Account, payload: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, int]:
    """Return the session's id (32 hex digits) and this request's step in it, counted from 1.

    The step is one more than the model's turns in the history. Any payload is accepted.
    """
    history = payload.get("messages") or payload.get("input")
    items = history if isinstance(history, list) else []
    named = _named(payload, headers)
    name = f"id:{named}" if named else f"turn:{_first_user_turn(history)}"
    digest = hashlib.sha256(f"{account.key_hash}\0{account.user}\0{name}".encode(errors="replace"))
    answered = sum(isinstance(item, Mapping) and _is_models(item) for item in items)
    return digest.hexdigest()[:32], answered + 1


def _named(payload: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    candidates = [headers.get(name) for name in _HEADERS] + [payload.get("litellm_session_id")]
    for bucket in ("metadata", "litellm_metadata"):
        metadata = payload.get(bucket)
        if isinstance(metadata, Mapping):
            candidates.append(metadata.get("session_id"))
    return next((value[:500] for value in candidates if isinstance(value, str) and value), "")


def _first_user_turn(history: Any) -> str:
    if isinstance(history, str):
        return history[:4000]
    for item in history if isinstance(history, list) else []:
        if isinstance(item, Mapping) and item.get("role") == "user":
            return str(item.get("content"))[:4000]
    return ""


def _is_models(item: Mapping[str, Any]) -> bool:
    return item.get("role") == "assistant" or item.get("type") == "function_call"
