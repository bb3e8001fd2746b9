"""Roles of a ClickHouse server: finance reads everything, a department's readers read its own rows.

A department's role has row policies on every table that has departments, and on budgets. The views read
those tables as the user who asks (SQL SECURITY INVOKER, ClickHouse's default), and so through the policies.
It may also read the three tables by which the views tell what is up to date: they say how many charges all
departments have on a day, and nothing else of them. The embedded ledger has readers: `ledger.readers`.
"""

import hashlib
from collections.abc import Iterable, Sequence

from farthing.ledger.cluster import Layout
from farthing.settings import Reader

FINANCE = "farthing_finance"
_OWN_ROWS = ("charges", "daily_rolls", "hourly_rolls", "closing_lines", "credit_roll_forward")
_COUNTS = ("charge_arrivals", "charge_rolls", "closings")
_VIEWS = (
    "charges_final", "charges_daily", "charges_daily_live", "charges_hourly", "charges_hourly_live",
    "arrivals_by_slot", "rolls_in_force", "sealed_days", "statement_lines", "closings_in_force",
    "closed_months", "closed_lines", "months_to_correct", "statement_corrections",
)  # fmt: skip


def role_of(department: str) -> str:
    """Return the name of a department's role: unique, and free of what would need quoting."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in department)[:40]
    return f"farthing_department_{plain}_{hashlib.sha256(department.encode()).hexdigest()[:12]}"


def statements(layout: Layout, departments: Iterable[str], readers: Sequence[Reader] = ()) -> list[str]:
    """Return the statements that make the roles, their row policies, and the readers' users.

    For a user with access management; they may be run again, and must be for a department that is new. A
    password is written as its SHA-256, unsalted: choose a long one.
    """
    on = f"{layout.on_cluster} " if layout.cluster else ""
    names = sorted({*departments, *(one.department for one in readers if one.department is not None)})
    found = [f"CREATE ROLE IF NOT EXISTS {FINANCE} {on}SETTINGS readonly = 2"]
    found += [f"GRANT {on}SELECT ON {database}.* TO {FINANCE}" for database in layout.databases]
    found += [f"CREATE ROLE IF NOT EXISTS {role_of(name)} {on}SETTINGS readonly = 2" for name in names]
    roles = ", ".join(role_of(name) for name in names)
    for database in layout.databases:
        for table in (*_OWN_ROWS, "budgets"):
            # Where a table has any policy, each user needs one; TO replaces the list of an earlier run.
            everybody_else = f"ALL EXCEPT {roles}" if roles else "ALL"
            found.append(
                f"CREATE ROW POLICY OR REPLACE farthing_others {on}ON {database}.{table} "
                f"FOR SELECT USING 1 TO {everybody_else}"
            )
    for name in names:
        found += _department(name, layout, on)
    for reader in readers:
        role = FINANCE if reader.department is None else role_of(reader.department)
        user = _identifier(reader.user)
        digest = hashlib.sha256(reader.password.encode()).hexdigest()
        found += [
            f"CREATE USER OR REPLACE {user} {on}IDENTIFIED WITH sha256_hash BY '{digest}'",
            f"GRANT {on}{role} TO {user}",
            f"ALTER USER {user} {on}DEFAULT ROLE {role}",
        ]
    return found


def _department(name: str, layout: Layout, on: str) -> list[str]:
    role, own = role_of(name), f"department = {_literal(name)}"
    found: list[str] = []
    for database in layout.databases:
        found += [
            f"GRANT {on}SELECT ON {database}.{table} TO {role}"
            for table in (*_OWN_ROWS, "budgets", *_COUNTS, *_VIEWS)
        ]
        for table in (*_OWN_ROWS, "budgets"):
            mine = f"scope = 'department' AND name = {_literal(name)}" if table == "budgets" else own
            found.append(
                f"CREATE ROW POLICY OR REPLACE {role} {on}ON {database}.{table} "
                f"FOR SELECT USING {mine} TO {role}"
            )
    return found


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _identifier(text: str) -> str:
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"
