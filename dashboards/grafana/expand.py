"""What becomes of a panel's query before it reaches the ledger, as Grafana and its ClickHouse plugin do it.

The order is theirs: the browser drops conditions on "All" and puts the chosen values in, then the plugin's
back end expands the time macros. Tests and the preview run every query through this.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

ALL = "$__all"
_STEPS_S = (
    1,
    2,
    5,
    10,
    15,
    20,
    30,
    60,
    120,
    300,
    600,
    900,
    1200,
    1800,
    3600,
    7200,
    10_800,
    21_600,
    43_200,
    86_400,
)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class View:
    """What a person looks at: a time range (UTC) and the values chosen for each variable.

    A variable with several choices has a list, one with a single choice a text; one that is not in ``chosen``
    is on "All". ``points`` is how many points a panel has room for.
    """

    since: datetime
    until: datetime
    chosen: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    points: int = 400

    def interval_s(self, least: str) -> int:
        """Return the distance of two points in seconds: a round one, and no less than ``least`` ("1h")."""
        wanted = (self.until - self.since).total_seconds() / self.points
        step = next((step for step in _STEPS_S if step >= wanted), 86_400)
        return max(step, int(least[:-1]) * _UNITS_S[least[-1]] if least else 1)


def expand(sql: str, view: View, least_interval: str = "") -> str:
    """Return the query that reaches the ledger. Raises ValueError if a variable or macro is left in it."""
    sql = _conditions_on_all(sql, view)
    sql = re.sub(r"\$\{(\w+):percentencode\}", lambda found: percent_encoded(_values(view, found[1])), sql)
    return _macros(sql, view, view.interval_s(least_interval))


def percent_encoded(values: str | Sequence[str]) -> str:
    """Return a choice as ``${variable:percentencode}`` gives it: ``{one,two}`` if there may be several."""
    return quote(values if isinstance(values, str) else "{" + ",".join(values) + "}", safe="-_.~")


def single_choices(board: Mapping[str, Any]) -> dict[str, str]:
    """Return what a board's variables with a single choice are set to when it is opened."""
    return {
        variable["name"]: variable["current"]["value"]
        for variable in board["templating"]["list"]
        if variable["type"] == "custom"
    }


def queries(board: Mapping[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return a board's queries from its JSON by the title of their panel, each with the panel."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            if panel["title"] in found:
                raise ValueError(f"two panels are called {panel['title']!r}")
            found[panel["title"]] = (target["rawSql"], panel)
    return found


def _values(view: View, name: str) -> str | Sequence[str]:
    return view.chosen.get(name, (ALL,))


def _conditions_on_all(sql: str, view: View) -> str:
    macro = "$__conditionalAll("
    while (at := sql.rfind(macro)) >= 0:
        arguments, end = _arguments(sql, at + len(macro) - 1)
        if len(arguments) != 2:
            raise ValueError(f"{macro[:-1]} takes a condition and a variable, not {arguments}")
        condition, variable = arguments
        values = _values(view, variable.strip().removeprefix("$"))
        chosen = values if isinstance(values, str) else ",".join(values)
        sql = sql[:at] + ("1=1" if chosen in ("", ALL) else condition) + sql[end:]
    return sql


def _arguments(sql: str, opening: int) -> tuple[list[str], int]:
    """Return what stands between the bracket at ``opening`` and its end, parted at its own commas."""
    depth, begin, arguments = 0, opening + 1, []
    for found in re.finditer(r"[(),]", sql[opening:]):
        at = opening + found.start()
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if (found[0] == "," and depth == 1) or depth == 0:
            arguments.append(sql[begin:at])
            begin = at + 1
        if depth == 0:
            return arguments, at + 1
    return [], opening


def _macros(sql: str, view: View, interval_s: int) -> str:
    def moment(at: datetime) -> str:
        return f"toDateTime({int(at.timestamp())})"

    def day(at: datetime) -> str:
        return f"toDate('{at.astimezone(UTC):%Y-%m-%d}')"

    def between(column: str, show: Any) -> str:
        return f"{column} >= {show(view.since)} AND {column} <= {show(view.until)}"

    def replaced(found: re.Match[str]) -> str:
        name = found[1]
        arguments = [argument.strip() for argument in (found[2] or "").split(",")]
        match name, len(arguments):
            case "fromTime", 1:
                # Without arguments of its own, what follows in brackets is not the macro's.
                return moment(view.since) + found[0].removeprefix("$__fromTime")
            case "toTime", 1:
                return moment(view.until) + found[0].removeprefix("$__toTime")
            case "interval_s", 1:
                return str(interval_s)
            case "timeFilter", 1:
                return between(arguments[0], moment)
            case "dateFilter", 1:
                return between(arguments[0], day)
            case "dateTimeFilter", 2:
                return f"({between(arguments[0], day)}) AND ({between(arguments[1], moment)})"
            case "timeInterval", 1:
                return f"toStartOfInterval(toDateTime({arguments[0]}), INTERVAL {interval_s} second)"
        raise ValueError(f"no such macro: {found[0]}")

    expanded = re.sub(r"\$__(\w+)\b(?:\((.*?)\))?", replaced, sql)
    if left := re.search(r"\$\{?[A-Za-z_]\w*", expanded):
        raise ValueError(f"left in the query: {left[0]}")
    return expanded
