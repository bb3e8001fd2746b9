"""Text in outline: its headings, signatures and first lines, and the lines that bear facts."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from itertools import islice

from farthing.context.facts import facts_of
from farthing.cost import count_text

_MAX_UNITS = 5_000
_LONGEST_UNIT = 400
_LONGEST_LINE = 200
_WRAPPED_FROM = 60
_MAX_PARAGRAPH = 20_000
_SHARE_OF_LINES = 0.45
"""Of the original's tokens: no more lines than this are kept, so that logs and the like become short."""
_CODE = re.compile(
    r"\s*(?:(?:async |export |default |public |private |protected |static |final |abstract )*"
    r"(?:def|class|function|func|fn|interface|struct|enum|trait|impl|module|namespace|package)\b|"
    r"(?:import|from|#include|use|require|const \w+ = \(|@\w)|[\w<>\[\], *&]{1,80}\([^;]{0,200}\)\s*\{$)"
)
_HEADING = re.compile(r"#{1,6} |={3}|-{3}|\[[^\]]{1,60}\]$|.{1,60}:$")
_TROUBLE = re.compile(
    r"\b(?:error|fail(?:ed|ure)?|fatal|exception|traceback|warn(?:ing)?|critical)\b", re.IGNORECASE
)
_LOG = re.compile(r"\W{0,2}(?:\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|[A-Z][a-z]{2} +\d|(?:DEBUG|INFO|WARN|ERROR)\b)")
_VARIABLE = re.compile(r"[\da-fA-F-]*\d[\da-fA-F-]*")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+(?=\S)")
_TAG = re.compile(r"<[^<>]*+>")
_BREAK = re.compile(
    r"<(?:br|/?(?:p|div|tr|li|ul|ol|h\d|table|section|article|header|footer|nav|title))\b[^<>]*+>", re.I
)


@dataclass(frozen=True, slots=True)
class _Unit:
    text: str
    structure: bool


def kind_of(text: str) -> str:
    """Return what kind of text it is: HTML, log, code or text."""
    if len(_TAG.findall(text[:20_000])) > 10 and ("</" in text[:20_000]):
        return "HTML"
    lines = [line for line in islice(text[:20_000].split("\n"), 200) if line.strip()]
    if len(lines) >= 5 and sum(bool(_LOG.match(line)) for line in lines) * 2 > len(lines):
        return "log"
    if sum(bool(_CODE.match(line)) for line in lines) >= 3 and sum(map(_is_statement, lines)) * 3 > len(
        lines
    ):
        return "code"
    return "text"


def rows_of(text: str) -> list[dict[str, str]]:
    """Return the rows of a table whose cells are separated by commas, semicolons, tabs or bars; none if it
    is not one."""
    lines = text.strip().split("\n")
    if len(lines) < 4:
        return []
    for sign in "\t,;|":
        if lines[0].count(sign) and lines[0].count(sign) == lines[1].count(sign) == lines[-1].count(sign):
            try:
                head, *rows = csv.reader(lines, delimiter=sign)
            except csv.Error:
                continue
            names = [name.strip() for name in head]
            rows = [row for row in rows if row and not all(set(cell) <= set(" :-") for cell in row)]
            if len(set(names)) == len(names) > 1 and all(len(row) == len(names) for row in rows):
                return [dict(zip(names, (cell.strip() for cell in row), strict=True)) for row in rows]
    return []


def readable(text: str, kind: str) -> str:
    """Return ``text`` without the tags, scripts and styles of HTML."""
    if kind != "HTML":
        return text
    for name in ("script", "style", "svg", "head"):
        text = _without_element(text, name)
    text = _TAG.sub(" ", _BREAK.sub("\n", text))
    return "\n".join(" ".join(line.split()) for line in unescape(text).split("\n"))


def outline(text: str, kind: str, max_tokens: int) -> list[str]:
    """Return the lines of a readable text that are worth keeping, at most ``max_tokens`` in all.

    ``…`` marks what was left out.
    """
    units = _units(text, kind)
    bearing = _facts_first_told(units)
    costs = [count_text(unit.text) + 1 for unit in units]
    budget = min(max_tokens, int(count_text(text) * _SHARE_OF_LINES))
    order = sorted(
        (at for at, unit in enumerate(units) if unit.structure or bearing[at]),
        key=lambda at: (not units[at].structure, -bearing[at] / costs[at], at),
    )
    kept: set[int] = set()
    for at in order:
        if costs[at] + 1 <= budget:
            budget -= costs[at] + 1
            kept.add(at)
    told: list[str] = []
    for at, unit in enumerate(units):
        if at in kept:
            told.append(unit.text)
        elif told and told[-1] != "…":
            told.append("…")
    return told[:-1] if told and told[-1] == "…" else told


def _facts_first_told(units: Sequence[_Unit]) -> list[int]:
    """Return how many facts each unit is the first to tell."""
    known: set[str] = set()
    new = []
    for unit in units:
        facts = set(facts_of(unit.text)) - known
        known |= facts
        new.append(len(facts))
    return new


def _units(text: str, kind: str) -> list[_Unit]:
    lines = [line.rstrip() for line in islice(text.split("\n"), 4 * _MAX_UNITS)]
    if kind == "log":
        return _log_units([line for line in lines if line])
    if kind == "code":
        return [
            _Unit(line[:_LONGEST_UNIT], bool(_CODE.match(line)))
            for line in lines[:_MAX_UNITS]
            if line and not line.lstrip().startswith(("//", "# ", "*", "/*"))
        ]
    units: dict[str, bool] = {}
    for line in _unwrapped(lines):
        heading = bool(_HEADING.match(line))
        for piece in [line] if len(line) < _LONGEST_LINE else _SENTENCE.split(line):
            units.setdefault(piece[:_LONGEST_UNIT], heading or not units)
        if len(units) >= _MAX_UNITS:
            break
    return [_Unit(piece, structure) for piece, structure in units.items()]


def _unwrapped(lines: Sequence[str]) -> list[str]:
    """Return lines of text with the lines of a paragraph as one."""
    told: list[str] = []
    before = ""
    for line in map(str.strip, lines):
        if len(before) > _WRAPPED_FROM and line[:1].isalpha() and len(told[-1]) < _MAX_PARAGRAPH:
            told[-1] += " " + line
        elif line:
            told.append(line)
        before = line
    return told


def _is_statement(line: str) -> bool:
    return line[:1] in " \t}" or line.endswith((":", "{", "}", ";", ")", ","))


def _log_units(lines: list[str]) -> list[_Unit]:
    """Return one line for all that differ in their figures only; lines of trouble are structure."""
    patterns = [_VARIABLE.sub("0", line[:_LONGEST_UNIT]) for line in lines]
    counts = Counter(patterns)
    units: dict[str, _Unit] = {}
    for line, pattern in zip(lines, patterns, strict=True):
        if pattern not in units and len(units) < _MAX_UNITS:
            times = f" (and {counts[pattern] - 1} like it)" if counts[pattern] > 1 else ""
            units[pattern] = _Unit(line[:_LONGEST_UNIT] + times, bool(_TROUBLE.search(line)))
    return [*units.values(), _Unit(lines[-1][:_LONGEST_UNIT], True)]


def _without_element(text: str, name: str) -> str:
    kept: list[str] = []
    at = 0
    while True:
        start = text.find(f"<{name}", at)
        end = text.find(f"</{name}>", start) if start >= 0 else -1
        if end < 0:
            return "".join([*kept, text[at:]])
        kept.append(text[at:start])
        at = end + len(name) + 3
