"""SQLite's own ways to fail: a locked file, a full disk, a file that is none, a file somebody wrote to."""

import asyncio
import resource
import sqlite3
import threading
import time

import pytest

from farthing.credits import StoreError, open_store
from farthing.credits.sqlite import SQLiteCreditStore
from tests.unit.credit_backends import payer
from tests.workers import workers

ANA = payer("ana")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "credits.db"


@pytest.fixture
async def store(path):
    opened = SQLiteCreditStore(path, wait_s=0.1)
    await opened.grant("g", "user:ana", 1000, department="research")
    yield opened
    await opened.close()


async def available(store) -> int:
    return (await store.standing(ANA)).balance.available


async def test_a_file_locked_for_too_long_is_a_store_error_and_changes_nothing(store, path):
    locking = sqlite3.connect(path, isolation_level=None)
    locking.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        await store.hold("h", ANA, 10, ttl_s=60)
    assert await available(store) == 1000  # reading goes on beside a writer
    locking.execute("ROLLBACK")
    assert (await store.hold("h", ANA, 10, ttl_s=60)).balance.held == 10
    locking.close()


async def test_a_lock_held_for_a_moment_is_waited_for_without_stopping_the_loop(path):
    store = open_store(f"sqlite:///{path}")
    locking = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    locking.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, lambda: locking.execute("ROLLBACK")).start()
    longest = 0.0
    holding = asyncio.create_task(store.hold("h", ANA, 0, ttl_s=60))
    while not holding.done():
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - before)
    await holding
    assert longest < 0.1, "the event loop waited for the file"
    locking.close()
    await store.close()


def filling_up(path, found):
    """Let the disk fill up amid settlements: a limit on the size of any file this process writes."""

    async def work():
        store = open_store(f"sqlite:///{path}")
        await store.grant("g", "user:ana", 10**9, department="research")
        await store.hold("held", ANA, 500, ttl_s=600)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        wal = path.with_name(path.name + "-wal")
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 50_000, hard))
        done, error = 0, ""
        while not error:
            try:
                await store.settle(f"s{done}", ANA, 3)
                done += 1
            except StoreError as full:
                error = str(full)
        missed = f"s{done}"
        told = [error]
        for step in (store.settle("held", ANA, 400), store.hold("more", ANA, 5, 60), store.release("held")):
            try:
                await step
                told.append("it was done")
            except StoreError as full:
                told.append(str(full))
        full_balance = (await store.standing(ANA)).balance
        unsettled = await store.unsettled([missed, "held", "s0"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        settled = [await store.settle(hold_id, ANA, 3) for hold_id in (missed, "held")]
        answer = (
            done,
            told,
            full_balance,
            unsettled,
            [one.overdraft for one in settled],
            await store.verify(),
        )
        await store.close()
        return answer

    try:
        found.put(asyncio.run(work()))
    except BaseException as error:
        found.put(repr(error))


def test_a_full_disk_is_a_store_error_and_changes_nothing(path):
    found = workers.Queue()
    process = workers.Process(target=filling_up, args=(path, found), daemon=True)
    process.start()
    answer = found.get(timeout=60)
    process.join(timeout=30)
    assert not isinstance(answer, str), answer
    done, told, balance, unsettled, overdrafts, wrong = answer
    assert done > 0
    assert "it was done" not in told
    assert (balance.settled, balance.held) == (3 * done, 500)
    assert unsettled == {f"s{done}", "held"}
    assert overdrafts == [3, 0]  # the hold was still there to cover its call
    assert wrong == []


def test_a_file_that_is_no_credit_store_is_a_store_error(path):
    path.write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(StoreError, match=r"credits\.db"):
        open_store(f"sqlite:///{path}")


@pytest.mark.parametrize(
    ("damage", "total", "kept", "recomputed"),
    [
        ("UPDATE accounts SET settled = settled - 1 WHERE id = 'user:ana'", "settled", 29, 30),
        ("UPDATE accounts SET granted = granted + 5 WHERE id = 'user:ana'", "granted", 1005, 1000),
        ("UPDATE accounts SET held = held - 20 WHERE id = 'user:ana'", "held", 0, 20),
        (
            "INSERT INTO spending (account, day, tier, settled, overdraft, calls)"
            " VALUES ('user:ana', '2020-01-01', 'fast', 7, 0, 1)",
            "spending",
            7,
            0,
        ),
    ],
)
async def test_the_audit_names_what_does_not_add_up(store, path, damage, total, kept, recomputed):
    await store.settle("s", ANA, 30)
    await store.hold("h", ANA, 20, ttl_s=60)
    assert await store.verify() == []
    tampering = sqlite3.connect(path)
    tampering.execute(damage)
    tampering.commit()
    tampering.close()
    found = {(one.account, one.total): (one.kept, one.recomputed) for one in await store.verify()}
    assert found["user:ana", total] == (kept, recomputed)
    assert {account for account, _ in found} == {"user:ana"}
