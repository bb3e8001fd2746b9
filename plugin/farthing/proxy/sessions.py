"""Which conversation a request belongs to: the account's own, never another's.

A client may name it; the name is kept apart by key and user. Without one the conversation names itself, by
how it began: its instructions and first words. So leaving the name out, or asking on another surface, is no
way round a session's caps. A new name, or a nonce in the first words, for every call does make new sessions:
then the budgets of the key, the user and the department are what holds.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import islice
from typing import Any

from farthing.credits.loops.fingerprint import digest, field, text_of, without_digits
from farthing.credits.loops.history import items_of, model_turns, side_of
from farthing.telemetry import Account

_HEADERS = ("x-litellm-session-id", "x-session-id")
_BUCKETS = ("metadata", "litellm_metadata")
_MADE_UP = "litellm_session_id_generated"
"""LiteLLM's mark on a session id that it made for one request (``missing_session_id: generate``)."""
_MOST_OF_A_NAME = 1_000
_INSTRUCTIONS = 500
"""Characters of the instructions that count: what changes from call to call (time, found documents) comes
further down in them, and digits do not count."""
_FIRST_ITEMS = 64


def session_of(account: Account, payload: Mapping[str, Any], headers: Mapping[str, str]) -> tuple[str, int]:
    """Return the session's id (32 hex digits) and this request's step in it, counted from 1.

    The step is one more than the model's turns in the history. Any payload is accepted; of long texts the
    ends are read. What names a session, the first that is there: the headers ``x-litellm-session-id`` and
    ``x-session-id``, LiteLLM's own finding (``litellm_session_id``), ``metadata.session_id``, and the
    ``conversation`` of the Responses API. Not ``prompt_cache_key``, which many conversations may share.
    """
    name = _named(payload, headers) or _begun(payload)
    return _id(account, name), model_turns(payload) + 1


def is_named(payload: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Return whether the client names the session, or continues a stored response.

    Only then are all calls of the session surely of one conversation: many may begin alike.
    """
    return bool(_named(payload, headers) or _previous(payload))


class SessionBook:
    """Which session a stored response belongs to, for calls that continue it without its history.

    It knows the responses of this process, the latest ``limit``. A call that continues another (one made by
    another worker, or before a restart) begins a session of its own, which the calls after it continue.
    """

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._sessions: OrderedDict[bytes, str] = OrderedDict()

    def remember(self, account: Account, response_id: object, session_id: str) -> None:
        """Note that a response was made in ``session_id``."""
        if not isinstance(response_id, str) or not response_id:
            return
        key = _key(account, response_id)
        self._sessions[key] = session_id
        self._sessions.move_to_end(key)
        if len(self._sessions) > self._limit:
            self._sessions.popitem(last=False)

    def session_of(
        self, account: Account, payload: Mapping[str, Any], headers: Mapping[str, str], previous: str = ""
    ) -> tuple[str, int]:
        """Return what `session_of` returns, but the session of ``previous_response_id`` where it is known.

        ``previous`` is that id as it was remembered, where the client was given another for it.
        """
        session_id, step = session_of(account, payload, headers)
        previous = previous or _previous(payload)
        if previous and not _named(payload, headers):
            session_id = self._sessions.get(_key(account, previous), session_id)
        return session_id, step


def _key(account: Account, response_id: str) -> bytes:
    return bytes.fromhex(_id(account, f"response:{_bounded(response_id)}"))


def _id(account: Account, name: str) -> str:
    # Each with its length, so that no name can be written to look like another's key.
    parts = f"{len(account.key_hash)} {account.key_hash} {len(account.user)} {account.user} {name}"
    return sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _bounded(name: str) -> str:
    half = _MOST_OF_A_NAME // 2
    return name if len(name) <= _MOST_OF_A_NAME else f"{len(name)} {name[:half]} {name[-half:]}"


def _named(payload: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    return next((f"id:{_bounded(name)}" for value in _names(payload, headers) if (name := _text(value))), "")


def _names(payload: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[object]:
    for header in _HEADERS:
        yield field(headers, header)
    buckets = [payload.get(bucket) for bucket in _BUCKETS]
    if not any(field(bucket, _MADE_UP) is True for bucket in buckets):
        yield payload.get("litellm_session_id")
        for bucket in buckets:
            yield field(bucket, "session_id")
    conversation = payload.get("conversation")
    yield conversation if isinstance(conversation, str) else field(conversation, "id")


def _previous(payload: Mapping[str, Any]) -> str:
    """Return the id of the stored response that a call goes on from."""
    found = payload.get("previous_response_id")
    return found if isinstance(found, str) else ""


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip() if len(value) <= _MOST_OF_A_NAME else value
    return str(value) if type(value) is int and value.bit_length() <= 64 else ""


def _begun(payload: Mapping[str, Any]) -> str:
    """Name a conversation by how it began; one that continues a stored response, by that."""
    if previous := _previous(payload):
        return f"response:{_bounded(previous)}"
    instructions = [payload.get("system"), payload.get("instructions")]
    first: list[str] = []
    for item in islice(items_of(payload), _FIRST_ITEMS):
        side = side_of(item)
        if side == "model":
            break
        said = item if isinstance(item, str) or field(item, "role") is None else field(item, "content")
        if side == "given":
            first.append(text_of(said))
        elif not first and field(item, "role") is not None:
            instructions.append(said)
    rules = without_digits(text_of(" ".join(filter(None, map(text_of, instructions)))))[:_INSTRUCTIONS]
    # One application may speak for many people, whom it names here.
    person = _text(payload.get("user")) or _text(field(payload.get("metadata"), "user_id"))
    return f"begun:{digest([rules, text_of(' '.join(first)), _bounded(person)])}"
