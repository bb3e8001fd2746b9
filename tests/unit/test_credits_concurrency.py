"""Many proxy workers on one store: real processes, real races, real kill -9. Runs on each backend."""

import asyncio
import itertools
import random
import time
from collections import Counter

import pytest

from farthing.credits import InsufficientCreditsError, StoreError, open_store
from farthing.credits.store import CallNote, RunCaps
from tests.unit.credit_backends import BACKENDS, payer
from tests.workers import workers

USERS = ("ana", "eve", "zoe", "kim")
SESSION_CAP = 2_500
BUDGET = 30_000


def run_all(target, arguments, within_s=120):
    """Run the target once for each tuple of arguments, at the same time; return what each one sent."""
    found, processes = workers.SimpleQueue(), []
    for given in arguments:
        processes.append(workers.Process(target=report, args=(target, given, found), daemon=True))
        processes[-1].start()
    deadline = time.monotonic() + within_s
    answers = []
    for process in processes:
        while found.empty():
            assert time.monotonic() < deadline, "a worker did not answer in time"
            assert process.exitcode in (None, 0), "a worker failed"
            time.sleep(0.005)
        answers.append(found.get())
    for process in processes:
        process.join(timeout=30)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


def report(target, arguments, found):
    try:
        found.put(target(*arguments))
    except BaseException as error:
        found.put(AssertionError(f"{type(error).__name__}: {error}"))


async def with_store(url, work, **options):
    store = open_store(url, **options)
    try:
        return await work(store)
    finally:
        await store.close()


def later(seconds):
    return lambda: time.time() + seconds


# Races


async def race(store, name, calls, spent):
    """Make calls at random: settled, settled twice, released, or left behind as by a crash."""
    for number in range(calls):
        user = random.choice(USERS)
        who = payer(user, session=f"{user}'s {random.randrange(4)}")
        hold_id, amount = f"{name}:{number}", random.randint(1, 300)
        if not (await store.enter(who, RunCaps(cost=SESSION_CAP), "m")).entered:
            spent["stopped"] += 1
            continue
        end = random.random()
        try:
            held = await store.hold(hold_id, who, amount, ttl_s=600 if end < 0.95 else 0.3)
        except InsufficientCreditsError:
            spent["refused"] += 1
            continue
        assert held.available >= 0, "two calls took the same money"
        await asyncio.sleep(random.uniform(0, 0.002))
        if end < 0.35:
            await store.release(hold_id)
        elif end < 0.95:
            real = random.randint(0, min(amount, 20))
            done = await store.settle(hold_id, who, real, CallNote("fast"))
            assert (done.overdraft, done.again) == (0, False)
            assert done.standing.available >= 0
            if end > 0.8:
                assert (await store.settle(hold_id, who, amount)).again
            spent[user] += real
            spent[who.session_id] += real
            spent["settled"] += 1


def racing_process(url, name, tasks, calls):
    spent = Counter()

    async def work(store):
        await asyncio.gather(*(race(store, f"{name}.{task}", calls, spent) for task in range(tasks)))

    asyncio.run(with_store(url, work))
    return spent


