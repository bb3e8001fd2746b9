"""An edit of a history, applied to a request body of any surface. The result is valid where the body was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from farthing.context.conversation import Conversation, Entry, Surface
from farthing.context.counting import plain
from farthing.context.items import TEXT_TYPES, type_of
from farthing.context.surfaces import ITEMS

BETWEEN = "\n\n---\n\n"
"""What stands between text of ours and the client's own, in one message."""
LEFT_OUT = "(Turns in between are left out here.)"
"""What stands for the user between two answers that are kept while what was between them is folded."""
MOST_BREAKPOINTS = 4
"""Anthropic's limit for a request."""

_PIN = "farthing_pin"
_TEXT: dict[Surface, str] = {"chat": "text", "responses": "input_text", "messages": "text"}
_CACHEABLE: dict[str, frozenset[str]] = {
    "chat": frozenset({"text", "image_url"}),
    "messages": frozenset({"text", "image", "document", "search_result", "tool_use", "tool_result"}),
}
_DEPTH = 8
"""How deep blocks within blocks are looked at."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What goes out in place of the client's history.

    ``fold``: ``entries[:fold]`` are replaced by ``block`` (0: none are); pinned entries and system messages
    among them stay, in order, after the block. ``masks``: by entry (of those that stay), by
    ``ToolResult.block``, the text that stands in for a tool result. ``snippets`` is put before the last user
    entry's own words. ``breakpoints``: entries (as in ``entries``; -1 is the block) after which a cache
    breakpoint is set, for providers that need one.
    """

    fold: int = 0
    block: str = ""
    masks: Mapping[int, Mapping[int, str]] = field(default_factory=dict)
    snippets: str = ""
    breakpoints: tuple[int, ...] = ()


def apply(payload: Mapping[str, Any], conversation: Conversation, edit: Edit) -> dict[str, Any]:
    """Return a copy of ``payload`` with the edit made; what is not edited is the very same object.

    Pinned entries are not masked. Breakpoints are set on chat and messages, the last four of them, and none
    if the client sets its own; an entry that cannot carry one goes without. Raises ValueError for an edit
    that does not fit: a fold that is no cut or has no block, a mask for what is no tool result.
    """
    entries, history = conversation.entries, ITEMS[conversation.surface]
    if edit.fold and (edit.fold not in conversation.cuts or not edit.block.strip()):
        raise ValueError("a fold needs a cut of the history and a block")
    given = payload[history]
    lead = len(given) - len(entries)
    if lead < 0:
        raise ValueError("the conversation is not of this request body")
    breakpoints: frozenset[int] = frozenset()
    if edit.breakpoints and conversation.surface != "responses" and not _marks_cache(payload):
        breakpoints = frozenset(edit.breakpoints[-MOST_BREAKPOINTS:])
    ask = next((entry.index for entry in reversed(entries) if entry.kind == "user"), None)
    out = _Outgoing(conversation.surface, -1 in breakpoints)
    if edit.fold:
        out.block = edit.block
    for entry in entries:
        if entry.index < edit.fold and not entry.pinned and entry.kind != "system":
            out.skipped = True
            continue
        item = given[lead + entry.index]
        if not entry.pinned and (masks := edit.masks.get(entry.index)):
            item = _masked(item, entry, masks, conversation.surface)
        words = edit.snippets if entry.index == ask else ""
        out.add(entry, item, words, entry.index in breakpoints)
    return {**payload, history: [*given[:lead], *out.items]}


class _Outgoing:
    """The items that go out, as they are put one after the other."""

    def __init__(self, surface: Surface, marked_block: bool) -> None:
        self.items: list[Any] = []
        self.block = ""
        self._surface = surface
        self._marked_block = marked_block
        self.skipped = False
        """True if entries were left out since the last one of a turn."""
        self._before: Entry | None = None
        """The last one of a turn; `_last` may be an instruction after it."""
        self._last: Entry | None = None

    def add(self, entry: Entry, item: Any, snippets: str, marked: bool) -> None:
        """Put an entry's item, with what goes before its words; ``marked``: with a cache breakpoint."""
        texts: list[dict[str, Any]] = []
        if self.block and entry.kind == "user":
            texts.append(self._text(f"{self.block}{BETWEEN}", self._marked_block))
        elif self.block:
            own = self._text(self.block, self._marked_block)
            self.items.append({"role": "user", "content": [own] if self._marked_block else self.block})
        self.block = ""
        if snippets.strip():
            texts.append(self._text(f"{snippets}{BETWEEN}"))
        if texts:
            item = _with_words(_fields(item), texts, _TEXT[self._surface])
        if marked:
            item = _with_breakpoint(item, self._surface)
        self._join(entry, item)
        self._last = entry
        if entry.kind != "system":
            self._before, self.skipped = entry, False

    def _text(self, text: str, marked: bool = False) -> dict[str, Any]:
        part: dict[str, Any] = {"type": _TEXT[self._surface], "text": text}
        return {**part, "cache_control": {"type": "ephemeral"}} if marked else part

    def _join(self, entry: Entry, item: Any) -> None:
        """Put an item so that roles go on alternating where the turns that made them do so are gone."""
        before = self._before
        if before is not None and self.skipped and self._surface != "responses":
            kinds = {before.kind, entry.kind}
            if kinds == {"assistant"}:
                self.items.append({"role": "user", "content": LEFT_OUT})
            elif self._surface == "messages" and before is self._last and kinds <= {"user", "tool"}:
                last, item = _fields(self.items.pop()), _fields(item)
                item = {**item, **last, "content": [*_parts(last, "text"), *_parts(item, "text")]}
        self.items.append(item)


