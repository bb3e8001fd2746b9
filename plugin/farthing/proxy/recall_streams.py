"""One client's stream made of several rounds' streams, without the calls of ``farthing_recall``.

What opens an answer (roles, ids, signed reasoning, empty parts) is held back until it is known what comes of
it: in front of a recall it is dropped. Text goes out as it comes, and the next round's follows it. From a
recall on nothing of the round goes out, for the model is asked again. A call of the client's own that has
gone out stands: then a recall behind it is dropped, and the model may call it again in its next turn.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from farthing.context import recall
from farthing.proxy.usage import field


class Splice(Protocol):
    """Takes the items of each round's stream; gives those of the client's."""

    recalls: bool
    """True once the round's answer calls our tool: it is read to its end, and nothing more of it goes out."""

    def begin(self, *, may_recall: bool) -> None:
        """Begin a round. Without ``may_recall`` a call of our tool is dropped."""

    def take(self, item: Any) -> list[Any]:
        """Return what goes out now that ``item`` has come."""

    def end(self) -> list[Any]:
        """Return what was held back of the last round, whose stream has ended."""

    def items(self) -> list[dict[str, Any]]:
        """Return the round's answer as items of a history."""


def splice_of(surface: str, payload: Mapping[str, Any]) -> Splice:
    """Return the splice for a request's stream."""
    if surface == "messages":
        return _Messages()
    if surface == "responses":
        # A later request may go on from an answer that the provider stores: no call in it may be dropped.
        return _Responses(calls_wait=payload.get("store") is not False)
    return _Chat()


class _Chat:
    def __init__(self) -> None:
        self.recalls = False
        self._id: Any = None
        self._text = ""  # the last that went out

    def begin(self, *, may_recall: bool) -> None:
        self.recalls, self._may_recall = False, may_recall
        self._later = self._id is not None
        self._apart = bool(self._text.strip())
        self._chunks: list[Any] = []
        self._held: list[Any] = []
        self._ours: dict[int, bool] = {}
        self._places: dict[int, int] = {}

    def take(self, item: Any) -> list[Any]:
        self._chunks.append(item)
        if self.recalls:
            return []
        choice = next(iter(field(item, "choices") or ()), None)
        delta = field(choice, "delta")
        states = [self._is_ours(call) for call in _calls(item)]
        if True in states and self._may_recall and not self._places:
            self.recalls = True
            held, self._held = self._held, []
            shown = [*held, item] if field(delta, "content") else []  # a whole answer may come as one chunk
            return [self._emit(chunk, calls=False) for chunk in shown]
        text = field(delta, "content") or (
            field(delta, "reasoning_content") and not field(delta, "thinking_blocks")
        )
        if choice is None or text or False in states or field(choice, "finish_reason"):
            return [*self.end(), self._emit(item)]
        self._held.append(item)
        return []

    def end(self) -> list[Any]:
        held, self._held = self._held, []
        return [self._emit(chunk) for chunk in held]

    def items(self) -> list[dict[str, Any]]:
        from litellm import stream_chunk_builder

        return recall.items_of(stream_chunk_builder(self._chunks), "chat")

    def _is_ours(self, call: Any) -> bool | None:
        """Return whether a piece of a call is of ours; None while its name has not come."""
        place = field(call, "index") or 0
        name = field(field(call, "function") or field(call, "custom"), "name")
        if name and place not in self._ours:
            self._ours[place] = name == recall.NAME
        return self._ours.get(place)

    def _emit(self, chunk: Any, *, calls: bool = True) -> Any:
        if self._later or _calls(chunk) or True in self._ours.values():
            chunk = chunk.model_copy(deep=True)
            for choice in chunk.choices[:1]:
                self._change(choice, calls)
        if self._later:
            chunk.id = self._id
        self._id = field(chunk, "id") or ""
        for choice in field(chunk, "choices") or ():
            self._text = field(field(choice, "delta"), "content") or self._text
        return chunk

    def _change(self, choice: Any, calls: bool) -> None:
        delta = choice.delta
        own = [call for call in delta.tool_calls or () if calls and not self._ours.get(call.index)]
        for call in own:
            call.index = self._places.setdefault(call.index, len(self._places))
        delta.tool_calls = own or None
        if choice.finish_reason == "tool_calls" and not self._places:
            choice.finish_reason = "stop" if calls else None
        if self._later:
            delta.role = None
        if self._apart and delta.content:
            delta.content, self._apart = f"\n\n{delta.content}", False


