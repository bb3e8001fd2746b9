"""JSON written densely: names once, like objects as rows of a table, no signs that say nothing."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

_MAX_DEPTH = 60
_MAX_COLUMNS = 200
_COUNTED_AT_SIGHT = 5
_WHOLE_MINUTE = re.compile(r"(\d\d:\d\d):00")
_SPEAKS = re.compile(r"\d*[^\W\d](?:\w*\d|\w{3}|[A-Z]{2}|(?<=[A-Z])[a-z])")
"""How a value begins that needs no name: a word, a code, an id; not yes, a number or a time."""
_BLANK = re.compile(r"\s")
_Path = tuple[str, ...]
Shorten = Callable[[str], str]


class _Figure(str):
    """A number, as it was written: it is neither rounded nor too big."""

    __slots__ = ()


def parse(text: str) -> Any:
    """Return what a JSON text, or JSON lines, holds; numbers as they are written. Raises ValueError.

    A name that an object holds twice has both values, in a list.
    """
    try:
        return _loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.lstrip()[0] in "{[" for line in lines):
            raise
    try:
        return [_loads(line) for line in lines]
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _loads(text: str) -> Any:
    return json.loads(
        text, parse_int=_Figure, parse_float=_Figure, parse_constant=_Figure, object_pairs_hook=_object
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        found = {name: [value for other, value in pairs if other == name] for name in found}
        found = {name: values[0] if len(values) == 1 else values for name, values in found.items()}
    return found


def dense(value: Any, shorten: Shorten, *, brief: bool = False) -> list[str]:
    """Return what `parse` returned as lines of text. ``shorten`` shortens the texts that are in it.

    ``brief``: single values that say what they are (ids, places, words) stand without their names.
    """
    return _Writer(shorten, brief).lines(value, 0)


class _Writer:
    def __init__(self, shorten: Shorten, brief: bool) -> None:
        self._shorten = shorten
        self._brief = brief

    def lines(self, value: Any, depth: int) -> list[str]:
        if depth < _MAX_DEPTH and isinstance(value, list):
            return self._list(value, depth)
        if depth < _MAX_DEPTH and isinstance(value, dict):
            return self._object(value, depth)
        return [self._cell(value)]

    def _list(self, value: list[Any], depth: int) -> list[str]:
        if _alike(value):
            return self._table(value)
        if len(value) > 1 and all(isinstance(item, list) for item in value):
            rows = [row for item in value for row in item]
            if _alike(rows):
                return self._groups(value, rows)
        if not any(isinstance(item, dict | list) for item in value):
            return [self._cell(value)]
        told = []
        for item in value:
            first, *others = self.lines(item, depth + 1) or ["-"]
            told += [f"- {first}" if len(value) > 1 else first, *others]
        return told

    def _object(self, value: dict[str, Any], depth: int) -> list[str]:
        if _alike(list(value.values())):
            return self._table(_keyed(value))
        told: list[str] = []
        for flat, items in groupby(value.items(), key=lambda item: _is_flat(item[1])):
            if flat:
                told.append(" ".join(self._named(name, item) for name, item in items))
                continue
            for name, item in items:
                lines = self.lines(item, depth + 1)
                if len(lines) == 1 or lines[0].startswith("("):
                    told += [f"{_name(name)}: {lines[0]}", *lines[1:]]
                else:
                    told += [f"{_name(name)}:", *lines]
        return told or ["-"]

    def _table(self, rows: Sequence[dict[str, Any]], number: bool = False, note: str = "") -> list[str]:
        columns = list(_columns(rows, ()))
        cells = [[self._value(row, column) for column in columns] for row in rows]
        differ = [len({line[at] for line in cells}) > 1 for at in range(len(columns))]
        if not any(differ):
            differ[0] = True
        head = _header([column for column, kept in zip(columns, differ, strict=True) if kept])
        same = [f"{_dotted(column)}={cells[0][at]}" for at, column in enumerate(columns) if not differ[at]]
        count = f"{len(rows)} rows: " if len(rows) > _COUNTED_AT_SIGHT else ""
        told = [f"({count}{head}{'; in all ' if same else ''}{' '.join(same)}{note})"]
        for place, line in enumerate(cells, 1):
            kept = [cell for cell, differs in zip(line, differ, strict=True) if differs]
            told.append(" ".join([f"#{place}", *kept] if number else kept))
        return told

    def _groups(self, groups: Sequence[list[dict[str, Any]]], rows: list[dict[str, Any]]) -> list[str]:
        """Return lists of like objects as one table, in which what several lists hold stands once."""
        numbers: dict[str, int] = {}
        different: list[dict[str, Any]] = []
        for row in rows:
            if numbers.setdefault(repr(row), len(different) + 1) > len(different):
                different.append(row)
        lists = " ".join("+".join(f"#{numbers[repr(row)]}" for row in group) or "-" for group in groups)
        return self._table(different, number=True, note=f"; {len(groups)} lists of them: {lists}")

    def _named(self, name: str, value: Any) -> str:
        told = self._cell(value)
        if self._brief and name.islower() and type(value) is str and _SPEAKS.match(value):
            return told
        return f"{_name(name)}{'' if isinstance(value, dict) else '='}{told}"

    def _value(self, row: Any, column: _Path) -> str:
        for name in column:
            row = row.get(name) if isinstance(row, dict) else None
        return self._cell(row)

    def _cell(self, value: Any, depth: int = 0) -> str:
        if value is None:
            return "-"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, _Figure):
            return value
        if isinstance(value, str):
            text = self._shorten(value)
            minute = _WHOLE_MINUTE.fullmatch(text)
            if minute:
                return minute[1]
            return f'"{text}"' if not text or text == "-" or _BLANK.search(text) else text
        if depth > _MAX_DEPTH:
            return "…"
        if isinstance(value, dict):
            return f"({' '.join(self._named(name, item) for name, item in value.items())})"
        if _alike(value):
            columns = list(_columns(value, ()))
            rows = "; ".join(" ".join(self._value(row, column) for column in columns) for row in value)
            return f"[{_header(columns)}: {rows}]"
        return f"[{' '.join(self._cell(item, depth + 1) for item in value)}]"


def _is_flat(value: Any) -> bool:
    """Whether a value is written beside its name: a scalar, or some of them."""
    if isinstance(value, dict):
        return len(value) < 20 and not any(isinstance(item, dict | list) for item in value.values())
    return not isinstance(value, list) or not any(isinstance(item, dict | list) for item in value)


def _keyed(value: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return like objects that stand under their names as a list of them; the name is kept, once."""
    for column in next(iter(value.values())):
        if all(item.get(column) == name for name, item in value.items()):
            return list(value.values())
    return [{"": name, **item} for name, item in value.items()]


def _alike(values: Sequence[Any]) -> bool:
    """Whether values are objects with mostly the same names, so that a table holds them well."""
    if len(values) < 2 or not all(isinstance(value, dict) and value for value in values):
        return False
    names = {name for value in values for name in value}
    return len(names) <= _MAX_COLUMNS and 3 * sum(map(len, values)) >= 2 * len(names) * len(values)


def _columns(rows: Iterable[dict[str, Any]], path: _Path) -> Iterable[_Path]:
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        values = [row[name] for row in rows if row.get(name) is not None]
        if (
            values
            and len(path) < 4
            and all(isinstance(value, dict) and value for value in values)
            and (len(values) == 1 or _alike(values))
        ):
            yield from _columns(values, (*path, name))
        else:
            yield (*path, name)


def _header(columns: Sequence[_Path]) -> str:
    told = []
    for name, group in groupby(columns, key=lambda column: column[0]):
        inner = [column[1:] for column in group]
        told.append(f"{_name(name)}({_header(inner)})" if inner[0] else _name(name) or "name")
    return " ".join(told)


def _dotted(column: _Path) -> str:
    return ".".join(_name(name) or "name" for name in column)


def _name(name: str) -> str:
    return name if len(name) <= 80 else name[:80] + "…"
