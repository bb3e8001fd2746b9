"""Many proxy workers on one store: real processes and threads, real races, real kill -9."""

import asyncio
import itertools
import multiprocessing
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from farthing.credits import InsufficientCreditsError, StoreError, open_store
from tests.unit.credit_backends import BACKENDS, Clock, account

ANA = account("ana")
spawn = multiprocessing.get_context("spawn")


@pytest.fixture(params=sorted(BACKENDS))
def url(request, tmp_path):
    return BACKENDS[request.param](tmp_path)


async def race(store, name, attempts):
    """Hold and settle at random on one balance; return how often it was refused, and what was spent."""
    refused = spent = 0
    for number in range(attempts):
        hold_id, amount = f"{name}:{number}", random.randint(1, 400)
        try:
            held = await store.hold(hold_id, ANA, amount, ttl_s=600)
        except InsufficientCreditsError:
            refused += 1
            continue
        assert held.available >= 0, "two calls took the same money"
        await asyncio.sleep(random.uniform(0, 0.002))
        if random.random() < 0.6:
            await store.release(hold_id)
        else:
            part = random.randint(0, min(amount, 20))
            assert (await store.settle(hold_id, ANA, part)).available >= 0
            spent += part
    return refused, spent


def racing_process(url, name, threads, attempts, results):
    store = open_store(url)
    with ThreadPoolExecutor(threads) as pool:
        runs = [
            pool.submit(lambda t=t: asyncio.run(race(store, f"{name}:{t}", attempts))) for t in range(threads)
        ]
        found = [run.result() for run in runs]
    asyncio.run(store.close())
    results.put((sum(refused for refused, _ in found), sum(spent for _, spent in found)))


def test_racing_processes_and_threads_never_spend_the_same_money_twice(url):
    async def prepare():
        store = open_store(url)
        await store.grant("g", ANA, 2_000)
        await store.close()

    async def inspect():
        store = open_store(url)
        balance, wrong = await store.balance(ANA), await store.verify()
        await store.close()
        return balance, wrong

    asyncio.run(prepare())
    results = spawn.Queue()
    workers = [
        spawn.Process(target=racing_process, args=(url, f"p{number}", 4, 60, results)) for number in range(3)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=30)
        assert worker.exitcode == 0

    balance, wrong = asyncio.run(inspect())
    assert wrong == []
    assert balance.settled == sum(spent for _, spent in found)
    assert balance.held == 0
    assert balance.available >= 0
    assert sum(refused for refused, _ in found) > 0, "the balance was never tight: the race proved nothing"


def open_at_once(url, start, results):
    start.wait()
    try:
        asyncio.run(open_store(url).close())
        results.put("")
    except StoreError as error:
        results.put(str(error))


