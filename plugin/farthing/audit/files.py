"""Past calls from a file or standard input: JSON lines, a JSON array, or CSV; read as they come.

JSON lines and CSV are never held whole, whatever their size; a JSON array is.
"""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from farthing.audit.calls import LeftOut, PastCall, call_of
from farthing.audit.errors import AuditError

Bad = Callable[[int, str], None]
"""Told of each line that cannot be read: its number, counted from 1, and why."""

_LONG_BYTES = 8 * 2**20
"""A file of this size or more shows its progress."""
_LONGEST_FIELD = 2**30
_CSV_COLUMNS = {"request_id", "proxy_server_request", "messages", "prompt", "prompt_tokens", "model", "spend"}
_WRAPPERS = ("data", "logs", "results")
_BOM = b"\xef\xbb\xbf"


def read_file(name: str, bad: Bad) -> Iterator[PastCall | LeftOut]:
    """Yield the calls of the file ``name``, or of standard input if it is ``-``.

    Raises AuditError if it cannot be opened or read, is empty, or is not the JSON it begins as.
    """
    try:
        with _opened(name) as source:
            yield from _calls(source, name, bad)
    except OSError as error:
        raise AuditError(f"{name}: cannot be read: {error.strerror or error}") from None


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    file = Path(name).open("rb")  # noqa: SIM115 (the caller closes it)
    size = Path(name).stat().st_size
    if size < _LONG_BYTES or not sys.stderr.isatty():
        return file
    try:
        from rich.console import Console
        from rich.progress import wrap_file
    except ImportError:  # comes with LiteLLM's proxy, not with its SDK
        return file
    return wrap_file(file, size, description="auditing", console=Console(stderr=True), transient=True)


def _calls(source: BinaryIO, name: str, bad: Bad) -> Iterator[PastCall | LeftOut]:
    numbered = enumerate(source, start=1)
    at, first = next(((at, line) for at, line in numbered if line.strip(b"\r\n\t " + _BOM)), (0, b""))
    if not at:
        raise AuditError(f"{name}: is empty; export LiteLLM's spend logs, or write one request per line")
    first = first.removeprefix(_BOM)
    start = first.strip()
    if start.startswith(b"[") or start == b"{":
        records = _documents(b"".join([first, *source]), name)
        return _read(((f"item {number}", number, record) for number, record in records), bad)
    lines = chain([(at, first)], numbered)
    if columns := _columns(first):
        return _read(_table(lines, columns, bad), bad)
    return _read(_json_lines(lines, bad), bad)


def _read(records: Iterable[tuple[str, int, object]], bad: Bad) -> Iterator[PastCall | LeftOut]:
    seen: set[str] = set()
    for place, number, record in records:
        try:
            if not isinstance(record, Mapping):
                raise ValueError(f"expected an object, got {type(record).__name__}")
            request = record.get("request_id")
            if isinstance(request, str) and request:
                if request in seen:
                    raise ValueError("repeats a request_id: counted once")
                seen.add(request)
            yield call_of(record, place)
        except (ValueError, RecursionError) as error:
            bad(number, str(error))


def _json_lines(lines: Iterable[tuple[int, bytes]], bad: Bad) -> Iterator[tuple[str, int, object]]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            yield f"line {number}", number, json.loads(line, parse_float=Decimal)
        except json.JSONDecodeError as error:
            bad(number, f"not JSON: {error.msg} at column {error.colno}")
        except UnicodeDecodeError:
            bad(number, "not UTF-8")
        except (ValueError, RecursionError) as error:
            bad(number, f"not JSON that can be read: {type(error).__name__}")


def _documents(data: bytes, name: str) -> Iterator[tuple[int, object]]:
    """Yield (number, record) of a JSON array, of an object around one, or of objects one after another."""
    number, at = 0, 0
    try:
        text = data.decode("utf-8-sig")
        decoder = json.JSONDecoder(parse_float=Decimal)
        while at < len(text):
            document, at = decoder.raw_decode(text, at)
            for record in _unwrapped(document):
                number += 1
                yield number, record
            while at < len(text) and text[at] in " \t\r\n,":
                at += 1
    except json.JSONDecodeError as error:
        raise AuditError(f"{name}, line {error.lineno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise AuditError(f"{name}: is not UTF-8") from None
    except RecursionError:
        raise AuditError(f"{name}: its JSON is nested too deeply") from None


def _unwrapped(document: object) -> Iterable[object]:
    if isinstance(document, Mapping):
        return next((inner for key in _WRAPPERS if isinstance(inner := document.get(key), list)), [document])
    return document if isinstance(document, list) else [document]


def _columns(first: bytes) -> tuple[list[str], str] | None:
    """Return the columns and the delimiter of a CSV header; None if it is no header of calls."""
    header = first.decode("utf-8", "replace")
    if header.lstrip().startswith("{"):
        return None
    delimiter = max(",;\t", key=header.count)
    try:
        names = [name.strip() for name in next(csv.reader([header.strip()], delimiter=delimiter), [])]
    except csv.Error:
        return None
    return (names, delimiter) if _CSV_COLUMNS & set(names) else None


def _table(
    lines: Iterable[tuple[int, bytes]], header: tuple[list[str], str], bad: Bad
) -> Iterator[tuple[str, int, object]]:
    columns, delimiter = header
    csv.field_size_limit(_LONGEST_FIELD)  # csv's own limit, 128 KiB, is less than a prompt
    at = 0

    def texts() -> Iterator[str]:
        nonlocal at
        for number, line in lines:
            at = number
            yield line.decode("utf-8", "replace")

    rows = csv.reader(texts(), delimiter=delimiter)
    next(rows, None)  # the header
    while True:
        start = at + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            bad(start, f"not CSV: {error}")
            continue
        if row is None:
            return
        if not row:
            continue
        if len(row) != len(columns):
            bad(start, f"has {len(row)} fields, not {len(columns)}")
            continue
        yield f"line {start}", start, dict(zip(columns, row, strict=True))
