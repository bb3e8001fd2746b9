"""A charge that cannot be written is not lost, and money waits for it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from opentelemetry.trace import INVALID_SPAN, INVALID_SPAN_CONTEXT

from farthing.proxy import told
from farthing.proxy.calls import Call, Deployment
from farthing.proxy.charge_log import ChargeLog, UnrecordableError
from farthing.settings import Settings
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


def admits(charge_log, *, free=False):
    try:
        charge_log.admit(free=free)
    except UnrecordableError:
        return False
    return True


async def test_at_its_bound_the_outbox_takes_charges_but_new_calls_wait(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", fsync="off", most_bytes=200_000)
    charge_log = ChargeLog(outbox, ChargeSpans("farthing", outbox.instance))
    careless = ChargeLog(outbox, ChargeSpans("farthing", outbox.instance), on_full="allow")
    written = 0

    async def fill_until(wanted):
        nonlocal written
        while not wanted():
            written += 1
            assert written < 500, "the bound is not noticed"
            await charge_log.write(replace(CHARGE, id=f"c{written}"), INVALID_SPAN_CONTEXT)
            outbox.bound._look_at = 0  # instead of a quarter of a second for each charge
            await outbox.waiting()

    await fill_until(lambda: not admits(charge_log))
    assert admits(charge_log, free=True)
    assert admits(careless)
    await fill_until(lambda: not admits(charge_log, free=True))
    assert admits(careless)
    assert (await outbox.counts()).pending == written
    # Delivered, and known to be settled: dropped early, and there is room again.
    await outbox.delivered([entry.charge_id for entry in await outbox.pending(1000)])
    outbox.bound.settled_before = datetime.now(UTC).timestamp() + 60
    outbox.bound._look_at = 0
    await outbox.waiting()
    assert admits(charge_log)
    counts = await outbox.counts()
    assert (counts.delivered, counts.cost_nano) == (written, written * CHARGE.cost.total)
    await outbox.close()


def test_the_client_is_told_to_come_back_and_litellm_sees_no_fault_of_the_deployments():
    deployment = Deployment("d", "fast", "gpt", "openai", False, None)
    call = Call(CHARGE.account, "chat", INVALID_SPAN, {}, "s1")
    refused = told.refusal(call, deployment, UnrecordableError("No room"), Settings())
    assert (refused.status_code, refused.client_status) == (402, 503)
    assert refused.headers["retry-after"]
    assert refused.message.startswith("No room, so calls that cost money are refused")


async def test_a_full_disk_does_not_fill_the_memory_with_free_calls(outbox, monkeypatch):
    monkeypatch.setattr("farthing.proxy.charge_log._MOST_WAITING", 3)
    charge_log = ChargeLog(outbox, ChargeSpans("farthing", outbox.instance))
    outbox.full = True
    for number in range(3):
        assert admits(charge_log, free=True)
        await charge_log.write(replace(CHARGE, id=f"c{number}"), INVALID_SPAN_CONTEXT)
    assert not admits(charge_log, free=True)


async def test_a_full_disk_keeps_charges_and_says_so_until_they_are_written(outbox):
    charge_log = ChargeLog(outbox, ChargeSpans("farthing", outbox.instance))
    outbox.full = True
    await charge_log.write(CHARGE, INVALID_SPAN_CONTEXT)
    assert not admits(charge_log)
    assert admits(charge_log, free=True)
    await asyncio.gather(*(charge_log.retry() for _ in range(20)))
    assert not admits(charge_log), "trying must not look like having written"
    outbox.full = False
    await asyncio.gather(*(charge_log.retry() for _ in range(20)))
    assert admits(charge_log)
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