def test_workers_that_start_together_can_all_create_the_file(url):
    start, results = spawn.Event(), spawn.Queue()
    workers = [spawn.Process(target=open_at_once, args=(url, start, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    start.set()
    assert [results.get(timeout=60) for _ in workers] == [""] * 4
    for worker in workers:
        worker.join(timeout=30)


def endless_traffic(url, name, settled):
    """Hold, settle and release until killed; report each settling that was answered."""

    async def traffic():
        store = open_store(url)
        for number in itertools.count():
            hold_id = f"{name}:{number}"
            await store.hold(hold_id, ANA, 50, ttl_s=600)
            if number % 3:
                await store.settle(hold_id, ANA, 7)
                settled.send(hold_id)
            else:
                await store.release(hold_id)

    asyncio.run(traffic())


def test_kill_9_amid_traffic_leaves_a_sound_store_with_every_answered_settling(url):
    async def prepare():
        store = open_store(url)
        await store.grant("g", ANA, 10**12)
        await store.close()

    async def inspect(answered):
        store = open_store(url)
        assert await store.verify() == []
        before = await store.balance(ANA)
        for hold_id in answered:  # settled already: repeating it changes nothing
            await store.settle(hold_id, ANA, 7)
        assert (await store.balance(ANA)).settled == before.settled
        await store.close()

    asyncio.run(prepare())
    answered = set()
    for attempt in range(3):
        pipes, workers = [], []
        for number in range(2):
            reading, writing = spawn.Pipe(duplex=False)
            workers.append(spawn.Process(target=endless_traffic, args=(url, f"{attempt}.{number}", writing)))
            workers[-1].start()
            writing.close()
            pipes.append(reading)
        for pipe in pipes:
            answered.add(pipe.recv())
        time.sleep(random.uniform(0.05, 0.2))
        for worker in workers:
            worker.kill()
            worker.join(timeout=30)
        for pipe in pipes:
            try:
                while True:
                    answered.add(pipe.recv())
            except EOFError:
                pass
    assert len(answered) > 50
    asyncio.run(inspect(answered))


# SQLite's own ways to fail.


def sqlite_url(folder):
    return f"sqlite:///{folder / 'credits.db'}"


async def test_a_file_locked_for_too_long_is_a_store_error_and_changes_nothing(tmp_path):
    from farthing.credits.sqlite import SQLiteCreditStore

    store = SQLiteCreditStore(tmp_path / "credits.db", wait_s=0.1)
    await store.grant("g", ANA, 100)
    locking = sqlite3.connect(tmp_path / "credits.db", isolation_level=None)
    locking.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        await store.hold("h", ANA, 10, ttl_s=60)
    assert (await store.balance(ANA)).available == 100  # reading goes on beside a writer
    locking.execute("ROLLBACK")
    assert (await store.hold("h", ANA, 10, ttl_s=60)).held == 10
    locking.close()
    await store.close()


async def test_a_lock_held_for_a_moment_is_waited_for(tmp_path):
    store = open_store(sqlite_url(tmp_path))
    locking = sqlite3.connect(tmp_path / "credits.db", isolation_level=None, check_same_thread=False)
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


def test_a_file_that_is_no_credit_store_is_a_store_error(tmp_path):
    (tmp_path / "credits.db").write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(StoreError, match=r"credits\.db"):
        open_store(sqlite_url(tmp_path))
    with pytest.raises(StoreError, match=r"credits\.db"):
        open_store(f"sqlite:///{tmp_path / 'credits.db' / 'in-a-file' / 'x.db'}")


async def test_the_audit_names_what_does_not_add_up(tmp_path):
    store = open_store(sqlite_url(tmp_path))
    await store.grant("g", ANA, 100)
    await store.settle("s", ANA, 30)
    tampering = sqlite3.connect(tmp_path / "credits.db")
    tampering.execute("UPDATE accounts SET settled = 29")
    tampering.commit()
    (found,) = await store.verify()
    assert (found.user, found.total, found.kept, found.recomputed) == ("ana", "settled", 29, 30)
    tampering.close()
    await store.close()
    assert len(await store.verify()) == 1  # the audit also reads a store at rest


async def test_overdraft_is_what_no_live_hold_covered(tmp_path):
    clock = Clock()
    store = open_store(sqlite_url(tmp_path), clock=clock)
    await store.grant("g", ANA, 1000)
    await store.hold("expired", ANA, 50, ttl_s=5)
    clock.now += 6
    await store.settle("expired", ANA, 30)  # nobody looked in between: it ran out all the same
    await store.hold("covered", ANA, 50, ttl_s=60)
    await store.settle("covered", ANA, 40)
    await store.hold("exceeded", ANA, 50, ttl_s=60)
    await store.settle("exceeded", ANA, 65)
    await store.hold("released", ANA, 50, ttl_s=60)
    await store.release("released")
    await store.settle("released", ANA, 20)
    await store.settle("lost", ANA, 10)
    await store.close()
    reading = sqlite3.connect(tmp_path / "credits.db")
    overdrafts = dict(reading.execute("SELECT id, overdraft FROM holds").fetchall())
    reading.close()
    assert overdrafts == {"expired": 30, "covered": 0, "exceeded": 15, "released": 20, "lost": 10}
