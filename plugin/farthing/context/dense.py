"""What a tool was given and what it returned, cut into small dense parts, of which the best can be kept."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_PARTS = 400
"""Of one text at most this many parts are looked at."""
_JSON_CHARS = 200_000
_TEXT_CHARS = 60_000
_PART_CHARS = 320
_VALUE_CHARS = 160
_DEPTH = 8
_FIELDS = 24
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what a tool returned. A record's ``keys`` say which ``values`` it holds; after another with
    the same keys the values alone tell as much as ``text`` does."""

    text: str
    keys: tuple[str, ...] = ()
    values: str = ""


def parts_of(text: str) -> list[Part]:
    """Return ``text`` as parts in its order: of JSON its fields and records, else its lines. Raises nothing.

    Every word of a part stands in ``text``; nothing is cut within a word or a number. What is empty or
    nothing but one endless word is left out.
    """
    value = parsed(text)
    found = _of_lines(text) if value is None else _of_value(value, "", 0)
    parts: list[Part] = []
    for part in found:
        parts.append(part)
        if len(parts) >= _PARTS:
            break
    return parts


def arguments_of(text: str) -> list[str]:
    """Return the arguments of a call (their JSON text) as parts such as ``city=Delft``."""
    value = parsed(text)
    if not isinstance(value, dict):
        return [part.text for part in parts_of(text)[:_FIELDS]]
    fields = list(value.items())[:_FIELDS]
    return [f"{plain(key)}={held}" for key, inner in fields if (held := _inline(inner, 0))]


def parsed(text: str) -> Any:
    """Return the object or list that ``text`` is as JSON, with its numbers as they are written; else None."""
    head = text[:64].lstrip()[:1]
    if head not in ("{", "[") or len(text) > _JSON_CHARS:
        return None
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None


def plain(text: str) -> str:
    """Return ``text`` on one line."""
    return _BLANKS.sub(" ", text).strip()


def pieces_of(text: str, size: int) -> Iterator[str]:
    """Yield ``text`` on one line, in pieces of at most ``size`` characters, cut at blanks only.

    A word longer than that is left out.
    """
    text = plain(text)
    start = 0
    while len(text) - start > size:
        end = start + size
        at = max(text.rfind(sign, start + size // 3, end) for sign in (", ", "; ", ": ", " | "))
        at = at + 1 if at >= 0 else text.rfind(" ", start, end + 1)
        if at <= start:  # one endless word: base64, a hash of hashes
            at = text.find(" ", end)
            if at < 0:
                return
        elif piece := text[start:at].strip():
            yield piece
        start = at + 1 if text[at] == " " else at
    if start < len(text):
        yield text[start:]


def excerpt(text: str, chars: int) -> str:
    """Return ``text``, or if it is longer than ``chars`` its head and its end, cut at blanks."""
    if len(text) <= chars:
        return text
    half = max(0, chars - 3) // 2
    head, end = text[:half], text[len(text) - half :]
    # A number that is cut is another number.
    head = head[: max(head.rfind(" "), head.rfind("\n"), 0)]
    starts = [at for at in (end.find(" "), end.find("\n")) if at >= 0]
    return f"{head}\n…\n{end[min(starts) + 1 :] if starts else ''}"


def clipped(text: str, chars: int) -> str:
    """Return the head of ``text`` on one line, cut at a blank, with a sign if more was there."""
    read = text if len(text) <= 4 * chars else excerpt(text[: 8 * chars], 4 * chars).partition("\n…\n")[0]
    pieces = pieces_of(read, chars)
    head = next(pieces, "")
    return f"{head}…" if head and (len(read) < len(text) or next(pieces, None) is not None) else head


def _of_lines(text: str) -> Iterator[Part]:
    for line in excerpt(text, _TEXT_CHARS).splitlines():
        if any(sign.isalnum() for sign in line):
            yield from map(Part, pieces_of(line, _PART_CHARS))


def _of_value(value: Any, path: str, depth: int) -> Iterator[Part]:
    """Yield the parts of what JSON holds: a record is one, what holds records is told field by field."""
    if isinstance(value, dict) and depth < _DEPTH:
        for key, inner in value.items():
            name = f"{path} {plain(key)}" if path else plain(key)
            yield from _of_value(inner, name, depth + 1) if _is_wide(inner) else _record(name, inner)
    elif isinstance(value, list) and depth < _DEPTH and _is_wide(value):
        plains = [inner for inner in value if not isinstance(inner, dict | list)]
        for start in range(0, len(plains), _FIELDS):
            yield from _record(path, plains[start : start + _FIELDS])
        for inner in value:
            if isinstance(inner, list):
                yield from _of_value(inner, path, depth + 1)
            elif isinstance(inner, dict):
                yield from _record(path, inner)
    else:
        yield from _record(path, value)


def _is_wide(value: Any) -> bool:
    """Say whether a value is better told field by field: it holds records, or much."""
    if isinstance(value, dict):
        return len(value) > _FIELDS or any(isinstance(inner, dict | list) for inner in value.values())
    return isinstance(value, list) and (
        len(value) > _FIELDS or any(isinstance(inner, dict | list) for inner in value)
    )


def _record(path: str, value: Any) -> Iterator[Part]:
    """Yield a value as a part or, if it is long, a few."""
    keys: list[str] = []
    values: list[str] = []
    size = 0
    for key, told in _fields(value, "", path.rpartition(" ")[2], 0):
        if values and (size + len(key) + len(told) > _PART_CHARS or len(values) >= _FIELDS):
            yield _part(path, keys, values)
            keys, values, size = [], [], 0
        keys.append(key)
        values.append(told)
        size += len(key) + len(told) + 3
    if values:
        yield _part(path, keys, values)


def _part(path: str, keys: list[str], values: list[str]) -> Part:
    text = ", ".join(f"{key} {value}" if key else value for key, value in zip(keys, values, strict=True))
    return Part(f"{path}: {text}" if path else text, (path, *keys), ", ".join(values))


def _fields(value: Any, path: str, name: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield the fields in a value. What its name says (``"card_7": {"id": "card_7"}``) is left out."""
    if not isinstance(value, dict) or depth >= _DEPTH:
        told = _inline(value, depth)
        if told and not (len(told) > 5 and told in name):
            yield path, told
        return
    for key, inner in list(value.items())[:_FIELDS]:
        yield from _fields(inner, f"{path} {plain(key)}" if path else plain(key), name, depth + 1)


def _inline(value: Any, depth: int) -> str:
    """Return a value on one line, of long text the beginning."""
    if isinstance(value, str):
        return clipped(value, _VALUE_CHARS)
    if isinstance(value, bool):
        return "true" if value else "false"
    if depth >= _DEPTH or not isinstance(value, dict | list):  # null, or too deep to be of use
        return ""
    if isinstance(value, list):
        held = [_inline(inner, depth + 1) for inner in value[:_FIELDS]]
        return " | ".join(part for part in held if part)
    told = [(plain(key), _inline(inner, depth + 1)) for key, inner in list(value.items())[:_FIELDS]]
    return ", ".join(f"{key} {part}" for key, part in told if part)
