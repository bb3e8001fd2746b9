"""What is asked of an SQLite store while another process writes: it waits in order and is done together."""

import asyncio
import sqlite3

import pytest

from farthing.credits import InsufficientCreditsError, StoreError
from farthing.credits.sqlite import SQLiteCreditStore
from farthing.credits.store import MAX_AMOUNT
from tests.unit.credit_backends import Clock, payer

ANA, BEN = payer("ana"), payer("ben")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(tmp_path, clock):
    opened = SQLiteCreditStore(tmp_path / "credits.db", clock=clock)
    await opened.grant("g", "user:ana", 1000, department="research")
    yield opened
    assert await opened.verify() == []
    await opened.close()


@pytest.fixture
def another(tmp_path, store):
    """Another process's connection."""
    db = sqlite3.connect(tmp_path / "credits.db", isolation_level=None)
    yield db
    db.close()


async def queued(another, *asked):
    """Ask for all while the other writes, then let it end."""
    another.execute("BEGIN IMMEDIATE")
    tasks = [asyncio.ensure_future(one) for one in asked]
    await asyncio.sleep(0.02)
    assert not any(task.done() for task in tasks)
    another.execute("ROLLBACK")
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_steps_are_done_in_the_order_they_were_asked_for(store, another):
    held, standing, settled, refused, again = await queued(
        another,
        store.hold("h", ANA, 900, ttl_s=60),
        store.standing(ANA),
        store.settle("h", ANA, 950),
        store.hold("too much", ANA, 51, ttl_s=60),
        store.hold("fits", ANA, 50, ttl_s=60),
    )
    assert (held.available, standing.available, settled.standing.available, again.available) == (
        100,
        100,
        50,
        0,
    )
    assert isinstance(refused, InsufficientCreditsError)
    assert refused.available == 50


async def test_a_step_that_fails_takes_none_of_the_others_with_it(store, another):
    for number in range(9):  # 9.2e18 is the most that 64 bits hold
        await store.settle(f"big {number}", payer("cy", "sales"), MAX_AMOUNT)
    first, foreign, overflowing, last = await queued(
        another,
        store.hold("h", ANA, 100, ttl_s=60),
        store.settle("h", BEN, 1),
        store.settle("one too many", payer("di", "law"), MAX_AMOUNT),
        store.hold("g", ANA, 300, ttl_s=60),
    )
    assert (first.available, last.available) == (900, 600)
    assert isinstance(foreign, ValueError)
    assert isinstance(overflowing, StoreError)
    known = {one.account for one in await store.balances()}
    assert not known & {"user:ben", "user:di", "department:law"}
    assert await store.unsettled(["one too many"]) == {"one too many"}


async def test_a_step_whose_caller_has_gone_is_done_all_the_same(store, another):
    going = asyncio.ensure_future(store.settle("h", ANA, 70))

    async def leave():
        going.cancel()
        await store.hold("other", ANA, 0, ttl_s=60)

    another.execute("BEGIN IMMEDIATE")
    await asyncio.sleep(0.01)
    leaving = asyncio.ensure_future(leave())
    await asyncio.sleep(0.01)
    another.execute("ROLLBACK")
    await leaving
    assert going.cancelled()
    assert (await store.standing(ANA)).available == 930


async def test_many_leases_that_end_together_are_given_back_before_the_next_step(store, clock):
    for number in range(1000):
        await store.hold(f"h{number}", ANA, 1, ttl_s=60)
    clock.now += 60
    assert (await store.hold("all", ANA, 1000, ttl_s=60)).balance.held == 1000


async def test_a_busy_file_does_not_grow_without_end(store, tmp_path, monkeypatch):
    monkeypatch.setattr("farthing.credits.sqlite.worker._STEPS_A_CHECKPOINT", 50)
    for number in range(600):
        await store.settle(f"s{number}", ANA, 1)
        if number % 50 == 0:
            await asyncio.sleep(0.01)
    assert (tmp_path / "credits.db-wal").stat().st_size < 600 * 10 * 4096 / 2
