"""A client's history as turns: who said what, which results belong to which calls, where it may be cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from farthing.context.counting import Counter, canonical, plain
from farthing.context.items import Item, Kind, NotUnderstoodError, Surface, ToolCall, ToolResult
from farthing.context.latest import Latest
from farthing.context.surfaces import ITEMS, READ
from farthing.context.turns import turns_of

__all__ = ["Conversation", "Entry", "Kind", "Reader", "Surface", "ToolCall", "ToolResult"]

COUNTED_ON_THE_WAY = 16_384
"""Characters of new text that are counted while a request waits (about 2 ms)."""
MOST_ITEMS = 10_000
MOST_BYTES = 8_000_000
"""Longer histories are left alone, images and files included."""
_MOST_OBJECTS, _MOST_OBJECTS_ON_THE_WAY = 1_000_000, 50_000
"""Objects in items not seen before: what reading them takes grows with these (about 2 µs each)."""
_KNOWN_TEXTS = 50_000
_ITEM_WEIGHT = 500
"""Characters' worth of memory that an item takes beside its text."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of the history (a message, or an item of the Responses API), after the leading instructions.

    ``text`` is what it says (text parts joined by newlines; of tool calls name and arguments; of results
    their text; nothing of reasoning). ``tokens`` are those of the whole item. ``prefix`` is the digest of
    this entry and all entries before it; marks that clients move about (``cache_control``, ``farthing_pin``)
    do not count. ``pinned``: it stays, word for word, where the entries around it are folded: the client
    marked it or what it belongs to, or it is the ask that the model is at work on.

    A user message of Anthropic's that brings tool results and words is of the kind ``user``, and has results.
    """

    index: int
    kind: Kind
    item: Any
    text: str
    tokens: int
    prefix: bytes
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """A history that was understood.

    ``lead_tokens`` are those of system prompt, instructions and tool definitions, which stay as they are.
    ``turns`` counts the model's turns: a run of assistant entries is one, whether it answers or calls tools.
    ``cuts`` are the places ``n`` (ascending, 0 left out) at which ``entries[:n]`` may be taken away as a
    whole: no call is separated from its result, no reasoning from what it led to, no turn torn.
    ``turns_at[n]`` are the model's turns in ``entries[:n]`` (``len(entries) + 1`` figures).
    """

    surface: Surface
    entries: tuple[Entry, ...]
    lead_tokens: int
    turns: int
    cuts: tuple[int, ...]
    turns_at: tuple[int, ...]

    exact: bool = True
    """False if a part was too long to count on the way of a request: then some tokens are estimates."""

    @property
    def tokens(self) -> int:
        """All input tokens: the lead's and the entries'."""
        return self.lead_tokens + sum(entry.tokens for entry in self.entries)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of an item that was read. ``link`` is its canonical text's digest."""

    item: Item
    tokens: int
    link: bytes
    pinned: bool
    exact: bool


class Reader:
    """Reads histories. What it has seen of an item before (text, tokens, calls) it knows without counting."""

    def __init__(self, known_chars: int = 32_000_000) -> None:
        """``known_chars``: items are remembered, the latest, up to this much text in all."""
        self._seen: Latest[tuple[str, bytes], _Seen] = Latest(known_chars)
        self._counted: Latest[bytes, int] = Latest(_KNOWN_TEXTS)

    def read(
        self, payload: Mapping[str, Any], surface: str, *, count_all: bool = True
    ) -> Conversation | None:
        """Return the conversation of a request body, None if there is nothing that could be shortened safely.

        None for a history that is not a list, that the provider stores (``previous_response_id``,
        ``conversation``), or of a shape that is not understood. ``count_all=False``: of texts never counted
        before, at most 16 384 characters are counted; the others are estimated (see `Conversation.exact`).
        Raises nothing. Safe to use from several threads.
        """
        for known in READ:
            if known == surface:
                try:
                    return self._read(payload, known, count_all)
                except Exception:  # no shape of a client's may fail its request: nothing is shortened then
                    return None
        return None

    def _read(self, payload: Mapping[str, Any], surface: Surface, count_all: bool) -> Conversation | None:
        history = ITEMS[surface]
        given = payload.get(history)
        if not isinstance(given, list) or len(given) > MOST_ITEMS:
            return None
        if payload.get("previous_response_id") or payload.get("conversation"):
            return None
        counter = Counter(self._counted, None if count_all else COUNTED_ON_THE_WAY)
        seen = self._items(given, surface, counter, count_all)
        lead = next((at for at, known in enumerate(seen) if known.item.kind != "system"), len(seen))
        if lead == len(seen):
            return None
        lead_tokens = counter.of_rest(payload, history) + sum(known.tokens for known in seen[:lead])
        seen = seen[lead:]
        turns = turns_of([known.item for known in seen], [known.pinned for known in seen], surface)
        return Conversation(
            surface=surface,
            entries=_entries(given[lead:], seen, turns.kept, surface),
            lead_tokens=lead_tokens,
            turns=turns.at[-1],
            cuts=turns.cuts,
            turns_at=turns.at,
            exact=counter.exact,
        )

    def _items(
        self, given: Sequence[object], surface: Surface, counter: Counter, count_all: bool
    ) -> list[_Seen]:
        read: list[Mapping[str, Any]] = []
        keys: list[tuple[str, bytes]] = []
        size = 0
        for item in given:
            fields, form = plain(item)
            size += len(form)
            if size > MOST_BYTES:
                raise NotUnderstoodError("a history that is too long")
            read.append(fields)
            keys.append((surface, sha256(form).digest()))
        seen: list[_Seen] = []
        objects = 0
        for fields, key, known in zip(read, keys, self._seen.get_all(keys), strict=True):
            if known is None or (count_all and not known.exact):
                text, bare = canonical(fields)
                objects += text.count('{"') + text.count("{}")  # quotes within a text are escaped
                if objects > (_MOST_OBJECTS if count_all else _MOST_OBJECTS_ON_THE_WAY):
                    raise NotUnderstoodError("more objects than there is time to look at")
                known = _look(fields, bare, text, surface, counter)
                weight = len(known.item.text) + sum(len(result.text) for result in known.item.results)
                self._seen.put(key, known, weight + _ITEM_WEIGHT)
            counter.exact = counter.exact and known.exact
            seen.append(known)
        return seen


def _look(
    fields: Mapping[str, Any], bare: Mapping[str, Any], text: str, surface: Surface, counter: Counter
) -> _Seen:
    before, counter.exact = counter.exact, True
    item = READ[surface](fields, counter)
    tokens = counter.of_item(bare)
    exact, counter.exact = counter.exact, before
    pinned = bare is not fields and _is_pinned(fields)
    return _Seen(item, tokens, sha256(text.encode()).digest(), pinned, exact)


def _is_pinned(item: Mapping[str, Any]) -> bool:
    content = item.get("content")
    parts = content if isinstance(content, list) else ()
    return any(marked.get("farthing_pin") is True for marked in (item, *parts))


def _entries(
    given: Sequence[object], seen: Sequence[_Seen], kept: Sequence[bool], surface: Surface
) -> tuple[Entry, ...]:
    entries = []
    chain = sha256(surface.encode())
    for index, (original, known) in enumerate(zip(given, seen, strict=True)):
        item = known.item
        chain.update(known.link)
        entries.append(
            Entry(
                index,
                item.kind,
                original,
                item.text,
                known.tokens,
                chain.digest(),
                item.calls,
                item.results,
                kept[index],
            )
        )
    return tuple(entries)
