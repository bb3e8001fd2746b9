"""Charges reach the endpoint, whatever happens to it or to us. The collector here is a stand-in."""

import asyncio
import itertools
import logging
import multiprocessing
import time
from dataclasses import replace

import pytest

from farthing.settings import Telemetry
from farthing.telemetry.delivery import Delivery
from farthing.telemetry.outbox import Outbox
from farthing.telemetry.spans import ChargeSpans
from tests.unit.otlp_stand_in import Answer, Collector, partial_success
from tests.unit.test_spans_charge import CHARGE

spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def collector():
    running = Collector()
    yield running
    running.stop()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.db"


@pytest.fixture
async def outbox(path):
    opened = Outbox(path, fsync=False)
    yield opened
    await opened.close()


def charge_span(charge_id):
    return ChargeSpans("gateway", "i").finish(replace(CHARGE, id=charge_id)).payload


async def append(outbox, *charge_ids):
    for charge_id in charge_ids:
        await outbox.append(charge_id, 5, charge_span(charge_id), sequence=outbox.next_sequence())


def sender(outbox, endpoint, **options):
    options = {"linger_s": 0.01, "poll_s": 0.1, "longest_wait_s": 0.4, **options}
    return Delivery(outbox, endpoint, **options)


async def until(condition, timeout_s=8.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.01)


def messages(caplog, level):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


async def test_charges_arrive_merged_and_are_then_done(outbox, collector):
    await append(outbox, *(f"c{number}" for number in range(40)))
    delivery = sender(outbox, collector.endpoint)
    assert await delivery.flush(5)
    await delivery.close()
    assert collector.accepted == [f"c{number}" for number in range(40)]
    assert len(collector.posts) == 1
    counts = await outbox.counts()
    assert (counts.pending, counts.delivered, counts.cost_nano) == (0, 40, 200)


async def test_no_request_holds_more_than_512_spans(outbox, collector):
    await asyncio.gather(
        *(
            outbox.append(f"c{number}", 5, charge_span(f"c{number}"), sequence=number)
            for number in range(1100)
        )
    )
    delivery = sender(outbox, collector.endpoint)
    assert await delivery.flush(10)
    await delivery.close()
    assert [len(batch) for batch in collector.batches] == [512, 512, 76]


async def test_new_charges_are_sent_without_being_asked_for(outbox, collector):
    delivery = sender(outbox, collector.endpoint, poll_s=60)
    delivery.start()
    await asyncio.sleep(0.1)
    await append(outbox, "a")
    await until(lambda: collector.accepted == ["a"])
    delivery.start()
    await append(outbox, "b")
    await until(lambda: collector.accepted == ["a", "b"])
    await delivery.close()


async def test_charges_wait_for_company_unless_flushed(outbox, collector):
    delivery = sender(outbox, collector.endpoint, linger_s=3, poll_s=60)
    await append(outbox, "first")
    assert await delivery.flush(5)
    await asyncio.sleep(0.1)  # it has looked again and found nothing
    for charge_id in "abcd":
        await append(outbox, charge_id)
        await asyncio.sleep(0.02)
    await until(lambda: "d" in collector.accepted)
    assert collector.batches == [["first"], ["a", "b", "c", "d"]]
    await append(outbox, "e")
    started = time.monotonic()
    assert await delivery.flush(5)
    assert time.monotonic() - started < 2.5
    await delivery.close()


async def test_credentials_are_sent_and_a_wrong_password_loses_nothing(outbox, caplog):
    collector = Collector(auth=("farthing", "s3cret"))
    await append(outbox, "a")
    wrong = sender(outbox, collector.endpoint, auth=("farthing", "wrong"))
    assert not await wrong.flush(0.5)
    await wrong.close()
    assert collector.accepted == []
    assert (await outbox.counts()).pending == 1
    settings = Telemetry(
        otlp_endpoint=f"{collector.endpoint}/", otlp_user="farthing", otlp_password="s3cret", outbox_keep_s=0
    )
    right = Delivery.from_settings(outbox, settings)
    assert await right.flush(5)
    await right.close()
    assert collector.accepted == ["a"]
    assert "s3cret" not in caplog.text
    assert "wrong" not in caplog.text
    collector.stop()


async def test_an_endpoint_that_goes_and_comes_gets_everything_and_two_log_lines(outbox, caplog):
    caplog.set_level(logging.DEBUG)
    first = Collector()
    delivery = sender(outbox, first.endpoint)
    delivery.start()
    await append(outbox, "a")
    await until(lambda: first.accepted == ["a"])
    first.stop()
    await append(outbox, "b", "c")
    await until(lambda: messages(caplog, logging.WARNING))
    await asyncio.sleep(1.2)  # several tries, one line
    await append(outbox, "d")
    again = Collector(port=first.port)
    assert await delivery.flush(5)
    await delivery.close()
    assert sorted(again.accepted) == ["b", "c", "d"]
    (down,) = messages(caplog, logging.WARNING)
    assert "wait in the outbox" in down
    ups = [line for line in messages(caplog, logging.INFO) if "takes charges again" in line]
    assert len(ups) == 1
    assert not [record for record in caplog.records if record.name.startswith("httpx")]
    again.stop()


