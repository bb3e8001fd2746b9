"""What a statement page shows, gathered for all departments at once: each question is asked one time."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from farthing.ledger.cells import nano
from farthing.ledger.lines import StatementLine, Totals, totals
from farthing.ledger.report import Asked, ask
from farthing.ledger.statement import statement

_CLOSED = "SELECT closed_at FROM closed_months WHERE month = toDate(concat({month:String}, '-01'))"
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Department:
    """One department's month. Records are rows of the reports of those names; None: there is none."""

    name: str
    usage: Sequence[StatementLine]
    corrections: Sequence[StatementLine]
    daily: Mapping[date, Mapping[str, int]]
    """What each day cost by tier, in nano-dollars."""
    savings: Record | None
    budget: Record | None
    variance: Record | None
    hardware: Sequence[Record]

    @property
    def total(self) -> Totals:
        """The sums of all lines, corrections included."""
        return totals([*self.usage, *self.corrections])


@dataclass(frozen=True, slots=True)
class Book:
    """A month of an organisation, by department."""

    organisation: str
    month: str
    as_of: date
    closed_at: datetime | None
    departments: Sequence[Department]
    budget: Record | None
    """The organisation's."""

    @property
    def running(self) -> bool:
        """Whether the month is not over."""
        return self.as_of.strftime("%Y-%m") == self.month


def gather(client: Any, organisation: str, asked: Asked) -> Book:
    """Ask what the statements of a month need. Raises LedgerError, and what clickhouse-connect raises."""
    lines = statement(client, asked.month, asked.department)
    closed = client.query(_CLOSED, parameters={"month": asked.month}).result_rows
    budgets = ask(client, "budget", asked).records()
    savings = _by_department(ask(client, "savings", asked).records())
    variance = _by_department(ask(client, "variance", asked).records())
    own = {row["name"]: row for row in budgets if row["scope"] == "department"}
    hardware: dict[str, list[Record]] = defaultdict(list)
    for row in ask(client, "sovereign", asked).records():
        hardware[row["department"]].append(row)
    daily: dict[str, dict[date, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in ask(client, "daily", asked).records():
        daily[row["department"]][row["day"]][row["tier"]] = nano(row["cost_usd"]) or 0
    grouped: dict[str, list[StatementLine]] = defaultdict(list)
    for line in lines:
        grouped[line.department].append(line)
    names = sorted(grouped) or ([asked.department] if asked.department else [])
    departments = [
        Department(
            name,
            [line for line in grouped[name] if line.entry == "usage"],
            [line for line in grouped[name] if line.entry == "correction"],
            daily[name],
            savings.get(name),
            own.get(name),
            variance.get(name),
            hardware[name],
        )
        for name in names
    ]
    whole = next((row for row in budgets if row["scope"] == "organisation"), None)
    as_of = asked.as_of or datetime.now(UTC).date()
    return Book(organisation, asked.month, as_of, closed[0][0] if closed else None, departments, whole)


def _by_department(rows: Iterable[Record]) -> dict[str, Record]:
    return {row["department"]: row for row in rows}
