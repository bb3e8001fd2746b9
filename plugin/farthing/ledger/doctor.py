"""`farthing doctor`: what can be wrong between a call and its line on a statement, and what to do about it.

Everything is only read (but for `resend`): the proxy and the ledger may run or not.
"""

import asyncio
import sqlite3
from datetime import UTC, date, datetime, timedelta

from farthing.ledger import doctor_credits, doctor_outbox
from farthing.ledger.doctor_finding import Finding
from farthing.ledger.doctor_ledger import LedgerChecks, reached
from farthing.ledger.errors import LedgerError
from farthing.settings import Settings
from farthing.telemetry.outbox import Outbox
from farthing.telemetry.outbox_inspect import Snapshot, reading

_MOST_COMPARED = 20_000


def examine(settings: Settings, days: int = 31) -> list[Finding]:
    """Return what every check found, over the charges of the last ``days`` UTC days."""
    snapshot, found = doctor_outbox.read(settings.telemetry.outbox)
    if snapshot is not None:
        found += doctor_outbox.findings(snapshot, settings.telemetry)
    client, answers = reached(settings)
    found += answers
    if client is None:
        return found + doctor_credits.findings(settings, None)
    try:
        checks = LedgerChecks(client, _since(days))
        found.append(_gaps(settings, checks, snapshot))
        found += checks.run()

        def billed() -> tuple[int, int]:
            if snapshot is None:
                return checks.settled_nano(), 0
            with reading(settings.telemetry.outbox) as outbox:
                now, ids = outbox.snapshot(), outbox.undelivered(_MOST_COMPARED)
            # What the receiver took, but its answer was lost, is in both.
            return checks.settled_nano(), now.undelivered_nano - checks.arrived_nano(ids)

        return found + doctor_credits.findings(settings, billed)
    finally:
        client.close()


def resend(settings: Settings, days: int = 31) -> int:
    """Have the outbox send once more what it delivered and the ledger does not have; return how many charges.

    Raises LedgerError if the ledger cannot tell, OutboxError, sqlite3.Error and FileNotFoundError.
    """
    client, answers = reached(settings)
    if client is None:
        raise LedgerError(answers[0].figure)
    try:
        with reading(settings.telemetry.outbox) as outbox:
            gaps, _ = LedgerChecks(client, _since(days)).gaps(outbox.snapshot().last_delivered, most=100_000)
            known = outbox.numbered([(gap.instance, gap.first, gap.last) for gap in gaps])
    finally:
        client.close()
    lost = [charge_id for states in known for charge_id in states.get("delivered", ())]
    return asyncio.run(_reopen(settings, lost)) if lost else 0


async def _reopen(settings: Settings, charge_ids: list[str]) -> int:
    outbox = Outbox(settings.telemetry.outbox, most_bytes=settings.telemetry.outbox_max_bytes)
    try:
        return await outbox.reopen(charge_ids)
    finally:
        await outbox.close()


def _gaps(settings: Settings, checks: LedgerChecks, snapshot: Snapshot | None) -> Finding:
    gaps, missing = checks.gaps(snapshot.last_delivered if snapshot else {})
    if gaps and snapshot is not None:
        try:
            with reading(settings.telemetry.outbox) as outbox:
                return doctor_outbox.gaps(gaps, missing, outbox, snapshot)
        except (sqlite3.Error, FileNotFoundError):
            pass  # said already
    return doctor_outbox.gaps(gaps, missing, None, snapshot)


def _since(days: int) -> date:
    return (datetime.now(UTC) - timedelta(days=days - 1)).date()
