"""After the kills: what clients were told, what the outbox holds, what was settled, what the ledger says."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bench.chaos.parts import Parts
from farthing.credits import open_store
from farthing.credits.report import balances
from farthing.ledger import connect
from farthing.ledger.reconcile import Reconciliation, reconcile
from farthing.money import nano_from_usd
from farthing.telemetry.outbox import Outbox
from farthing.telemetry.spans import paid_of

_ROWS = "SELECT id, coalesce(settled, 0), coalesce(cost_total, 0) FROM charges_final"


@dataclass(frozen=True, slots=True)
class Books:
    """The four books side by side. Money is nano-dollars."""

    told: int
    """Requests that were answered with a charge."""
    recorded: int
    """Charges in the outbox: those of answers, and of attempts that failed, climbed or were cut off."""
    undelivered: int
    ledger_rows: int
    lost: int
    """Charges told to a client or recorded, and not in the ledger."""
    doubled: int
    strangers: int
    """Rows of the ledger that no outbox knows."""
    misstated: int
    """Charges whose amount differs between client, outbox and ledger."""
    outbox_nano: int
    credits_nano: int
    ledger_nano: int
    unsettled: int
    wrong_totals: int
    """Totals of the credit store that are not what their steps add up to."""
    reconciliation: Reconciliation

    @property
    def hold(self) -> bool:
        """Whether nothing is lost, doubled or misstated, and all sums are equal."""
        faults = (
            self.undelivered, self.lost, self.doubled, self.strangers, self.misstated, self.unsettled,
            self.wrong_totals, self.reconciliation.conflicts, self.reconciliation.missing,
        )  # fmt: skip
        sums = {self.outbox_nano, self.credits_nano, self.ledger_nano, self.reconciliation.settled_nano}
        return not any(faults) and len(sums) == 1


def drain(parts: Parts, within_s: float = 180) -> None:
    """Wait until outbox and collector have given all they have to the ledger, or time is up."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        pending = asyncio.run(_pending(parts))
        queued = parts.collector.queued_bytes() if parts.collector else 0
        if not pending and not queued:
            return
        time.sleep(0.5)


async def _pending(parts: Parts) -> int:
    outbox = Outbox(parts.settings.telemetry.outbox)
    try:
        return (await outbox.counts()).pending
    finally:
        await outbox.close()


async def _recorded(parts: Parts) -> tuple[dict[str, int], int, int]:
    outbox, store = Outbox(parts.settings.telemetry.outbox), open_store(parts.settings.credits.store)
    try:
        amounts: dict[str, int] = {}
        async for page in outbox.pages(0, 500):
            amounts |= {entry.charge_id: paid_of(entry.payload).amount for entry in page}
        counts = await outbox.counts()
        unsettled = await store.unsettled([key for key, amount in amounts.items() if amount])
        return amounts, counts.pending + counts.rejected, len(unsettled)
    finally:
        await outbox.close()
        await store.close()


async def _wrong_totals(parts: Parts) -> int:
    store = open_store(parts.settings.credits.store)
    try:
        return len(await store.verify())
    finally:
        await store.close()


def compare(parts: Parts, told: Mapping[str, int]) -> Books:
    """Read all books. The parts must be up and drained."""
    amounts, undelivered, unsettled = asyncio.run(_recorded(parts))
    accounts = {one.account: one for one in asyncio.run(balances(parts.settings, every_kind=True))}
    client = connect(parts.settings.ledger)
    rows = [
        (str(key), nano_from_usd(paid), nano_from_usd(cost))
        for key, paid, cost in client.query(_ROWS).result_rows
    ]
    ledger = {key: (paid, cost) for key, paid, cost in rows}
    known = amounts.keys() | told.keys()
    misstated = {key for key, amount in amounts.items() if key in ledger and ledger[key][0] != amount}
    misstated |= {key for key, cost in told.items() if key in ledger and ledger[key][1] != cost}
    return Books(
        told=len(told),
        recorded=len(amounts),
        undelivered=undelivered,
        ledger_rows=len(rows),
        lost=len(known - ledger.keys()),
        doubled=len(rows) - len(ledger),
        strangers=len(ledger.keys() - amounts.keys()),
        misstated=len(misstated),
        outbox_nano=sum(amounts.values()),
        credits_nano=accounts["organisation:"].settled,
        ledger_nano=sum(paid for paid, _ in ledger.values()),
        unsettled=unsettled,
        wrong_totals=asyncio.run(_wrong_totals(parts)),
        reconciliation=reconcile(client),
    )
