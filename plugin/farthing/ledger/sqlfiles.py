"""The SQL that finance runs: dashboards/sql, which the wheel carries inside the package.

Each file answers one question, and its header says so in words: the question, what it takes, what each column
means, what is left out. The header is read here too, so that help and pages say the same as the file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

_HERE = Path(__file__).resolve().parent
_ENTRY = re.compile(r"  (\{\w+:.*?\}|[a-z][a-z0-9_]*) {2,}(\S.*)")
_BOUND = re.compile(r"\{(\w+):")


@dataclass(frozen=True, slots=True)
class Question:
    """One file of dashboards/sql, with what its header says."""

    name: str
    title: str
    """The question, in one sentence."""
    about: str
    """How it is answered; paragraphs are parted by an empty line."""
    parameters: Mapping[str, str]
    columns: Mapping[str, str]
    left_out: str
    sql: str


@cache
def load(name: str) -> str:
    """Return the text of ``name``.sql. Raises FileNotFoundError, naming the places looked at."""
    places = [_HERE / "sql", _HERE.parents[2] / "dashboards" / "sql"]
    for folder in places:
        file = folder / f"{name}.sql"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise FileNotFoundError(f"{name}.sql is in none of: {', '.join(str(place) for place in places)}")


@cache
def question(name: str) -> Question:
    """Return ``name``.sql with its header taken apart. Raises FileNotFoundError."""
    sql = load(name)
    header = []
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        header.append(line.removeprefix("--").removeprefix(" "))
    title, *rest = "\n".join(header).split("\n\n")
    about, parameters, columns, left_out = [], {}, {}, ""
    for part in (part.strip("\n") for part in rest):
        if part.startswith("Parameters"):
            parameters = {_BOUND.findall(key)[0]: text for key, text in _entries(part).items()}
        elif part.startswith("Columns"):
            columns = _entries(part)
        elif part.startswith("Left out: "):
            left_out = " ".join(part.removeprefix("Left out: ").split())
        elif part:
            about.append(part)
    return Question(
        name, title.strip(), "\n\n".join(about), MappingProxyType(parameters), MappingProxyType(columns),
        left_out, sql,
    )  # fmt: skip


def _entries(part: str) -> dict[str, str]:
    """Return the entries of a list in a header: two spaces, a name, its meaning, further lines deeper."""
    found: dict[str, str] = {}
    last = ""
    for line in part.splitlines()[1:]:
        if entry := _ENTRY.fullmatch(line):
            last = entry[1]
            found[last] = entry[2].strip()
        elif last:
            found[last] += " " + line.strip()
    return found
