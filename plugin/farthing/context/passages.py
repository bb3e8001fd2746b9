"""A history cut into passages: pieces on natural boundaries, which are found and quoted whole."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from farthing.context.chunks import chunks
from farthing.context.conversation import Entry
from farthing.cost.tokens import count_text

MOST_CHARS = 1_000_000
"""Of a history the latest characters, up to these, are cut; of an entry longer than what is left of them, its
head and its tail."""
MOST_PASSAGES = 4_000
_NAME = re.compile(r"[\w-]{1,64}")
_ODD = re.compile(r"[^\w.-]+")
_LABEL_CHARS = 40


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a history. ``entry`` is its entry's index, ``turn`` the model's turn, from 1."""

    entry: int
    turn: int
    source: str
    """Who says it: ``user``, ``assistant`` (or the name the message bears), or the tool that returned it."""
    text: str
    tokens: int


def passages_of(entries: Sequence[Entry], turns_at: Sequence[int]) -> list[Passage]:
    """Return the passages of ``entries`` (the head of a conversation, with its ``turns_at``), in order.

    What stays in any case (system messages, pinned entries) has none. Raises nothing; takes time linear in
    the text, and looks at no more than `MOST_CHARS` of it.
    """
    tools = {call.id: call.name for entry in entries for call in entry.calls}
    left = MOST_CHARS
    found: list[Passage] = []  # from the last to the first
    for entry in reversed(entries):
        if entry.kind == "system" or entry.pinned:
            continue
        # What the user says belongs to the turn that answers it, a result to the turn that asked for it.
        turn = max(1, turns_at[entry.index + 1] + (entry.kind == "user" and not entry.results))
        for source, text in reversed(list(_said(entry, tools))):
            if left <= 0 or len(found) >= MOST_PASSAGES:
                break
            parts = [text] if len(text) <= left else [text[: left // 2], text[-(left // 2) :]]
            left -= len(text)
            pieces = [piece for part in parts for piece in chunks(part)]
            found += [
                Passage(entry.index, turn, source, piece, count_text(piece)) for piece in reversed(pieces)
            ]
    return found[MOST_PASSAGES - 1 :: -1]


def _said(entry: Entry, tools: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The sources and texts of an entry: each tool's result, and what else it says."""
    who = _who(entry)
    rest = 0
    for result in entry.results:
        at = entry.text.find(result.text, rest)
        if at > rest:
            yield who, entry.text[rest:at]
        rest = max(rest, at + len(result.text))
        yield _ODD.sub("_", tools.get(result.call_id, "tool"))[:_LABEL_CHARS] or "tool", result.text
    yield who, entry.text[rest:]


def _who(entry: Entry) -> str:
    name = entry.item.get("name") if isinstance(entry.item, Mapping) and entry.kind != "tool" else None
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name[:_LABEL_CHARS]
    return "assistant" if entry.kind == "assistant" else "user"
