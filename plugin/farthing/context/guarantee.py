"""What a summary must hold of the turns it stands for, and how they are quoted where it does not."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from farthing.context.conversation import Entry, ToolCall
from farthing.context.dense import arguments_of, clipped, excerpt, parsed, parts_of, plain
from farthing.context.digest import said_in
from farthing.context.facts import facts_of, missing
from farthing.context.picking import fact_key
from farthing.context.telling import sentences

READ_CHARS = 4_000_000
"""Of a stretch, this much text is read: the newest."""
_TEXT_CHARS = 200_000
_SOURCE_CHARS = 1_000_000
_ITEM_COST = 500
_NAME_CHARS = 80
_FEW = {"user": 40, "assistant": 16, "call": 16, "result": 6}
"""Of a text with more facts than that, a pasted document or a list, those that are used elsewhere count."""
_ID_SIGNS = frozenset("_@/\\()")
_QUOTE_CHARS = 100
_ITEM = re.compile(r"^[ \t]*(\d{1,3})[.)][ \t]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Told:
    """What an entry tells in one of its ways: ``by`` says which, ``label`` whose it is for the reader."""

    by: str
    label: str
    text: str


def told_in(entries: Sequence[Entry]) -> list[tuple[int, Told]]:
    """Return what entries say, call and give back, in order, each with its entry's place.

    Left out are pinned entries and the system's, which go on being sent as they are, and of more than
    `READ_CHARS` of text the oldest.
    """
    names = {call.id: clipped(call.name, _NAME_CHARS) for entry in entries for call in entry.calls}
    left = READ_CHARS
    found: list[tuple[int, Told]] = []
    for at in range(len(entries) - 1, -1, -1):
        if entries[at].pinned or entries[at].kind == "system":
            continue
        for one in _told_backwards(entries[at], names):
            left -= len(one.text) + _ITEM_COST
            if left < 0:
                return found[::-1]
            found.append((at, one))
    return found[::-1]


def _told_backwards(entry: Entry, names: Mapping[str, str]) -> Iterator[Told]:
    for call in reversed(entry.calls):
        yield Told("call", clipped(call.name, _NAME_CHARS), excerpt(call.arguments, _TEXT_CHARS))
    if entry.kind == "tool" and not entry.results:
        yield Told("result", "tool", excerpt(entry.text, _TEXT_CHARS))
    elif entry.kind in ("user", "assistant") and (said := said_in(entry).strip()):
        yield Told(entry.kind, entry.kind, excerpt(said, _TEXT_CHARS))
    for result in reversed(entry.results):
        yield Told("result", names.get(result.call_id, "tool"), excerpt(result.text, _TEXT_CHARS))


def guaranteed(entries: Sequence[Entry]) -> dict[str, Told]:
    """Return the facts of ``entries`` that a summary must hold, each with what tells it (the latest).

    They are, of what `told_in` returns:

    - what the user says: every number, amount, date, id, path and code name;
    - what the model says, and what it calls tools with: the same, but for single digits;
    - what a tool returned: those which something after it says or calls with, and if there are no more than
      six, all of them; single digits do not count;
    - names: those that two entries hold.

    Of what holds more than 40 facts if a user says it, 16 if the model does, only those count that another
    entry holds: it is a document or a list. It can be asked for again where it is referred to.
    """
    told = [(at, one, facts_of(one.text)) for at, one in told_in(entries)]
    holders = Counter(key for _, key in {(at, fact_key(fact)) for at, _, facts in told for fact in facts})
    must: dict[str, Told] = {}
    later: set[str] = set()
    for _, one, facts in reversed(told):
        keys = [fact_key(fact) for fact in facts]
        few = len(facts) <= _FEW[one.by]
        for fact, key in zip(facts, keys, strict=True):
            wanted = key in later if one.by == "result" else holders[key] > 1
            if _is_exact(fact):
                wanted = (wanted or few) and (one.by == "user" or len(key) > 1)
            if wanted:
                must.setdefault(fact, one)
        if one.by != "result":
            later.update(keys)
    return must


def _is_exact(fact: str) -> bool:
    """Say whether a fact is a number, date, id, path or code name, not the name of somebody or a phrase."""
    return any(sign.isdigit() or sign in _ID_SIGNS for sign in fact) or "." in fact.strip(".")


def open_calls(entries: Iterable[Entry]) -> list[ToolCall]:
    """Return the calls that have no result among ``entries``."""
    waiting: dict[str, list[ToolCall]] = {}
    for entry in entries:
        for result in entry.results:
            if waiting.get(result.call_id):
                waiting[result.call_id].pop(0)
        if not entry.pinned:
            for call in entry.calls:
                waiting.setdefault(call.id, []).append(call)
    return [call for calls in waiting.values() for call in calls]


def shown(call: ToolCall) -> str:
    """Return a call on one line."""
    arguments = ", ".join(clipped(part, _QUOTE_CHARS) for part in arguments_of(call.arguments))
    return f"{clipped(call.name, _NAME_CHARS)}({arguments})"


def quotes(facts: Sequence[str], must: dict[str, Told], *, bare: bool) -> list[str]:
    """Return lines that quote ``facts`` from where they stand; ``bare``: nothing but themselves."""
    by_told: dict[Told, list[str]] = {}
    for fact in facts:
        by_told.setdefault(must[fact], []).append(fact)
    lines = []
    for one, wanted in by_told.items():
        told = [] if bare else _around(one, wanted)
        left = missing(wanted, "\n".join(told))
        lines.append(f"- {one.label}: {'; '.join([*told, *map(plain, left)])}")
    return lines


def _around(one: Told, facts: Sequence[str]) -> list[str]:
    """Return the shortest parts of what is told that hold ``facts``, each once."""
    if one.by in ("user", "assistant"):
        texts = [sentence.text for sentence in sentences(one.text)]
    elif one.by == "call":
        texts = arguments_of(one.text)
    else:
        texts = [part.text for part in parts_of(one.text)]
    found: list[str] = []
    wanted = list(facts)
    for text in texts:
        if not wanted:
            break
        held = [fact for fact in wanted if fact in text and not missing([fact], text)]
        if held:
            found.append(_window(text, held))
            wanted = [fact for fact in wanted if fact not in held]
    return found


def _window(text: str, facts: Sequence[str]) -> str:
    """Return the stretch of ``text`` that holds ``facts`` and a few words before and after them."""
    first = min(text.find(fact) for fact in facts)
    last = max(text.find(fact) + len(fact) for fact in facts)
    spare = max(0, _QUOTE_CHARS - (last - first)) // 2
    start = 0 if first <= spare else text.rfind(" ", 0, first - spare) + 1
    end = text.find(" ", last + spare)
    end = len(text) if end < 0 else end
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def sources_of(entries: Sequence[Entry]) -> list[str]:
    """Return the texts that a summary may have its facts from.

    They are the entries' own; of JSON also what it says with its escapes read; the numbers of lists' items,
    by which they may be called; and tools' names as code writes them. Of more than `READ_CHARS` of text
    the oldest are left out.
    """
    left = READ_CHARS
    found: list[str] = []
    for entry in reversed(entries):
        texts = [entry.text, *(result.text for result in entry.results)]
        texts += [text for call in entry.calls for text in (call.name, call.arguments)]
        found.extend(f"{call.name}()" for call in entry.calls)
        found.extend(f"item {number}," for number in _ITEM.findall(excerpt(entry.text, _TEXT_CHARS)))
        for text in texts:
            left -= min(len(text), _SOURCE_CHARS) + _ITEM_COST
            if left < 0:
                return found
            found.append(excerpt(text, _SOURCE_CHARS))
            if "\\" in text and parsed(text) is not None:
                found.extend(part.text for part in parts_of(text))
    return found
