"""Masks: short digests that stand in for bulky tool results and documents."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from farthing.context.facts import facts_of, missing
from farthing.context.outline import kind_of, outline, readable, rows_of
from farthing.context.tables import dense, parse
from farthing.cost import count_text

MOST_TOKENS = 1500
"""The longest mask."""
_SHARE = 0.6
_READ = 200_000
"""Characters of a text that are looked at, unless it is JSON."""
_READ_JSON = 500_000
_KEEPS_ALL = ("JSON", "table")
_WHOLE_OR_NOT_AT_ALL = 1250
"""Tokens of JSON or a table up to which it is masked only if all its facts can stay."""
_MAX_FACTS = 3_000
_PROSE = 160
"""Characters of a text within JSON that stand as they are."""


def mask(text: str, reference: str) -> str | None:
    """Return what goes out in place of ``text``, which can be asked for again as ``reference``.

    It keeps the facts (see facts.py) as densely as it can, says what kind of thing was there and how long.
    None if it would not be at most six tenths as long. The same text always gets the same mask.

    JSON and tables keep all but long prose, until the mask is `MOST_TOKENS` long. At most half a million
    characters are looked at. Some 10 ms for a few hundred tokens, seconds at worst: for a worker thread.
    """
    whole = _tokens(text)
    limit = min(int(_SHARE * whole), MOST_TOKENS)
    kind, told_by, forms = _forms(text, limit)
    head = f"[{reference}: shortened {kind} of {whole} tokens]"
    room = limit - count_text(head) - 1
    if room < 1:
        return None
    lines: Sequence[str] = []
    for lines in forms:
        if kind in _KEEPS_ALL and _fits(lines, room):
            break
    else:
        facts = facts_of(told_by or "\n".join(lines))[:_MAX_FACTS]
        lines, has_all = _with_facts(lines, facts, room)
        if kind in _KEEPS_ALL and not has_all and whole < _WHOLE_OR_NOT_AT_ALL:
            return None
    told = "\n".join([head, *lines])
    return told if lines and count_text(told) <= limit else None


def _tokens(text: str) -> int:
    """Return the tokens of a text; of a long one, an estimate from its beginning."""
    counted = count_text(text[:_READ])
    return counted if len(text) <= _READ else counted * len(text) // _READ


def _forms(text: str, limit: int) -> tuple[str, str, Iterator[Sequence[str]]]:
    """Return the kind of a text, what tells its facts (empty: its last form does) and its forms.

    The first is the best, the last the shortest.
    """
    value = _structured(text) if len(text) <= _READ_JSON else None
    if value is not None:
        return "JSON", "", (_dense(value, brief) for brief in (False, True))
    text = text[:_READ]
    rows = rows_of(text)
    if rows:
        return "table", "", iter([_dense(rows, False)])
    kind = kind_of(text)
    text = readable(text, kind)
    # the facts of a log's lines that are like others (times, counters) are told by none of its own
    return kind, "" if kind == "log" else text, iter([outline(text, kind, limit)])


def _structured(text: str) -> Any:
    try:
        value = parse(text)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def _dense(value: Any, brief: bool) -> list[str]:
    try:
        return "\n".join(dense(value, _shortened, brief=brief)).split("\n")
    except RecursionError:
        return []


def _shortened(text: str) -> str:
    """Return a text that stands within JSON: itself if it is short, else what matters of it."""
    if len(text) <= _PROSE:
        return " ".join(text.split())
    text = text[:_READ]
    kind = kind_of(text)
    text = readable(text, kind)
    lines = outline(text, kind, count_text(text) // 2)
    lost = missing(facts_of(text)[:_MAX_FACTS], "\n".join(lines))
    return "\n".join([*lines, " ".join(lost)] if lost else lines)


def _with_facts(lines: Sequence[str], facts: Sequence[str], room: int) -> tuple[list[str], bool]:
    """Return as many of the first lines as leave room for the facts that are not in them, then those facts.

    If not even all facts have room (False), four fifths of it are for lines.
    """
    sizes = list(accumulate((count_text(line) + 1 for line in lines), initial=0))
    if not _fits(_told(lines, facts, 0), room):
        kept = bisect_right(sizes, room * 4 // 5) - 1
        return _cut(_told(lines, facts, kept), room), False
    low, high = 0, bisect_right(sizes, room) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _fits(_told(lines, facts, middle), room):
            low = middle
        else:
            high = middle - 1
    return _told(lines, facts, low), True


def _cut(lines: list[str], room: int) -> list[str]:
    """Return lines, the last of them with as many of its words as there is room for."""
    words = lines[-1].split(" ")
    while words and not _fits([*lines[:-1], " ".join(words)], room):
        words = words[: len(words) * 9 // 10]
    return [*lines[:-1], " ".join(words)] if words else lines[:-1]


def _told(lines: Sequence[str], facts: Sequence[str], count: int) -> list[str]:
    told = list(lines[:count])
    left = len(lines) - count
    lost = " ".join(missing(facts, "\n".join(told)))
    if not left and not lost:
        return told
    more = f"… {left} more lines" if left else "…"
    return [*told, f"{more}, with: {lost}" if lost else more]


def _fits(lines: Sequence[str], room: int) -> bool:
    return count_text("\n".join(lines)) <= room
