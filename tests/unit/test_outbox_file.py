"""The outbox keeps every charge once, through crashes and between workers."""

import asyncio
import multiprocessing
import random
import sqlite3
import threading
import time

import pytest

from farthing.telemetry.outbox import Outbox, OutboxError

spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "outbox.db"


@pytest.fixture
async def outbox(path):
    opened = Outbox(path)
    yield opened
    assert totals_in_rows(path) == await opened.counts()
    await opened.close()


def totals_in_rows(path):
    """The counts, recomputed from the rows themselves."""
    from farthing.telemetry.outbox_file import Counts

    reading = sqlite3.connect(path)
    row = reading.execute(
        "SELECT coalesce(sum(state = 'pending'), 0), coalesce(sum(state = 'delivered'), 0),"
        " coalesce(sum(state = 'rejected'), 0), coalesce(sum(cost_nano), 0),"
        " coalesce(sum(cost_nano IS NULL), 0) FROM charges"
    ).fetchone()
    reading.close()
    return Counts(*row)


async def fill(outbox, *ids):
    for charge in ids:
        await outbox.append(charge, 10, f"span of {charge}".encode(), sequence=outbox.next_sequence())


def ids(rows):
    return [row.charge_id for row in rows]


async def test_a_charge_waits_until_it_is_delivered(outbox):
    await outbox.append("a", 1_500, b"span a", sequence=1)
    await outbox.append("b", None, b"span b", sequence=2)
    counts = await outbox.counts()
    assert (counts.pending, counts.delivered, counts.cost_nano, counts.unpriced) == (2, 0, 1_500, 1)
    rows = await outbox.pending(10)
    assert [(row.charge_id, row.payload) for row in rows] == [("a", b"span a"), ("b", b"span b")]
    await outbox.delivered(["a", "b"])
    counts = await outbox.counts()
    assert (counts.pending, counts.delivered, counts.cost_nano, counts.unpriced) == (0, 2, 1_500, 1)
    assert await outbox.pending(10) == []


async def test_a_charge_reported_twice_is_kept_once_as_it_was_first(outbox):
    await outbox.append("a", 1_500, b"first", sequence=1)
    await outbox.append("a", 9_999, b"second", sequence=2)
    assert [row.payload for row in await outbox.pending(10)] == [b"first"]
    await outbox.delivered(["a"])
    await outbox.append("a", 1_500, b"third", sequence=3)
    await outbox.delivered(["a", "unknown"])
    counts = await outbox.counts()
    assert (counts.pending, counts.delivered, counts.cost_nano) == (0, 1, 1_500)


async def test_two_workers_do_not_send_the_same_charges(outbox, path):
    other = Outbox(path)
    await fill(outbox, *"abcdef")
    mine, theirs = await outbox.pending(4), await other.pending(4)
    assert ids(mine) == list("abcd")
    assert ids(theirs) == list("ef")
    await outbox.release(["b", "a"])
    assert ids(await other.pending(10)) == list("ab")
    await other.close()


async def test_the_claim_of_a_dead_worker_ends(outbox, path):
    dying = Outbox(path)
    await fill(outbox, "a", "b")
    assert len(await dying.pending(10, lease_s=0.2)) == 2
    await outbox.renew(["b"], lease_s=60)
    await dying.close()
    assert await outbox.pending(10) == []
    await asyncio.sleep(0.25)
    assert ids(await outbox.pending(10)) == ["a"]


async def test_a_rejected_charge_is_kept_and_can_be_tried_again(outbox):
    await fill(outbox, "a", "b")
    await outbox.pending(10)
    await outbox.rejected(["a"])
    counts = await outbox.counts()
    assert (counts.pending, counts.rejected, counts.cost_nano) == (1, 1, 20)
    assert await outbox.retry_rejected() == 1
    assert ids(await outbox.pending(10)) == ["a"]
    await outbox.delivered(["a"])
    await outbox.rejected(["a"])  # what is in the ledger is not taken back
    assert (await outbox.counts()).delivered == 1


async def test_pruning_drops_old_deliveries_and_nothing_else(path):
    outbox = Outbox(path)
    await fill(outbox, *"abcd")
    await outbox.delivered(["a", "b"])
    await outbox.rejected(["c"])
    before = await outbox.counts()
    assert await outbox.prune(3600) == 0
    assert await outbox.prune(0, most=1) == 1
    assert await outbox.prune(0) == 1
    assert await outbox.counts() == before  # totals remember what the rows no longer say
    assert ids(await outbox.pending(10)) == ["d"]
    await outbox.close()


