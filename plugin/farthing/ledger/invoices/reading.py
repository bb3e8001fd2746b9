"""Reading an export: which one it is shows in its fields, and it is taken whole or not at all."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from farthing.ledger.invoices import anthropic, openai
from farthing.ledger.invoices.lines import Collected, InvoiceError, InvoiceFile, Kind, Provider

_LARGEST_FILE = 512 << 20
_GAP = re.compile(r"\s*")
_FORMATS = (
    "known are OpenAI's organisation usage and costs (API pages as JSON, dashboard CSV) and Anthropic's "
    "messages usage and cost reports (Admin API as JSON, console CSV)"
)
_INCOMPLETE = "its last page says has_more: the export goes on, and the days after it are not in here"
_NO_MODELS = "its costs name no model: export them grouped by line item, or they cannot be compared by model"

_Row = Callable[[Collected, Mapping[str, Any]], None]


def read(path: Path, provider: Provider | None = None) -> InvoiceFile:
    """Return the lines of an export of usage or cost.

    ``provider`` is whose it must be (None: either). Raises InvoiceError, which says where in the file and
    why, if it cannot be read, is no export that is known, or has a line that makes no sense.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InvoiceError(f"{path}: larger than {_LARGEST_FILE >> 20} MiB; export fewer days at a time")
        raw = path.read_bytes()
    except OSError as error:
        raise InvoiceError(f"{path}: {error.strerror}") from None
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise InvoiceError(f"{path}:{line}: not UTF-8 text") from None
    if not content.strip():
        raise InvoiceError(f"{path}: empty")
    is_json = content.lstrip()[0] in "{["
    whose, kind, collected, notes = (_json if is_json else _csv)(path, content)
    if provider and whose != provider:
        raise InvoiceError(f"{path}: an export of {whose}, and not of {provider}")
    lines = collected.lines()
    if kind == "cost" and lines and not any(line.model for line in lines):
        notes = [*notes, _NO_MODELS]
    return InvoiceFile(
        path.name,
        hashlib.sha256(raw).hexdigest(),
        whose,
        kind,
        frozenset(collected.days),
        lines,
        tuple(notes),
    )


def _json(path: Path, content: str) -> tuple[Provider, Kind, Collected, list[str]]:
    collected, found, notes = Collected(), None, []
    for line, page in _pages(path, content):
        buckets = page.get("data") if isinstance(page, dict) else None
        if not isinstance(buckets, list) or not all(isinstance(item, dict) for item in buckets):
            raise InvoiceError(f"{path}:{line}: not a page of an export ({_FORMATS})")
        notes = [_INCOMPLETE] if page.get("has_more") else []
        for number, item in enumerate(buckets):
            for at, result in enumerate(_results(path, line, number, item)):
                where = f"{path}:{line}: data[{number}].results[{at}]"
                this = _kind_of(result, item, where)
                if found and this != found:
                    raise InvoiceError(
                        f"{where}: {' '.join(this)} among {' '.join(found)}; one kind to a file"
                    )
                found = this
                module = openai if this[0] == "openai" else anthropic
                add = module.usage if this[1] == "usage" else module.cost
                try:
                    add(collected, item, result)
                except ValueError as error:
                    raise InvoiceError(f"{where}: {error}") from None
            try:
                (openai if "start_time" in item else anthropic).bucket(collected, item)
            except ValueError as error:
                raise InvoiceError(f"{path}:{line}: data[{number}]: {error}") from None
    if found is None:
        raise InvoiceError(f"{path}: no results in it, so it says neither usage nor cost; nothing to import")
    return *found, collected, notes


def _results(path: Path, line: int, number: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    results = item.get("results")
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise InvoiceError(f"{path}:{line}: data[{number}] has no results; {_FORMATS}")
    return results


def _pages(path: Path, content: str) -> Iterator[tuple[int, Any]]:
    """Yield each page and the line it begins on: a file is one page, a list of them, or one after another."""
    decoder = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number)
    at = 0
    while True:
        gap = _GAP.match(content, at)
        at = gap.end() if gap else at
        if at >= len(content):
            return
        line = content.count("\n", 0, at) + 1
        try:
            value, at = decoder.raw_decode(content, at)
        except json.JSONDecodeError as error:
            raise InvoiceError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
        except (ValueError, RecursionError) as error:
            raise InvoiceError(f"{path}:{line}: not JSON that can be read: {error}") from None
        for page in value if isinstance(value, list) else [value]:
            yield line, page


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no amount")


def _kind_of(result: Mapping[str, Any], item: Mapping[str, Any], where: str) -> tuple[Provider, Kind]:
    kind = result.get("object")
    if "start_time" in item:
        if kind in openai.USAGE_OBJECTS:
            return "openai", "usage"
        if kind == openai.COST_OBJECT:
            return "openai", "cost"
        if isinstance(kind, str) and kind.startswith("organization.usage."):
            raise InvoiceError(f"{where}: {kind} is not read; its costs are in the costs export")
    elif "starting_at" in item:
        if "uncached_input_tokens" in result:
            return "anthropic", "usage"
        if "amount" in result and "currency" in result:
            return "anthropic", "cost"
    raise InvoiceError(f"{where}: of no kind that is known; {_FORMATS}")


def _csv(path: Path, content: str) -> tuple[Provider, Kind, Collected, list[str]]:
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    collected = Collected()
    try:
        names = [name.strip() for name in next(reader)]
        whose, kind, add = _columns(path, names)
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(names):
                raise ValueError(f"{len(cells)} cells under {len(names)} columns")
            row = dict(zip(names, (cell.strip() for cell in cells), strict=True))
            if whose == "openai" and openai.is_empty_row(row):
                openai.bucket(collected, row)
            else:
                add(collected, row)
    except (ValueError, csv.Error) as error:
        raise InvoiceError(f"{path}:{reader.line_num}: {error}") from None
    if not collected.days:
        raise InvoiceError(f"{path}: only a heading; nothing to import")
    return whose, kind, collected, []


def _columns(path: Path, names: list[str]) -> tuple[Provider, Kind, _Row]:
    if len(set(names)) != len(names):
        raise InvoiceError(f"{path}:1: a column comes twice")
    known = set(names)
    if known >= openai.USAGE_CSV:
        return "openai", "usage", lambda into, row: openai.usage(into, row, row)
    if known >= openai.COST_CSV:
        return "openai", "cost", openai.cost_row
    if known >= anthropic.USAGE_CSV:
        return "anthropic", "usage", anthropic.usage_row
    if known >= anthropic.COST_CSV:
        return "anthropic", "cost", anthropic.cost_row
    raise InvoiceError(f"{path}:1: columns of no export that is known; {_FORMATS}")