def test_ten_thousand_racing_calls_overspend_nothing(url):
    async def prepare(store):
        await store.plan("department:research", BUDGET)
        await store.plan("organisation:", 10**9)
        for user in USERS:
            await store.grant(user, f"user:{user}", BUDGET * 3 // 10, department="research")

    async def inspect(store):
        return await store.balances(), await store.verify(), await store.runs(since_ms=0)

    asyncio.run(with_store(url, prepare))
    found = run_all(racing_process, [(url, f"p{number}", 5, 500) for number in range(4)])
    spent = sum(found, Counter())
    during, wrong, _ = asyncio.run(with_store(url, inspect))
    assert wrong == []
    for balance in during:
        assert balance.overdraft == 0
        assert not balance.limited or balance.settled + balance.held <= balance.granted - balance.expired
    # The leases of what was left behind have ended: nothing is lost to them.
    after, wrong, runs = asyncio.run(with_store(url, inspect, clock=later(10)))
    assert wrong == []
    settled = {balance.account: balance.settled for balance in after}
    assert {balance.account: balance.held for balance in after} == dict.fromkeys(settled, 0)
    assert settled["organisation:"] == settled["department:research"] == sum(spent[user] for user in USERS)
    for user in USERS:
        assert settled[f"user:{user}"] == settled[f"key:{user}-key"] == spent[user]
    for run in runs:
        assert (run.settled, run.held) == (spent[run.session_id], 0)
        assert run.settled <= SESSION_CAP
    assert spent["settled"] > 500
    assert spent["refused"] > 500, "the money was never tight: the race proved nothing"


async def take_five(store, name, attempts, taken):
    for number in range(attempts):
        try:
            await store.hold(f"{name}:{number}", payer("ana"), 5, ttl_s=600)
            taken.append(name)
        except InsufficientCreditsError:
            continue


def taking_process(url, name, start):
    taken = []

    async def work(store):
        await store.standing(payer("ana"))
        await asyncio.sleep(max(0, start - time.time()))
        await asyncio.gather(*(take_five(store, f"{name}.{task}", 1, taken) for task in range(10)))

    asyncio.run(with_store(url, work))
    return len(taken)


def test_fifty_at_once_from_five_processes_for_five_each_on_a_hundred_are_twenty(url):
    async def prepare(store):
        await store.grant("g", "user:ana", 100, department="research")

    async def inspect(store):
        return (await store.standing(payer("ana"))).balance

    asyncio.run(with_store(url, prepare))
    start = time.time() + 0.5
    taken = run_all(taking_process, [(url, f"p{number}", start) for number in range(5)])
    assert sum(taken) == 20
    balance = asyncio.run(with_store(url, inspect))
    assert (balance.held, balance.available) == (100, 0)


def opening_process(url, start):
    async def work(store):
        return await store.balances()

    time.sleep(max(0, start - time.time()))
    return asyncio.run(with_store(url, work))


def test_workers_that_start_together_can_all_open_the_store(url):
    start = time.time() + 0.5
    assert run_all(opening_process, [(url, start)] * 6) == [[]] * 6


# kill -9


def endless_traffic(url, name, answered):
    """Hold, settle and release until killed; tell of each settling that was answered."""

    async def one(store, task):
        who = payer(random.choice(USERS), session=f"s{task}")
        for number in itertools.count():
            hold_id = f"{name}.{task}:{number}"
            await store.hold(hold_id, who, 50, ttl_s=600)
            if number % 3:
                await store.settle(hold_id, who, 7)
                answered.send((hold_id, who.account.user))
            else:
                await store.release(hold_id)

    async def work(store):
        await asyncio.gather(*(one(store, task) for task in range(3)))

    asyncio.run(with_store(url, work))


def test_kill_9_amid_traffic_leaves_a_sound_store_with_every_answered_settling(url):
    async def prepare(store):
        for user in USERS:
            await store.grant(user, f"user:{user}", 10**12, department="research")
        await store.plan("department:research", 10**12)

    async def inspect(store):
        assert await store.verify() == []
        root, *_ = await store.balances()
        for hold_id, user in answered.items():
            assert (await store.settle(hold_id, payer(user), 7)).again
        assert (await store.balances())[0].settled == root.settled
        return root

    async def inspect_later(store):
        assert await store.verify() == []
        for balance in await store.balances():
            assert (balance.held, balance.overdraft) == (0, 0)
            assert balance.available >= 0 or not balance.limited

    asyncio.run(with_store(url, prepare))
    answered = {}
    for attempt in range(10):
        pipes, processes = [], []
        for number in range(2):
            reading, writing = workers.Pipe(duplex=False)
            processes.append(
                workers.Process(target=endless_traffic, args=(url, f"{attempt}.{number}", writing))
            )
            processes[-1].start()
            writing.close()
            pipes.append(reading)
        answered |= [pipe.recv() for pipe in pipes]
        time.sleep(random.uniform(0, 0.08))
        for process in processes:
            process.kill()
            process.join(timeout=30)
        for pipe in pipes:
            try:
                while True:
                    answered |= [pipe.recv()]
            except EOFError:
                pass
    assert len(answered) > 100
    root = asyncio.run(with_store(url, inspect))
    assert root.settled % 7 == 0
    assert root.settled >= 7 * len(answered)
    asyncio.run(with_store(url, inspect_later, clock=later(601)))


# A store that fails


def test_a_store_that_cannot_be_reached_says_so(tmp_path):
    """Nothing listens there, and no folder can be made there."""
    (tmp_path / "file").write_text("")
    for url in ("redis://127.0.0.1:1/0", f"sqlite:///{tmp_path / 'file' / 'credits.db'}"):
        with pytest.raises(StoreError, match="credit store"):
            asyncio.run(with_store(url, lambda store: store.hold("h", payer("ana"), 1, 60)))


def test_the_backends_are_two():
    assert set(BACKENDS) == {"sqlite", "redis"}