async def test_sequence_numbers_have_no_gap_whatever_thread_asks(outbox):
    found = []
    threads = [
        threading.Thread(target=lambda: found.extend(outbox.next_sequence() for _ in range(500)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 2001))


async def test_each_process_start_has_its_own_name_kept_with_the_charge(outbox, path):
    other = Outbox(path)
    await outbox.append("a", 1, b"a", sequence=outbox.next_sequence())
    await other.append("b", 1, b"b", sequence=other.next_sequence())
    assert outbox.instance != other.instance
    reading = sqlite3.connect(path)
    rows = reading.execute("SELECT charge_id, instance, sequence FROM charges ORDER BY row").fetchall()
    reading.close()
    await other.close()
    assert rows == [("a", outbox.instance, 1), ("b", other.instance, 1)]


async def test_appends_that_wait_together_share_a_commit(outbox):
    commits = []
    outbox.on_append(lambda: commits.append(1))
    await asyncio.gather(*(outbox.append(f"c{number}", 1, b"x", sequence=number) for number in range(1, 301)))
    assert (await outbox.counts()).pending == 300
    assert len(commits) < 100


async def test_one_bad_entry_does_not_fail_its_neighbours(outbox):
    good = [outbox.append(f"c{number}", 1, b"x", sequence=number) for number in range(20)]
    too_large = outbox.append("bad", 2**70, b"x", sequence=99)
    *fine, bad = await asyncio.gather(*good, too_large, return_exceptions=True)
    assert fine == [None] * 20
    assert isinstance(bad, OutboxError)
    assert (await outbox.counts()).pending == 20


async def test_a_listener_that_fails_does_not_stop_the_outbox(outbox):
    def fail():
        raise RuntimeError("listener")

    remove = outbox.on_append(fail)
    await fill(outbox, "a", "b")
    remove()
    await fill(outbox, "c")
    assert (await outbox.counts()).pending == 3


async def test_a_cancelled_request_still_leaves_its_charge(outbox):
    task = asyncio.create_task(outbox.append("a", 1, b"x", sequence=1))
    await asyncio.sleep(0)
    task.cancel()
    assert ids(await outbox.pending(10)) == ["a"]


@pytest.mark.parametrize(
    ("charge", "cost", "payload"), [("", 1, b"x"), ("a", 1, b""), ("a", -1, b"x"), ("a", 1.5, b"x")]
)
async def test_an_entry_that_is_no_charge_is_refused(outbox, charge, cost, payload):
    with pytest.raises(ValueError, match=r"outbox entry|nano-dollars"):
        await outbox.append(charge, cost, payload, sequence=1)


async def test_a_closed_outbox_says_so_and_keeps_what_it_had(path):
    outbox = Outbox(path)
    await fill(outbox, "a")
    await outbox.close()
    await outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        await outbox.append("b", 1, b"x", sequence=2)
    again = Outbox(path)
    assert ids(await again.pending(10)) == ["a"]
    await again.close()


def test_a_file_that_is_no_outbox_is_refused(tmp_path):
    (tmp_path / "outbox.db").write_bytes(b"something else entirely " * 200)
    with pytest.raises(OutboxError, match=r"outbox\.db"):
        Outbox(tmp_path / "outbox.db")


@pytest.mark.parametrize(("fsync", "level"), [(True, 2), (False, 1)])
async def test_fsync_chooses_what_a_charge_survives(path, fsync, level):
    outbox = Outbox(path, fsync=fsync)
    found = await outbox._ask(lambda db: db.execute("PRAGMA synchronous").fetchone()[0])
    assert found == level  # SQLite: 2 is FULL, 1 is NORMAL
    await outbox.close()


def append_until_killed(path, name, done):
    async def traffic():
        outbox = Outbox(path)
        while True:
            number = outbox.next_sequence()
            await outbox.append(f"{name}-{number}", number, b"x" * 500, sequence=number)
            done.send((f"{name}-{number}", number))

    asyncio.run(traffic())


def test_kill_9_amid_appends_loses_no_charge_that_was_acknowledged(path):
    pipes, workers = [], []
    for name in ("p", "q"):
        reading, writing = spawn.Pipe(duplex=False)
        workers.append(spawn.Process(target=append_until_killed, args=(path, name, writing)))
        workers[-1].start()
        writing.close()
        pipes.append(reading)
    acknowledged = {pipe.recv() for pipe in pipes}
    time.sleep(random.uniform(0.1, 0.2))
    for worker in workers:
        worker.kill()
        worker.join(timeout=30)
    for pipe in pipes:
        try:
            while True:
                acknowledged.add(pipe.recv())
        except EOFError:
            pass
    assert len(acknowledged) > 20

    async def inspect():
        outbox = Outbox(path)
        counts = await outbox.counts()
        kept = set(ids(await outbox.pending(10**6)))
        await outbox.close()
        return counts, kept

    counts, kept = asyncio.run(inspect())
    assert {charge for charge, _ in acknowledged} <= kept
    assert len(kept) - len(acknowledged) <= 2  # at most the one each was about to report
    assert counts == totals_in_rows(path)