def _fields(item: Any) -> Mapping[str, Any]:
    """Return an item's fields, of a client library's object as of a plain one."""
    return plain(item)[0]


def _parts(item: Mapping[str, Any], text_type: str) -> list[Any]:
    content = item.get("content")
    if isinstance(content, str):
        return [{"type": text_type, "text": content}] if content else []
    return list(content or ())


def _with_words(
    item: Mapping[str, Any], texts: Sequence[Mapping[str, Any]], text_type: str
) -> dict[str, Any]:
    """Put texts before a user item's own words: as a string if it is one, and behind its tool results."""
    content = item.get("content")
    if isinstance(content, str) and not any("cache_control" in text for text in texts):
        return {**item, "content": "".join([*(text["text"] for text in texts), content])}
    parts = _parts(item, text_type)
    results = [place for place, part in enumerate(parts) if type_of(part) == "tool_result"]
    start = results[-1] + 1 if results else 0
    return {**item, "content": [*parts[:start], *texts, *parts[start:]]}


def _masked(item: Any, entry: Entry, masks: Mapping[int, str], surface: Surface) -> dict[str, Any]:
    if not masks.keys() <= {result.block for result in entry.results}:
        raise ValueError("a mask for what is no tool result")
    fields = _fields(item)
    if surface != "messages":
        name = "output" if surface == "responses" else "content"
        return {**fields, name: _replaced(fields.get(name), masks[-1])}
    blocks = list(fields["content"])
    for place, text in masks.items():
        blocks[place] = {**blocks[place], "content": _replaced(blocks[place].get("content"), text)}
    return {**fields, "content": blocks}


def _replaced(content: Any, text: str) -> Any:
    """Return a result's content with ``text`` in place of its texts; images and files in it stay."""
    if content is None or isinstance(content, str):
        return text
    if not isinstance(content, list | tuple):  # a screenshot
        return content
    places = [place for place, part in enumerate(content) if type_of(part) in TEXT_TYPES]
    if not places:
        return content
    stand_in = {**content[places[0]], "text": text}
    for place in places:  # a breakpoint that the client set on one of them is still one
        if "cache_control" in content[place]:
            stand_in["cache_control"] = content[place]["cache_control"]
    gone = set(places[1:])
    kept = [part for place, part in enumerate(content) if place not in gone]
    kept[places[0]] = stand_in
    return kept


def _with_breakpoint(item: Any, surface: Surface) -> Any:
    """Return an item with a breakpoint on its last block that can carry one, or as it is."""
    fields = _fields(item)
    parts = _parts(fields, _TEXT[surface])
    for place in range(len(parts) - 1, -1, -1):
        part = parts[place]
        kind = type_of(part)
        if kind in _CACHEABLE[surface] and (kind != "text" or str(part.get("text")).strip()):
            parts[place] = {**part, "cache_control": {"type": "ephemeral"}}
            return {**fields, "content": parts}
    return item


def _marks_cache(payload: Mapping[str, Any]) -> bool:
    """Return whether the client sets breakpoints of its own, or has LiteLLM or Anthropic set them."""
    if payload.get("cache_control") or payload.get("cache_control_injection_points"):
        return True
    return any(_marked(payload.get(name), 0) for name in ("system", "tools", "messages"))


def _marked(value: object, depth: int) -> bool:
    if isinstance(value, list | tuple) and depth < _DEPTH:
        return any(_marked(inner, depth + 1) for inner in value)
    if not isinstance(value, Mapping):
        return False
    if value.get("cache_control"):
        return True
    return any(_marked(value.get(name), depth + 1) for name in ("content", "function", "tool_calls"))


def without_pins(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``payload`` without ``farthing_pin`` marks, which are ours: providers may refuse them.

    The very same object if there are none. Marks are on messages, items and content parts; a field of this
    name in a tool's arguments is not ours.
    """
    cleaned = {}
    for name in ("system", "messages", "input"):
        given = payload.get(name)
        bare = _unpinned(given, 0)
        if bare is not given:
            cleaned[name] = bare
    return {**payload, **cleaned} if cleaned else payload


def _unpinned(value: Any, depth: int) -> Any:
    """Return items or parts without marks, the very same object if there are none."""
    if isinstance(value, list) and depth < _DEPTH:
        bare = [_unpinned(inner, depth + 1) for inner in value]
        return value if all(new is old for new, old in zip(bare, value, strict=True)) else bare
    if not isinstance(value, dict):
        return value
    changed = {
        name: inner
        for name in ("content", "output")
        if name in value and (inner := _unpinned(value[name], depth + 1)) is not value[name]
    }
    if _PIN not in value and not changed:
        return value
    return {name: changed.get(name, inner) for name, inner in value.items() if name != _PIN}
