"""What `farthing doctor` asks the ledger: one question, one answer, one file dashboards/sql/doctor_*.sql."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from farthing.ledger import sqlfiles
from farthing.ledger.client import connect
from farthing.ledger.doctor_finding import NAMED, Finding, judged, some
from farthing.ledger.errors import LedgerError
from farthing.ledger.schema import migrations
from farthing.money import nano_from_usd, usd_text
from farthing.settings import Settings

_CLOCK_TOLERANCE_S = 120.0
_TOGETHER = 500
"""Names in one query: they travel in its URL."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers of a gateway's charges that are not in the ledger, and when the calls beside them ended."""

    instance: str
    first: int
    last: int
    before: datetime | None
    after: datetime | None

    @property
    def missing(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


class LedgerChecks:
    """The checks of the ledger at ``client``, over the days from ``since`` on."""

    def __init__(self, client: Any, since: date) -> None:
        self._client, self._since = client, since

    def settled_nano(self) -> int:
        """Return what all charges ever were settled at, in nano-dollars."""
        (row,) = self.rows("settled")
        return nano_from_usd(row["settled_usd"] or 0)

    def arrived_nano(self, charge_ids: Sequence[str]) -> int:
        """Return what those of the charges that are in the ledger were settled at, in nano-dollars."""
        total = 0
        for at in range(0, len(charge_ids), _TOGETHER):
            (row,) = self.rows("delivered", ids=list(charge_ids[at : at + _TOGETHER]))
            total += nano_from_usd(row["settled_usd"] or 0)
        return total

    def rows(self, name: str, **parameters: Any) -> list[dict[str, Any]]:
        """Return the rows of a doctor's query."""
        result = self._client.query(sqlfiles.load(f"doctor_{name}"), parameters=parameters)
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    def gaps(self, last_delivered: dict[str, int], most: int = 50) -> tuple[list[Gap], int]:
        """Return holes in the gateways' numbers, newest first, and how many charges are missing in all.

        ``last_delivered`` is what outboxes say each gateway delivered: beyond the last number in the ledger
        there is no hole to see.
        """
        rows = self.rows("gaps", since=self._since, most=most)
        found = [
            Gap(row["gateway_instance"], int(row["first"]), int(row["last"]), row["before"], row["after"])
            for row in rows
        ]
        missing = int(rows[0]["in_all"]) if rows else 0
        instances = sorted(last_delivered)
        arrived: dict[str, int] = {}
        for at in range(0, len(instances), _TOGETHER):
            for row in self.rows("gateways", instances=instances[at : at + _TOGETHER]):
                arrived[row["gateway_instance"]] = int(row["last"])
        for instance in instances:
            here = arrived.get(instance, 0)
            if here < last_delivered[instance]:
                tail = Gap(instance, here + 1, last_delivered[instance], None, None)
                found.append(tail)
                missing += tail.missing
        return found, missing

    def run(self) -> Iterator[Finding]:
        """Yield what the ledger alone can tell."""
        from clickhouse_connect.driver.exceptions import ClickHouseError

        for check in (
            self.deliveries, self.amounts, self.unpriced, self.clocks, self.closed, self.rolls, self.fresh,
        ):  # fmt: skip
            try:
                yield from check()
            except ClickHouseError as error:
                words = str(error).strip().splitlines() or [type(error).__name__]
                yield Finding(
                    check.__name__,
                    "FAIL",
                    f"the ledger did not answer this question: {words[0]}",
                    "try again; with a user who may read every table of the database",
                )

    def deliveries(self) -> Iterator[Finding]:
        """Repeats, contradictions, and spans without a charge."""
        (row,) = self.rows("deliveries", since=self._since, most=NAMED)
        repeats = int(row["deliveries"] or 0) - int(row["charges"])
        yield Finding(
            "duplicates", "ok",
            f"{row['charges']} charges came in {row['deliveries'] or 0} deliveries: {repeats} repeats, each "
            "counted once",
            facts={"charges": int(row["charges"]), "repeats": repeats},
        )  # fmt: skip
        doubled, conflicts = int(row["doubled"]), int(row["conflicts"])
        ids = list(dict.fromkeys([*row["conflict_ids"], *row["doubled_ids"]]))
        yield judged(
            "conflicts", conflicts + doubled,
            "every charge came with one amount and one day",
            f"{conflicts} charges came with different amounts, {doubled} with different days (billed twice): "
            f"{some(ids)}",
            "somebody else writes charges under these ids, or changes them on the way. See what came: "
            f"farthing trace {next(iter(ids), '')}; delete the wrong span from otel_traces and its row from "
            "charges, then run: farthing ledger rebuild",
            {"conflicts": conflicts, "doubled": doubled, "ids": ids},
        )  # fmt: skip
        missing = int(row["missing"])
        yield judged(
            "spans without a charge", missing, "every charge span is in the table of charges",
            f"{missing} charge spans have no charge: {some(row['missing_ids'])}",
            "make the charges anew from the spans: farthing ledger rebuild",
            {"missing": missing, "ids": list(row["missing_ids"])},
        )  # fmt: skip

    def amounts(self) -> Iterator[Finding]:
        """Amounts that no bill may hold."""
        (row,) = self.rows("amounts", since=self._since)
        counts = {name: int(row[name]) for name in ("refused", "uneven", "unsettled")}
        names = ", ".join(row["attributes"])
        yield judged(
            "amounts", sum(counts.values()), "every cost is the sum of its parts, and what was settled",
            f"{counts['refused']} charges came with figures that can only be wrong{names and f' ({names})'} "
            f"and are in no sum, the cost of {counts['uneven']} is not the sum of its parts, "
            f"{counts['unsettled']} took another amount from the balance",
            "no Farthing writes such charges: see who sends them (SELECT ServiceName, ResourceAttributes "
            "FROM otel_traces …), and give the ledger another password",
            counts | {"attributes": list(row["attributes"])},
        )  # fmt: skip

    def unpriced(self) -> Iterator[Finding]:
        """Models without a price."""
        rows = self.rows("unpriced", since=self._since)
        calls = sum(int(row["calls"]) for row in rows)
        models = ", ".join(f"{row['model']} ({row['calls']})" for row in rows[:NAMED])
        example = json.dumps(rows[0]["model"], ensure_ascii=False) if rows else ""
        yield Finding(
            "unpriced", "warn" if calls else "ok",
            f"{calls} charges have no price and are in no amount: {models}" if calls
            else "every charge has a price",
            f"add the model to farthing.yaml and restart the proxy: cost: {{prices: {{{example}: "
            "{input: …, output: …}}} (USD per million tokens). Bill the calls so far by hand: "
            "dashboards/sql/doctor_unpriced.sql has their tokens" if calls else "",
            {"calls": calls, "models": {row["model"]: int(row["calls"]) for row in rows}},
        )  # fmt: skip

    def clocks(self) -> Iterator[Finding]:
        """Gateways whose times cannot be true."""
        rows = self.rows("clock", since=self._since, tolerance_s=_CLOCK_TOLERANCE_S)
        worst = "; ".join(
            f"{row['gateway_instance'] or 'no gateway'}: "
            + ", ".join(
                text
                for text, shown in (
                    (f"{row['ahead']} charges up to {float(row['ahead_s']):.0f} s ahead", row["ahead"]),
                    (f"{row['backwards']} ended before they started", row["backwards"]),
                    (
                        f"the clock went back {float(row['stepped_back_s']):.0f} s",
                        float(row["stepped_back_s"]) > _CLOCK_TOLERANCE_S,
                    ),
                )
                if shown
            )
            for row in rows[:NAMED]
        )
        yield Finding(
            "clocks", "FAIL" if rows else "ok",
            f"{len(rows)} gateways have clocks that are wrong: {worst}" if rows else
            "all calls ended after they started, in the order of their numbers, and not in the future",
            "set the clock of the gateway's machine by NTP. A charge stays on the day its gateway named: "
            "near midnight and a month's end it may be in the wrong one" if rows else "",
            {"gateways": [row["gateway_instance"] for row in rows]},
        )  # fmt: skip

    def closed(self) -> Iterator[Finding]:
        """Charges in months that are closed."""
        rows = self.rows("closed")
        told = ", ".join(
            f"{row['month']:%Y-%m}: {row['calls']} calls, {usd_text(nano_from_usd(row['cost_usd']))} USD"
            for row in rows
        )
        yield Finding(
            "closed months", "warn" if rows else "ok",
            f"charges came after the closing of {told}" if rows else "no closed month has changed",
            "they are booked as corrections when the next month is closed: farthing ledger close YYYY-MM"
            if rows else "",
            {"months": [f"{row['month']:%Y-%m}" for row in rows]},
        )  # fmt: skip

    def rolls(self) -> Iterator[Finding]:
        """Days whose sums are not up to date."""
        (row,) = self.rows("rolls")
        days = int(row["days"])
        yield Finding(
            "rolls", "warn" if days > 1 else "ok",
            f"{days} days are summed from their charges at every query ({row['first']} to {row['last']})"
            if days else "every day's sums are up to date",
            "exact, but slow. Sum them: farthing ledger roll (with --every 60 beside a ClickHouse server; "
            "the embedded ledger does so by itself)" if days > 1 else "",
            {"days": days},
        )  # fmt: skip

    def fresh(self) -> Iterator[Finding]:
        """How new the newest charge is."""
        (row,) = self.rows("lag", since=self._since)
        newest = row["newest"]
        yield Finding(
            "newest charge", "ok",
            f"{newest:%Y-%m-%d %H:%M:%S} UTC, {row['age_s']} s ago" if newest else "there is none",
            facts={"age_s": int(row["age_s"]) if newest else None, "charges": int(row["charges"])},
        )  # fmt: skip


def reached(settings: Settings) -> tuple[Any, list[Finding]]:
    """Return a client of the ledger (None if it is out of reach or out of date), and what was found."""
    try:
        client = connect(settings.ledger)
    except LedgerError as error:
        return None, [Finding("ledger", "FAIL", str(error), "charges wait in the outbox meanwhile")]
    with suppress(LedgerError):
        known = {migration.version: migration.name for migration in migrations()}
        result = client.query("SELECT version FROM schema_migrations FINAL").result_rows
        applied = {int(version) for (version,) in result}
        absent = [name for version, name in known.items() if version not in applied]
        newer = sorted(applied - set(known))
        where = f"{settings.ledger.url}, database {settings.ledger.database}"
        if newer:
            return None, [
                Finding("ledger", "FAIL", f"{where}: written by a newer Farthing", "upgrade this Farthing")
            ]
        if absent:
            return None, [
                Finding(
                    "ledger", "FAIL",
                    f"{where}: {len(absent)} migrations are not applied ({', '.join(absent)})",
                    "farthing ledger migrate (the embedded ledger does so itself when it starts)",
                )
            ]  # fmt: skip
        return client, [Finding("ledger", "ok", f"{where}: answers, {len(applied)} migrations applied")]
    return None, [Finding("ledger", "FAIL", "its migrations cannot be read", "farthing ledger migrate")]
