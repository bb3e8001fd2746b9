"""Redis' own ways to fail: away, frozen, restarted, emptied, full, demoted, written to by others."""

import asyncio
import json
import signal
import time

import pytest

from farthing.credits import StoreError, open_store
from farthing.credits.redis import initialise
from tests.unit.credit_backends import RedisServer, finished, payer, shared_redis

ANA = payer("ana")
KEPT = ("--save", "", "--appendonly", "yes", "--appendfsync", "everysec")


@pytest.fixture
def server():
    """A server of this test alone, which keeps what it is told on disk; made a credit store."""
    own = RedisServer(*KEPT)
    own.start()
    finished(initialise(own.url))
    yield own
    own.end()


@pytest.fixture
async def store(server):
    opened = open_store(server.url)
    await opened.grant("g", "user:ana", 1000, department="research")
    await opened.hold("h", ANA, 100, ttl_s=600)
    yield opened
    await opened.close()


async def held_and_left(store) -> tuple[int, int]:
    balance = (await store.standing(ANA)).balance
    return balance.held, balance.available


async def test_a_redis_that_was_killed_is_a_store_error_until_it_is_back_and_remembers(server, store):
    await store.settle("s", ANA, 70)
    server.kill()
    for step in (store.hold("h2", ANA, 1, 60), store.settle("h", ANA, 50), store.standing(ANA)):
        began = time.monotonic()
        with pytest.raises(StoreError, match=str(server.port)):
            await step
        assert time.monotonic() - began < 3
    server.start()
    assert await held_and_left(store) == (100, 830)
    settled = await store.settle("h", ANA, 50)
    assert (settled.overdraft, settled.again) == (0, False)
    assert (await store.settle("s", ANA, 70)).again
    assert await store.verify() == []


async def test_a_redis_that_does_not_answer_is_a_store_error(server, store):
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(StoreError):
        await store.settle("h", ANA, 60)
    assert time.monotonic() - began < 5
    server.signal(signal.SIGCONT)
    # Whether the step was done nobody knows; its id makes a second one harmless.
    await store.settle("h", ANA, 60)
    assert await held_and_left(store) == (0, 940)
    assert await store.verify() == []


async def test_a_redis_that_comes_back_empty_spends_nothing(server, store):
    server.client.flushall()
    for step in (store.hold("h2", ANA, 1, 60), store.standing(ANA), store.grant("g", "user:ana", 1000)):
        with pytest.raises(StoreError, match="no credit store"):
            await step
    fresh = open_store(server.url)
    with pytest.raises(StoreError, match="farthing credits init"):
        await fresh.grant("g", "user:ana", 1000)
    await fresh.close()
    assert server.client.dbsize() == 0


async def test_another_store_in_its_place_is_not_taken_for_it(server, store):
    server.client.flushall()
    await initialise(server.url)
    with pytest.raises(StoreError, match="another store"):
        await store.grant("g", "user:ana", 1000)
    with pytest.raises(StoreError, match="another store"):
        await store.hold("h2", ANA, 0, 60)


async def test_a_store_is_made_once(server, store):
    with pytest.raises(StoreError, match="already"):
        await initialise(server.url)
    server.client.delete("{farthing}:store")
    with pytest.raises(StoreError, match="backup"):
        await initialise(server.url)
    with pytest.raises(StoreError):
        await initialise("redis://127.0.0.1:1/0")


async def test_a_redis_that_throws_keys_away_is_refused(server):
    server.client.flushall()
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(StoreError, match="noeviction"):
        await initialise(server.url)
    server.client.config_set("maxmemory-policy", "noeviction")
    await initialise(server.url)
    server.client.config_set("maxmemory-policy", "allkeys-lru")
    fresh = open_store(server.url)
    with pytest.raises(StoreError, match="noeviction"):
        await fresh.standing(ANA)
    await fresh.close()


async def refused_and_then_done(store, begin, end) -> None:
    """Nothing changes while Redis refuses to write, and all goes on once it does not."""
    before = await held_and_left(store)
    begin()
    for step in (
        store.hold("h2", ANA, 1, 60),
        store.settle("h", ANA, 50),
        store.release("h"),
        store.grant("g", "user:ana", 5),
    ):
        with pytest.raises(StoreError):
            await step
    end()
    assert await held_and_left(store) == before
    assert (await store.settle("h", ANA, 50)).overdraft == 0
    assert await held_and_left(store) == (0, 950)
    assert await store.verify() == []


async def test_a_redis_without_memory_changes_nothing(server, store):
    limit = server.client.config_set
    await refused_and_then_done(store, lambda: limit("maxmemory", "1mb"), lambda: limit("maxmemory", "0"))


async def test_a_redis_that_cannot_save_to_its_disk_changes_nothing(server, store):
    def disk_breaks() -> None:
        server.client.config_set("appendonly", "no")
        server.client.config_set("save", "3600 1")
        (server.folder / "dump.rdb").mkdir()  # where the file would go
        server.client.bgsave()
        deadline = time.monotonic() + 10
        while server.client.info("persistence")["rdb_last_bgsave_status"] != "err":
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def disk_is_well() -> None:
        (server.folder / "dump.rdb").rmdir()
        server.client.save()
        server.client.config_set("save", "")

    await refused_and_then_done(store, disk_breaks, disk_is_well)


async def test_a_redis_that_was_demoted_changes_nothing(server, store):
    def demoted() -> None:
        server.client.config_set("replica-read-only", "yes")
        server.client.replicaof("127.0.0.1", "1")

    await refused_and_then_done(store, demoted, lambda: server.client.replicaof("NO", "ONE"))


async def test_the_audit_names_what_does_not_add_up():
    server = shared_redis()
    store = open_store(server.emptied())
    await store.grant("g", "user:ana", 1000, department="research")
    await store.settle("s", ANA, 30)
    await store.hold("h", ANA, 20, ttl_s=60)
    assert await store.verify() == []
    account = "{farthing}:account:user:ana"
    sound = json.loads(server.client.get(account))
    for place, total, false, true in ((3, "settled", 29, 30), (1, "granted", 1005, 1000), (4, "held", 0, 20)):
        assert sound[place] == str(true)
        server.client.set(account, json.dumps([*sound[:place], str(false), *sound[place + 1 :]]))
        found = {(one.account, one.total): (one.kept, one.recomputed) for one in await store.verify()}
        assert found["user:ana", total] == (false, true)
        assert {name for name, _ in found} == {"user:ana"}
        server.client.set(account, json.dumps(sound))
    server.client.hset("{farthing}:spending:user:ana", "2027-01-01 settled fast", "7")
    assert {(one.account, one.total) for one in await store.verify()} == {("user:ana", "spending")}
    await store.close()


async def test_a_store_serves_several_event_loops():
    store = open_store(shared_redis().emptied())
    await store.grant("g", "user:ana", 1000, department="research")

    async def settle(number: int) -> None:
        await store.settle(f"s{number}", ANA, 10)

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, settle(number)) for number in range(5)))
    assert await held_and_left(store) == (0, 950)
    await store.close()


async def test_no_error_tells_the_password():
    store = open_store("redis://:s3cret@127.0.0.1:1/0")
    with pytest.raises(StoreError) as told:
        await store.hold("h", ANA, 1, 60)
    assert "s3cret" not in str(told.value)
    await store.close()
