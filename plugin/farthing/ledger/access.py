"""What a department's reader may ask of the embedded ledger, and how the engine is held to it.

The engine adds a condition to each table it reads, wherever in a query the table stands (views, joins,
subqueries, merge()), before any condition of the query itself: the department's rows where a table has
departments, no row where it has none. ``readonly = 1`` keeps a query from changing that. What would walk
past the conditions is refused before the engine sees it: PREWHERE, which is evaluated earlier; functions
that read a table's index; counts that cover all departments; everything but SELECT, DESCRIBE and EXISTS.
"""

import re
from collections.abc import Iterable, Mapping

from farthing.ledger import sqltext
from farthing.ledger.errors import EngineError

_STATEMENTS = frozenset((b"SELECT", b"WITH", b"(", b"DESCRIBE", b"DESC", b"EXISTS"))
# They serve the views below them, and say how many charges all departments have.
HIDDEN = frozenset(
    (
        b"charge_arrivals", b"charge_rolls", b"arrivals_by_slot", b"rolls_in_force", b"closings",
        b"closings_in_force", b"months_to_correct",
    )
)  # fmt: skip
_OPEN_FUNCTIONS = frozenset((b"numbers", b"zeros", b"values", b"view", b"generate_series", b"null"))
_FUNCTION = re.compile(rb"(?i)(dict|joinget|catboost|getserversetting|evalmlmethod|filesystem|zookeeper)")
_SETTING = re.compile(
    r"(max_(execution_time|threads|block_size|result_rows|result_bytes|rows_to_read)|result_overflow_mode"
    r"|(output_format|format|date_time)_\w+|session_timezone|join_use_nulls|extremes)\Z"
)
# What clients ask when they connect, and what holds nothing of the ledger.
_OPEN_TABLES = frozenset(
    f"system.{name}"
    for name in [
        "one",
        "numbers",
        "numbers_mt",
        "zeros",
        "zeros_mt",
        "settings",
        "functions",
        "data_type_families",
        "formats",
        "databases",
        "time_zones",
        "build_options",
        "licenses",
        "contributors",
        "keywords",
        "collations",
    ]
)
_BUDGET = "scope = 'department' AND name = {department}"


def check(sql: bytes, settings: Mapping[str, str], table_functions: Iterable[str]) -> None:
    """Raise EngineError if a department's reader may not run ``sql`` with these settings.

    ``table_functions`` are the names that the engine knows.
    """
    for setting in settings:
        if not _SETTING.match(setting):
            raise _refused(f"changing the setting {setting} is not")
    if sqltext.first_word(sql) not in _STATEMENTS:
        raise _refused("nothing but SELECT, DESCRIBE and EXISTS is")
    denied = {one.lower().encode() for one in table_functions} - _OPEN_FUNCTIONS
    previous = b""
    for kind, token in sqltext.words(sql):
        name = token[1:-1] if kind == "quoted" else token
        if kind == "quoted" and (b"\\" in name or b"`" in name or b'"' in name):
            raise _refused("names with escapes in them are not")
        if kind in ("word", "quoted"):
            lowered = name.lower()
            if lowered in HIDDEN:
                raise _refused(f"{lowered.decode()} counts all departments, and reading it is not")
            if kind == "word" and lowered == b"settings" and previous != b".":
                raise _refused("SETTINGS is not")
            if kind == "word" and lowered in (b"prewhere", b"explain", b"identifier"):
                raise _refused(f"{lowered.decode().upper()} is not")
        if token == b"(" and (previous in denied or _FUNCTION.match(previous)):
            raise _refused(f"{previous.decode(errors='replace')}() is not")
        previous = name.lower()


def filters(department: str, tables: Iterable[tuple[str, str, bool]], database: str) -> str:
    """Return the SET statement that shows one department's rows alone.

    ``tables`` are (database, table, has a column `department`): all that the engine has, views left out.
    """
    mine = _literal(department)
    conditions: list[str] = []
    for schema, table, has_department in tables:
        full = f"{schema}.{table}"
        if schema == database and table in {name.decode() for name in HIDDEN}:
            continue
        if full in _OPEN_TABLES:
            continue
        if schema == database and table == "budgets":
            condition = _BUDGET.format(department=mine)
        elif schema == database and has_department:
            condition = f"department = {mine}"
        else:
            condition = "0"
        conditions.append(f"{_literal(full)}: {_literal(condition)}")
    return f"SET additional_table_filters = {{{', '.join(conditions)}}}"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _refused(what: str) -> EngineError:
    return EngineError.of(497, "ACCESS_DENIED", f"{what} allowed to a department's reader")
