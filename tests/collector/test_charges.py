"""Charges through the real collector: as they were written, each once, whatever is killed on the way."""

import json
import random
import signal
import socket
import threading

import httpx
import pytest

from farthing.money import usd_text
from farthing.telemetry import Account
from farthing.telemetry.delivery import Delivery
from farthing.telemetry.outbox import Outbox
from tests.collector.conftest import payloads, post, until
from tests.collector.traffic import traced
from tests.ledger_stack import charge, deliver, random_charges

SPANS = """SELECT * EXCEPT (SpanId, TraceId) FROM otel_traces
           ORDER BY SpanAttributes['farthing.charge.id'] FORMAT JSONEachRow"""
CHARGES = "SELECT * EXCEPT (span_id, trace_id) FROM charges_final ORDER BY id FORMAT JSONEachRow"
ONCE = "SELECT count(), uniqExact(id), sum(cost_total) FROM charges_final"


def once(charges):
    """What `ONCE` must say of these charges: none lost, none doubled, and the sum to the nano-dollar."""
    total = sum(one.cost.total for one in charges if one.cost)
    return f"{len(charges)}\t{len(charges)}\t{usd_text(total).rstrip('0').rstrip('.')}"


def hostile(number):
    department = 'R&D "<b>"\'; DROP TABLE charges; -- \\ \n\t🜚 \u2028'
    account = Account("cd" * 32, "o'neill", department, "CC\\1")
    return charge(number, account=account, model="gpt-5 <&>", grade_score=1e-7, cost=None)


async def outbox_of(path, charges):
    outbox = Outbox(path)
    for one, payload in zip(charges, payloads(charges), strict=True):
        cost = one.cost.total if one.cost else None
        await outbox.append(one.id, cost, payload, sequence=outbox.next_sequence())
    return outbox


async def test_through_the_collector_a_charge_is_what_it_is_without_one(rig, tmp_path):
    charges = [*random_charges(300, seed=1), *(hostile(n) for n in range(1000, 1010))]
    deliver(rig.settings, charges)
    spans, rows = rig.rows(SPANS), rig.rows(CHARGES)
    assert len(rows) == len(charges)
    rig.empty()
    collector = rig.collect()
    outbox = await outbox_of(tmp_path / "outbox.db", charges)
    delivery = Delivery(outbox, collector.url)
    assert await delivery.flush(20)
    await delivery.close()
    await outbox.close()
    until(lambda: rig.rows(ONCE) == [once(charges)], "every charge in the ledger once")
    service = '"service.instance.id":"test"'
    assert all(service in span for span in spans)
    # The order of a map's keys is the writer's own.
    assert [json.loads(row) for row in rig.rows(SPANS)] == [json.loads(span) for span in spans]
    assert rig.rows(CHARGES) == rows


def test_what_waits_on_disk_survives_the_collector(rig):
    charges = random_charges(500, seed=2)
    spans = payloads(charges)
    collector = rig.collect()
    rig.ledger_down(signal.SIGKILL)
    for at in range(0, 500, 50):
        assert post(collector, *spans[at : at + 50]).status_code == 200
        if at % 200 == 0:
            collector.kill()
            collector.start()
    collector.kill()
    rig.ledger_up()
    assert rig.number("SELECT count() FROM charges_final") < len(charges)
    collector.start()
    until(lambda: rig.rows(ONCE) == [once(charges)], "every charge in the ledger once")


def test_a_collector_killed_amid_its_inserts_loses_and_doubles_nothing(rig):
    charges = random_charges(600, seed=3)
    spans = payloads(charges)
    collector = rig.collect()
    rng = random.Random(3)
    for at in range(0, 600, 100):
        assert post(collector, *spans[at : at + 100]).status_code == 200
        # The queue lets a batch go after half a second: from before it to amid the insert.
        threading.Event().wait(rng.uniform(0.3, 0.9))
        collector.kill()
        collector.start()
    until(lambda: rig.rows(ONCE) == [once(charges)], "every charge in the ledger once")


async def test_a_full_queue_keeps_charges_with_their_sender(rig, tmp_path):
    charges = random_charges(1000, seed=4)
    spans = payloads(charges)
    collector = rig.collect(FARTHING_QUEUE_BYTES="1000000")
    rig.ledger_down()
    there = taken(collector, spans)
    assert there < len(spans), "a queue of 1 MB took more than that"
    queued = collector.queued_bytes()
    assert 500_000 < queued <= 1_000_000
    # The gateway's sender hears no yes, so its outbox keeps what it has.
    rest = charges[there : there + 200]
    outbox = await outbox_of(tmp_path / "outbox.db", rest)
    delivery = Delivery(outbox, collector.url, timeout_s=2.0, longest_wait_s=1.0)
    assert not await delivery.flush(3)
    assert (await outbox.counts()).pending == len(rest)
    rig.ledger_up()
    assert await delivery.flush(40), "the outbox did not empty when the ledger was back"
    await delivery.close()
    await outbox.close()
    until(lambda: rig.rows(ONCE) == [once(charges[: there + 200])], "every charge in the ledger once")


def taken(collector, spans):
    """Send spans in requests of fifty until one is not answered in time; return how many were."""
    for at in range(0, len(spans), 50):
        try:
            assert post(collector, *spans[at : at + 50], timeout=3).status_code == 200
        except httpx.ReadTimeout:
            return at
    return len(spans)


def test_sampling_touches_no_charge_and_keeps_what_failed(rig):
    collector = rig.collect(FARTHING_SHARE_PERCENT="0")
    traced(rig, collector, 300, failing=3)
    others = "SELECT count() FROM otel_traces WHERE SpanAttributes['farthing.charge.id'] = ''"
    until(lambda: rig.number(others) >= 6, "the failed requests' spans in the ledger")
    until(lambda: rig.number("SELECT count() FROM charges_final") == 300, "all charges in the ledger")
    collector.part.stop()  # which judges what still waits
    assert rig.number(others) == 6
    assert rig.number("SELECT count() FROM otel_traces") == 306, "a charge came by the sampled way, too"


def test_all_requests_are_kept_if_all_are_asked_for(rig):
    collector = rig.collect(FARTHING_SHARE_PERCENT="100")
    traced(rig, collector, 50)
    until(lambda: rig.number("SELECT count() FROM otel_traces") == 150, "every span in the ledger")


@pytest.mark.parametrize("trouble", ["a silent Jaeger", "no memory"])
def test_trouble_with_traces_does_not_hold_up_charges(rig, trouble):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        values = {
            "FARTHING_TRACES_EXPORTER": "otlp/jaeger",
            "FARTHING_TRACES_ENDPOINT": f"127.0.0.1:{silent.getsockname()[1]}",
            "FARTHING_SHARE_PERCENT": "100",
        }
        if trouble == "no memory":
            values["FARTHING_COLLECTOR_MEMORY_MIB"] = "1"
        collector = rig.collect(**values)
        threading.Event().wait(1.5)  # the memory is looked at each second
        for _ in range(5):
            traced(rig, collector, 100)
        until(lambda: rig.number("SELECT count() FROM charges_final") == 100, "the charges", within_s=10)
        if trouble == "no memory":
            others = "SELECT count() FROM otel_traces WHERE SpanAttributes['farthing.charge.id'] = ''"
            assert rig.number(others) == 0