def _calls(chunk: Any) -> list[Any]:
    choice = next(iter(field(chunk, "choices") or ()), None)
    return field(field(choice, "delta"), "tool_calls") or []


class _Messages:
    def __init__(self) -> None:
        self.recalls = False
        self._begun = False
        self._next = 0

    def begin(self, *, may_recall: bool) -> None:
        self.recalls, self._may_recall = False, may_recall
        self._later = self._begun
        self._held: list[bytes] = []
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[int, list[str]] = {}
        self._dropped: set[int] = set()
        self._places: dict[int, int] = {}
        self._called = False  # a call of the client's own has gone out

    def take(self, item: Any) -> list[Any]:
        event = _event(item)
        kind, place = event.get("type"), _place(event)
        self._collect(kind, place, event)
        if kind == "ping":
            return [item] if self._begun else []
        if kind == "content_block_start" and _part(event, "content_block").get("name") == recall.NAME:
            if self._may_recall and not self._called:
                self.recalls = True
            self._dropped.add(place)
        if self.recalls or place in self._dropped or (kind == "message_start" and self._later):
            return []
        if self._waits(kind, event):
            self._held.append(item)
            return []
        return [*self.end(), self._emit(item, event)]

    def end(self) -> list[Any]:
        held, self._held = self._held, []
        return [self._emit(item, _event(item)) for item in held]

    def items(self) -> list[dict[str, Any]]:
        blocks = [self._blocks[place] for place in sorted(self._blocks)]
        return recall.items_of({"content": blocks}, "messages")

    def _waits(self, kind: Any, event: Mapping[str, Any]) -> bool:
        """Return whether an event says nothing yet that the client must see whatever comes next."""
        if kind == "message_start":
            return True
        if kind == "content_block_start":
            return _part(event, "content_block").get("type") in ("text", "thinking", "redacted_thinking")
        if kind == "content_block_delta":
            return bool(self._held) and not _part(event, "delta").get("text")
        return kind == "content_block_stop" and bool(self._held)

    def _emit(self, item: Any, event: dict[str, Any]) -> Any:
        self._begun = True
        kind, place = event.get("type"), _place(event)
        if kind == "content_block_start":
            self._called = self._called or _part(event, "content_block").get("type") == "tool_use"
            self._places[place], self._next = self._next, self._next + 1
        if self._places.get(place, place) != place:
            return _frame(event | {"index": self._places[place]})
        delta = _part(event, "delta")
        if kind == "message_delta" and delta.get("stop_reason") == "tool_use" and not self._called:
            return _frame(event | {"delta": {**delta, "stop_reason": "end_turn"}})
        return item

    def _collect(self, kind: Any, place: int, event: Mapping[str, Any]) -> None:
        if kind == "content_block_start":
            self._blocks[place] = dict(_part(event, "content_block"))
            self._pieces[place] = []
        elif place not in self._blocks:
            return
        elif kind == "content_block_delta":
            block, delta = self._blocks[place], _part(event, "delta")
            for name in ("text", "thinking", "partial_json"):
                self._pieces[place] += [delta[name]] if isinstance(delta.get(name), str) else []
            if delta.get("signature"):
                block["signature"] = delta["signature"]
            if delta.get("citation"):
                block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        elif kind == "content_block_stop":
            block, text = self._blocks[place], "".join(self._pieces[place])
            if block.get("type") in ("text", "thinking"):
                block[block["type"]] = (block.get(block["type"]) or "") + text
            elif text:
                block["input"] = _json(text)


