"""A charge that cannot be written is not lost, and money waits for it."""

import asyncio
from datetime import UTC, datetime

import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from farthing.proxy.charge_log import ChargeLog
from farthing.telemetry.outbox import Outbox, OutboxError
from farthing.telemetry.spans import ChargeSpans, paid_of
from tests.unit.test_spans_charge import CHARGE


class FlakyOutbox(Outbox):
    """The real outbox with a disk that can be full."""

    full = False

    async def append(self, *arguments, **options):
        if self.full:
            raise OutboxError("disk full")
        await super().append(*arguments, **options)


@pytest.fixture
async def outbox(tmp_path):
    outbox = FlakyOutbox(tmp_path / "outbox.db", fsync=False)
    yield outbox
    await outbox.close()


async def test_a_full_disk_keeps_charges_and_says_so_until_they_are_written(outbox):
    charge_log = ChargeLog(outbox, ChargeSpans("farthing", outbox.instance))
    outbox.full = True
    await charge_log.write(CHARGE, INVALID_SPAN_CONTEXT)
    assert not charge_log.ready
    await asyncio.gather(*(charge_log.retry() for _ in range(20)))
    assert not charge_log.ready, "trying must not look like having written"
    outbox.full = False
    await asyncio.gather(*(charge_log.retry() for _ in range(20)))
    assert charge_log.ready
    counts = await outbox.counts()
    assert (counts.pending, counts.cost_nano) == (1, CHARGE.cost.total)


async def test_a_charge_on_disk_tells_who_pays_what(outbox):
    charge_log = ChargeLog(outbox, ChargeSpans("farthing", outbox.instance))
    await charge_log.write(CHARGE, INVALID_SPAN_CONTEXT)
    (pending,) = await outbox.pending()
    paid = paid_of(pending.payload)
    assert (paid.account, paid.session_id, paid.amount) == (CHARGE.account, CHARGE.session_id, CHARGE.settled)
    assert (paid.tier, paid.model, paid.grade, paid.kind) == (
        CHARGE.tier,
        CHARGE.model,
        CHARGE.grade,
        CHARGE.kind,
    )
    pages = [page async for page in outbox.pages(0, 10)]
    assert [[entry.charge_id for entry in page] for page in pages] == [[CHARGE.id]]
    later = datetime.now(UTC).timestamp() + 60
    assert [page async for page in outbox.pages(later, 10)] == []