async def test_an_endpoint_that_is_down_at_the_start_is_waited_for(outbox):
    probe = Collector()
    probe.stop()
    await append(outbox, "a", "b")
    delivery = sender(outbox, probe.endpoint)
    delivery.start()
    assert not await delivery.flush(0.5)
    collector = Collector(port=probe.port)
    await until(lambda: collector.accepted == ["a", "b"])
    await delivery.close()
    collector.stop()


async def test_waits_grow_and_new_charges_do_not_shorten_them(outbox, collector):
    def unwell(spans):
        raise Answer(500)

    collector.rule = unwell
    delivery = sender(outbox, collector.endpoint, longest_wait_s=30)
    delivery.start()
    deadline = time.monotonic() + 2.5
    for number in itertools.count():
        await append(outbox, f"c{number}")
        await asyncio.sleep(0.02)
        if time.monotonic() > deadline:
            break
    await delivery.close()
    gaps = [later - before for before, later in itertools.pairwise(collector.posts)]
    # Waits of 0.1-0.2, 0.2-0.4, 0.4-0.8, 0.8-1.6 s: a hundred wake-ups must not make a hundred tries.
    assert 3 <= len(collector.posts) <= 6
    assert all(gap >= least for gap, least in zip(gaps, (0.1, 0.2, 0.4, 0.8), strict=False))
    assert (await outbox.counts()).delivered == 0


@pytest.mark.parametrize("status", [429, 503])
async def test_an_endpoint_that_names_a_wait_is_left_alone_that_long(outbox, collector, status):
    answers = iter([Answer(status, headers={"retry-after": "1"})])

    def busy_once(spans):
        for answer in answers:
            raise answer
        return spans

    collector.rule = busy_once
    await append(outbox, "a")
    delivery = sender(outbox, collector.endpoint)
    assert await delivery.flush(5)
    await delivery.close()
    first, second = collector.posts
    assert second - first >= 1.0


async def test_spans_the_receiver_rejects_are_set_apart_and_named_and_the_rest_arrives(
    outbox, collector, caplog
):
    collector.rule = lambda spans: [span for span in spans if b"poison" not in span.SerializeToString()]
    await append(outbox, "a", "poison-1", "b", "c")
    delivery = sender(outbox, collector.endpoint)
    assert await delivery.flush(5)
    await delivery.close()
    assert set(collector.accepted) == {"a", "b", "c"}
    counts = await outbox.counts()
    assert (counts.pending, counts.delivered, counts.rejected, counts.cost_nano) == (0, 3, 1, 20)
    (error,) = messages(caplog, logging.ERROR)
    assert "poison-1" in error
    assert "rejected" in error


async def test_a_damaged_entry_does_not_stop_its_neighbours(outbox, collector, caplog):
    await append(outbox, "a")
    await outbox.append("damaged", 5, b"\xff\xff\xff not protobuf", sequence=2)
    await append(outbox, "b")
    delivery = sender(outbox, collector.endpoint)
    assert await delivery.flush(5)
    await delivery.close()
    assert sorted(collector.accepted) == ["a", "b"]
    assert (await outbox.counts()).rejected == 1
    assert "damaged" in messages(caplog, logging.ERROR)[0]


async def test_an_endpoint_that_refuses_everything_is_at_fault_itself(outbox, collector):
    def wrong_address(spans):
        raise Answer(400, b"this is no collector")

    collector.rule = wrong_address
    await append(outbox, "a", "b", "c")
    delivery = sender(outbox, collector.endpoint)
    assert not await delivery.flush(0.6)
    counts = await outbox.counts()
    assert (counts.pending, counts.rejected) == (3, 0)
    collector.rule = lambda spans: spans
    assert await delivery.flush(5)
    await delivery.close()
    assert collector.accepted == ["a", "b", "c"]


async def test_what_was_set_apart_gets_another_chance_at_the_next_start(outbox, collector):
    collector.rule = lambda spans: []
    await append(outbox, "a")
    delivery = sender(outbox, collector.endpoint)
    assert await delivery.flush(5)
    await delivery.close()
    assert (await outbox.counts()).rejected == 1
    collector.rule = lambda spans: spans
    restarted = sender(outbox, collector.endpoint)
    restarted.start()
    await until(lambda: collector.accepted == ["a"])
    await restarted.flush(5)
    await restarted.close()
    assert (await outbox.counts()).delivered == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>log in</html>", {"content-type": "text/html"}),
        Answer(202),
        Answer(302, headers={"location": "http://127.0.0.1:9/"}),
        Answer(404),
        Answer(200, b"\xff\xff"),
    ],
    ids=["login page", "accepted for later", "redirect", "not found", "garbled"],
)
async def test_an_answer_that_is_no_receipt_is_no_delivery(outbox, collector, answer):
    def odd(spans):
        raise answer

    collector.rule = odd
    await append(outbox, "a")
    delivery = sender(outbox, collector.endpoint)
    assert not await delivery.flush(0.4)
    collector.rule = lambda spans: spans
    assert await delivery.flush(5)
    await delivery.close()
    assert collector.accepted == ["a"]