def _place(event: Any) -> int:
    """Return which of the answer's parts an event is about, -1 for none."""
    place = field(event, "index")
    place = field(event, "output_index") if place is None else place
    return place if type(place) is int else -1


def _part(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = event.get(name)
    return part if isinstance(part, Mapping) else {}


def _event(item: Any) -> dict[str, Any]:
    """Return the event of a whole server-sent frame, empty for anything else."""
    text = item if isinstance(item, bytes) else b""
    return _json(b"".join(line[5:] for line in text.split(b"\n") if line.startswith(b"data:")))


def _json(text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _frame(event: Mapping[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


_BEGINNINGS = ("response.created", "response.in_progress", "response.queued")
_ENDS = ("response.completed", "response.incomplete", "response.failed")


class _Responses:
    def __init__(self, *, calls_wait: bool) -> None:
        """``calls_wait``: the client's calls are held back until the answer has ended."""
        self.recalls = False
        self._calls_wait = calls_wait
        self._begun = False
        self._sequence: int | None = None
        self._next = 0
        self._said: list[Any] = []

    def begin(self, *, may_recall: bool) -> None:
        self.recalls, self._may_recall = False, may_recall
        self._later = self._begun
        self._said_before = list(self._said)
        self._held: list[Any] = []
        self._done: list[Any] = []
        self._response: Any = None
        self._dropped: set[int] = set()
        self._places: dict[int, int] = {}
        self._called = self._waiting = False

    def take(self, item: Any) -> list[Any]:
        kind, place = _kind(item), _place(item)
        if kind in _ENDS:
            self._response = field(item, "response")
        if kind == "response.output_item.done":
            self._done.append(field(item, "item"))
        if kind == "response.output_item.added" and field(field(item, "item"), "name") == recall.NAME:
            if self._may_recall and not self._called:
                self.recalls = True
            self._dropped.add(place)
        if self.recalls or place in self._dropped or (kind in _BEGINNINGS and self._later):
            return []
        if self._waits(kind, item):
            self._held.append(item)
            return []
        return [*self.end(), self._emit(item, kind)]

    def end(self) -> list[Any]:
        held, self._held = self._held, []
        return [self._emit(item, _kind(item)) for item in held]

    def items(self) -> list[dict[str, Any]]:
        return recall.items_of({"output": field(self._response, "output") or self._done}, "responses")

    def _waits(self, kind: str, event: Any) -> bool:
        """Return whether an event says nothing yet that the client must see whatever comes next."""
        if kind in _ENDS or kind == "error":
            return False
        if kind == "response.output_item.added":
            item_kind = field(field(event, "item"), "type")
            self._waiting = self._waiting or (self._calls_wait and item_kind in recall.CALLS)
            return self._waiting or item_kind in ("message", "reasoning")
        if kind in _BEGINNINGS or self._waiting:
            return True
        says = kind in ("response.output_text.delta", "response.refusal.delta") and field(event, "delta")
        return bool(self._held) and not says

    def _emit(self, event: Any, kind: str) -> Any:
        self._begun = True
        changes: dict[str, Any] = {}
        place = _place(event)
        if kind == "response.output_item.added":
            self._called = self._called or field(field(event, "item"), "type") in recall.CALLS
            self._places[place], self._next = self._next, self._next + 1
        if kind == "response.output_item.done":
            self._said.append(field(event, "item"))
        if self._places.get(place, place) != place:
            changes["output_index"] = self._places[place]
        number = field(event, "sequence_number")
        if isinstance(number, int):
            self._sequence = number if self._sequence is None else self._sequence + 1
            if number != self._sequence:
                changes["sequence_number"] = self._sequence
        if response := field(event, "response"):
            changes["response"] = recall.finished(response, "responses", self._said_before)
        return event.model_copy(update=changes) if changes else event


def _kind(event: Any) -> str:
    kind = field(event, "type")
    return str(getattr(kind, "value", kind))
