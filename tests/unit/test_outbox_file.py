"""The outbox keeps every charge once, through crashes and between workers."""

import asyncio
import multiprocessing
import os
import random
import sqlite3
import threading
import time

import pytest

from farthing.telemetry import outbox_file, sqlite_file
from farthing.telemetry.outbox import Outbox, OutboxError
from farthing.telemetry.outbox_file import Entry

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


async def test_a_file_that_somebody_locks_fails_its_appends_together_and_not_one_after_another(
    outbox, path, monkeypatch
):
    monkeypatch.setattr(outbox_file, "WAIT_S", 0.3)
    backup = sqlite3.connect(path, isolation_level=None)
    backup.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    appends = (outbox.append(f"c{number}", 1, b"x", sequence=number) for number in range(1, 21))
    found = await asyncio.gather(*appends, return_exceptions=True)
    assert all(isinstance(error, OutboxError) for error in found)
    assert time.monotonic() - began < 3, "twenty waits of 0.3 s are six seconds"
    backup.close()
    await fill(outbox, "c1")
    assert (await outbox.counts()).pending == 1


async def test_what_is_done_every_few_seconds_does_not_read_a_week_of_deliveries(path):
    """It is done under the lock that every worker's append needs."""
    rows = 5_000
    db = outbox_file.open_file(path, fsync=False)
    sqlite_file.write(
        db, 1.0, lambda db: outbox_file.add(db, [Entry(f"c{n}", "i", n, 1, b"x" * 500) for n in range(rows)])
    )
    now = time.time()
    db.execute("UPDATE charges SET state = 'delivered', closed_at = ?", (now,))
    db.execute("UPDATE charges SET appended_at = appended_at + 100 WHERE row > ?", (rows - 3,))
    steps = []
    db.set_progress_handler(lambda: steps.append(1), 100)
    assert outbox_file.counts(db).oldest_s == 0
    assert outbox_file.prune(db, 3600, 10) == 0
    assert len(outbox_file.page(db, now + 50, 0, 10)[1]) == 3
    assert len(outbox_file.page(db, now - 50, rows - 2, 10)[1]) == 2
    assert outbox_file.prune_early(db, now + 50, 10) == 10
    assert len(steps) < 30, "each row that is looked at takes several steps"
    db.close()


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


@pytest.mark.parametrize(
    ("fsync", "level"), [("always", 2), ("interval", 1), ("off", 1), (True, 2), (False, 1)]
)
async def test_fsync_chooses_what_a_charge_survives(path, fsync, level):
    outbox = Outbox(path, fsync=fsync)
    found = await outbox._worker.ask(lambda db: db.execute("PRAGMA synchronous").fetchone()[0])
    assert found == level  # SQLite: 2 is FULL, 1 is NORMAL
    await outbox.close()


async def test_on_an_interval_the_log_is_synced_soon_after_an_append_and_not_without_one(path, monkeypatch):
    synced = []

    def fdatasync(descriptor):
        synced.append((time.monotonic(), os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr("farthing.telemetry.outbox_sync.os.fdatasync", fdatasync)
    outbox = Outbox(path, fsync="interval", fsync_ms=50)
    await asyncio.sleep(0.2)
    before = len(synced)
    asked = time.monotonic()
    await fill(outbox, *"abc")
    returned = time.monotonic()
    async with asyncio.timeout(10):
        while len(synced) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    at, name = synced[-1]
    assert name == f"{path}-wal"
    assert at - asked >= 0.05
    assert at >= returned, "an append does not wait for the disk"
    await outbox.close()
    assert len(synced) <= before + 3, "three appends share a sync; closing has the last"


async def test_an_append_at_once_runs_on_the_callers_thread_and_waits_for_nobody(path):
    outbox, other = Outbox(path, fsync="off"), Outbox(path, fsync="off")
    threads = []
    outbox.on_append(lambda: threads.append(threading.current_thread().name))
    await fill(outbox, "a")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # another worker is writing
    waiting = asyncio.create_task(fill(outbox, "b"))
    await asyncio.sleep(0.05)
    assert not waiting.done(), "and the event loop goes on meanwhile"
    blocker.execute("COMMIT")
    blocker.close()
    await waiting
    assert threads == ["MainThread", "farthing-outbox"]
    assert ids(await other.pending(10)) == ["a", "b"]
    await outbox.close()
    await other.close()


async def test_appends_at_once_do_not_let_the_log_grow_without_end(path):
    outbox = Outbox(path, fsync="off")
    for number in range(4000):
        await outbox.append(f"c{number}", 1, bytes(2000), sequence=number)
    written = 4000 * 5 * 4120  # pages of each append, at least
    assert path.with_name(f"{path.name}-wal").stat().st_size < written / 2
    await outbox.close()


def append_until_killed(path, name, fsync, done):
    async def traffic():
        outbox = Outbox(path, fsync=fsync)
        while True:
            number = outbox.next_sequence()
            await outbox.append(f"{name}-{number}", number, b"x" * 500, sequence=number)
            done.send((f"{name}-{number}", number))

    asyncio.run(traffic())


@pytest.mark.parametrize("fsync", ["always", "interval"])
def test_kill_9_amid_appends_loses_no_charge_that_was_acknowledged(path, fsync):
    pipes, workers = [], []
    for name in ("p", "q"):
        reading, writing = spawn.Pipe(duplex=False)
        workers.append(spawn.Process(target=append_until_killed, args=(path, name, fsync, writing)))
        workers[-1].start()
        writing.close()
        pipes.append(reading)
    acknowledged = {pipe.recv() for pipe in pipes for _ in range(random.randint(15, 40))}
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