async def test_a_slow_endpoint_is_given_up_and_tried_again(outbox, collector):
    answers = iter([Answer(200, delay_s=3)])

    def slow_once(spans):
        for answer in answers:
            raise answer
        return spans

    collector.rule = slow_once
    await append(outbox, "a")
    delivery = sender(outbox, collector.endpoint, timeout_s=0.3, lease_s=5)
    started = time.monotonic()
    await asyncio.sleep(0)
    assert await delivery.flush(5)
    assert time.monotonic() - started < 2.5
    await delivery.close()


async def test_closing_amid_a_request_gives_the_charges_back_at_once(outbox, path, collector):
    def slow(spans):
        raise Answer(200, delay_s=1.0)

    collector.rule = slow
    await append(outbox, "a")
    delivery = sender(outbox, collector.endpoint)
    delivery.start()
    await until(lambda: collector.posts)
    await delivery.close()
    other = Outbox(path, fsync=False)
    assert [row.charge_id for row in await other.pending(10)] == ["a"]
    await other.close()


async def test_partial_success_in_json_counts_too(outbox, collector):
    def in_json(spans):
        raise Answer(200, b'{"partialSuccess":{"rejectedSpans":"1"}}', {"content-type": "application/json"})

    collector.rule = in_json
    await append(outbox, "a")
    delivery = sender(outbox, collector.endpoint)
    assert await delivery.flush(5)
    await delivery.close()
    assert (await outbox.counts()).rejected == 1


async def test_a_warning_without_rejected_spans_is_a_delivery(outbox, collector):
    def warns(spans):
        raise Answer(200, partial_success(0, "attribute names are deprecated"))

    collector.rule = warns
    await append(outbox, "a")
    delivery = sender(outbox, collector.endpoint)
    assert await delivery.flush(5)
    await delivery.close()
    assert (await outbox.counts()).delivered == 1


async def test_several_workers_share_a_file_and_send_each_charge_once(path, collector):
    workers = [Outbox(path, fsync=False) for _ in range(3)]
    deliveries = [sender(worker, collector.endpoint) for worker in workers]
    for delivery in deliveries:
        delivery.start()
    expected = {f"{number}-{worker}" for number in range(60) for worker in range(3)}
    await asyncio.gather(
        *(append(box, *(f"{number}-{worker}" for number in range(60))) for worker, box in enumerate(workers))
    )
    assert await deliveries[0].flush(10)
    for delivery, worker in zip(deliveries, workers, strict=True):
        await delivery.close()
        await worker.close()
    assert set(collector.accepted) == expected
    assert len(collector.accepted) == len(expected)


def gateway(path, endpoint, done):
    """A gateway process that appends and delivers until it is killed."""

    async def traffic():
        outbox = Outbox(path)
        delivery = sender(outbox, endpoint, timeout_s=1, lease_s=2)  # a dead worker's claim ends in 2 s
        delivery.start()
        for number in itertools.count():
            charge_id = f"{outbox.instance[:6]}-{number}"
            await append(outbox, charge_id)
            done.send(charge_id)
            await asyncio.sleep(0.001)

    asyncio.run(traffic())


def test_after_kill_9_the_next_process_delivers_what_was_left(path, collector):
    def slowly(spans):
        time.sleep(0.05)
        return spans

    collector.rule = slowly
    promised = set()
    for _ in range(2):
        reading, writing = spawn.Pipe(duplex=False)
        worker = spawn.Process(target=gateway, args=(path, collector.endpoint, writing))
        worker.start()
        writing.close()
        promised.add(reading.recv())
        deadline = time.monotonic() + 10
        before = len(collector.posts)
        while len(collector.posts) < before + 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        worker.kill()  # amid a POST, most likely: each takes 50 ms
        worker.join(timeout=30)
        try:
            while True:
                promised.add(reading.recv())
        except EOFError:
            pass

    async def restart():
        outbox = Outbox(path)
        delivery = sender(outbox, collector.endpoint)
        assert await delivery.flush(30)
        await delivery.close()
        counts = await outbox.counts()
        await outbox.close()
        return counts

    counts = asyncio.run(restart())
    assert len(promised) > 20
    assert promised <= set(collector.accepted)
    assert (counts.pending, counts.rejected) == (0, 0)
    assert counts.delivered == len(set(collector.accepted))
    assert counts.cost_nano == 5 * counts.delivered
