"""The credit store on a real Redis that is killed, emptied, filled up, demoted, frozen and set back."""

import asyncio
import contextlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import redis

from farthing.credits.redis import RedisCreditStore, initialise
from farthing.credits.store import (
    MAX_AMOUNT,
    CallNote,
    InsufficientCreditsError,
    Payer,
    RunCaps,
    StoreError,
)
from farthing.telemetry import Account

LOG = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
NOTHING_KEPT = ("--save", "", "--appendonly", "no")
TTL_S = 3600.0
ANSWER_S = 5.0
"""The longest that a step waits for Redis, and some time for a busy machine."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """A Redis of this test alone, on a port of its own, with its data in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        program = shutil.which("redis-server")
        assert program, (
            "these tests need a real Redis server: install it (Debian, Ubuntu: apt-get install redis-server;"
            " macOS: brew install redis) and make sure that redis-server is on the PATH"
        )
        self._program, self.folder, self._options = program, folder, options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port)
        self._process: subprocess.Popen[bytes] | None = None

    async def restart(self, folder: Path | None = None) -> None:
        """kill -9, then start with the data in ``folder``, its own if none is given."""
        self.kill()
        self.start(folder)
        await asyncio.sleep(0.01)  # the event loop sees that its connections were closed

    def start(self, folder: Path | None = None) -> None:
        data = folder or self.folder
        data.mkdir(parents=True, exist_ok=True)
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(data)]
        self._process = subprocess.Popen(
            [self._program, *where, *self._options], stdout=subprocess.DEVNULL, cwd=data
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:  # also while it loads its data
                assert time.monotonic() < deadline, "redis-server did not answer within 20 s"
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def contents(self) -> dict[bytes, bytes]:
        """Return all that is kept, so that two moments can be compared."""
        return {name: self.client.dump(name) for name in self.client.keys()}  # noqa: SIM118


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def begin(*options: str) -> Server:
        server = Server(tmp_path / f"redis{len(started)}", *(options or NOTHING_KEPT))
        started.append(server)
        server.start()
        return server

    yield begin
    for server in started:
        server.kill()
        server.client.close()


def payer(user: str, session: str = "") -> Payer:
    return Payer(Account(f"{user}-key", user, "research", "CC-1"), session)


ADA = payer("ada")
STEPS: dict[str, Callable[[RedisCreditStore], Awaitable[object]]] = {
    "grant": lambda store: store.grant("more", "user:ada", 5),
    "revoke_grants": lambda store: store.revoke_grants("", set()),
    "plan": lambda store: store.plan("department:research", 5),
    "unlimit": lambda store: store.unlimit("department:research"),
    "hold": lambda store: store.hold("new", ADA, 1, TTL_S),
    "renew": lambda store: store.renew(["held"], TTL_S),
    "settle": lambda store: store.settle("held", ADA, 1),
    "release": lambda store: store.release("held"),
    "unsettled": lambda store: store.unsettled(["held"]),
    "enter": lambda store: store.enter(payer("ada", "loop"), RunCaps(), "mark"),
    "cap_run": lambda store: store.cap_run("loop", steps=1, cost=1, actor="root"),
    "stop_run": lambda store: store.stop_run("loop", actor="root"),
    "runs": lambda store: store.runs(since_ms=0),
    "draw": lambda store: store.draw("local", 1, share=0.1, burst_ms=10),
    "standing": lambda store: store.standing(ADA),
    "balances": lambda store: store.balances(),
    "calls": lambda store: store.calls("ada"),
    "spending": lambda store: store.spending("user:ada", "2000-01-01", "2100-01-01"),
    "journal": lambda store: store.journal(),
    "verify": lambda store: store.verify(),
    "prune": lambda store: store.prune(0),
}


async def opened(server: Server) -> RedisCreditStore:
    """Return a store in which Ada has 100, holds 10, and runs a loop."""
    await initialise(server.url)
    store = RedisCreditStore(server.url)
    await store.grant("first", "user:ada", 100)
    await store.enter(payer("ada", "loop"), RunCaps(), "mark")
    await store.hold("held", ADA, 10, TTL_S)
    return store


async def all_refused(store: RedisCreditStore, why: str) -> None:
    for step in STEPS.values():
        with pytest.raises(StoreError, match=why):
            await step(store)


async def working(store: RedisCreditStore) -> None:
    """See that Ada's hold can be settled once, and that the books are sound."""
    assert (await store.settle("held", ADA, 7)).overdraft == 0
    standing = await store.standing(ADA)
    assert (standing.balance.settled, standing.balance.held, standing.available) == (7, 0, 93)
    assert await store.verify() == []


async def test_a_redis_that_is_killed_and_restarted_has_lost_nothing(start: Callable[..., Server]) -> None:
    server = start(*LOG)
    store = await opened(server)
    before = server.contents()
    server.kill()
    await all_refused(store, "Connect")
    server.start()
    assert server.contents() == before
    await working(store)  # the same store, not opened anew
    await store.close()


async def test_a_redis_that_comes_back_empty_is_refused_until_it_is_restored(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(*LOG)
    store = await opened(server)
    await server.restart(tmp_path / "another volume")
    await all_refused(store, "farthing credits init")
    await all_refused(RedisCreditStore(server.url), "farthing credits init")
    assert server.contents() == {}
    # A new store made there is one for processes that start anew, not for one that knew the old one.
    await initialise(server.url)
    new = server.contents()
    await all_refused(store, "another store")
    assert server.contents() == new
    await server.restart()
    await working(store)


async def test_a_store_is_made_once_and_only_where_none_was(start: Callable[..., Server]) -> None:
    server = start()
    await all_refused(RedisCreditStore(server.url), "farthing credits init")
    first = await initialise(server.url)
    with pytest.raises(StoreError, match="already"):
        await initialise(server.url)
    store = RedisCreditStore(server.url)
    await store.grant("first", "user:ada", 100)
    server.client.delete("{farthing}:store")
    with pytest.raises(StoreError, match="replica or a backup"):
        await initialise(server.url)
    await all_refused(store, "farthing credits init")
    server.client.set("{farthing}:store", first)
    assert (await store.standing(ADA)).available == 100


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
async def test_a_redis_that_may_drop_credits_is_refused(start: Callable[..., Server], policy: str) -> None:
    server = start()
    server.client.config_set("maxmemory-policy", policy)
    with pytest.raises(StoreError, match=f"{policy}.*noeviction"):
        await initialise(server.url)
    server.client.config_set("maxmemory-policy", "noeviction")
    await initialise(server.url)
    server.client.config_set("maxmemory-policy", policy)
    await all_refused(RedisCreditStore(server.url), "noeviction")


async def test_what_a_stale_replica_never_got_is_settled_again_and_counts_once(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(*NOTHING_KEPT)
    store = await opened(server)
    await store.hold("settled-late", ADA, 20, TTL_S)
    await store.settle("settled-early", ADA, 5)
    server.client.save()
    replica = tmp_path / "replica"
    replica.mkdir()
    shutil.copy(server.folder / "dump.rdb", replica)
    # The replica hears no more of it. All this is lost with the master:
    await store.settle("settled-late", ADA, 15)
    await store.hold("held-late", ADA, 30, TTL_S)
    await store.settle("held-and-settled-late", ADA, 9)
    await store.release("held")
    await server.restart(replica)

    assert (await store.standing(ADA)).balance.settled == 5
    assert await store.unsettled(["settled-early", "settled-late", "held-late"]) == {
        "settled-late",
        "held-late",
    }
    # The gateway reports its charges again, more than once:
    for _ in range(2):
        await store.settle("settled-early", ADA, 5)
        await store.settle("settled-late", ADA, 15)
        await store.settle("held-and-settled-late", ADA, 9)
        await store.settle("held-late", ADA, 28)  # its hold is lost: covered by none
        await store.release("held")
    after = (await store.standing(ADA)).balance
    assert (after.settled, after.held, after.available) == (57, 0, 43)
    assert after.overdraft == 5 + 9 + 28
    assert await store.verify() == []


async def test_a_demoted_master_changes_nothing_and_is_asked_again(start: Callable[..., Server]) -> None:
    server = start()
    store = await opened(server)
    before = server.contents()
    server.client.replicaof("127.0.0.1", 1)
    await all_refused(store, "READONLY|read only")
    assert server.contents() == before
    server.client.replicaof("NO", "ONE")
    await working(store)


async def test_a_full_redis_changes_nothing(start: Callable[..., Server]) -> None:
    server = start()
    now = [time.time()]
    await initialise(server.url)
    store = RedisCreditStore(server.url, clock=lambda: now[0])
    await store.grant("first", "user:ada", 100)
    await store.enter(payer("ada", "loop"), RunCaps(), "mark")
    await store.hold("held", ADA, 10, TTL_S)
    await store.hold("overdue", ADA, 10, 1)
    now[0] += 5  # every step would now expire this one first
    before = server.contents()
    server.client.config_set("maxmemory", 1)
    await all_refused(store, "maxmemory")
    server.client.config_set("maxmemory", 0)
    assert server.contents() == before
    await working(store)


async def test_a_redis_whose_disk_fails_changes_nothing(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("--save", "3600 1", "--enable-protected-configs", "local")
    store = await opened(server)
    before = server.contents()
    shutil.rmtree(server.folder)
    server.client.bgsave()
    for _ in range(200):
        if server.client.info("persistence")["rdb_last_bgsave_status"] == "err":
            break
        await asyncio.sleep(0.02)
    await all_refused(store, "MISCONF")
    assert server.contents() == before
    server.client.config_set("dir", str(tmp_path))
    server.client.save()
    await working(store)


async def test_a_redis_that_is_away_when_the_store_is_opened_may_come_later(
    start: Callable[..., Server],
) -> None:
    server = start(*LOG)
    await initialise(server.url)
    server.kill()
    store = RedisCreditStore(server.url)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(StoreError):
            await store.hold("h", ADA, 0, TTL_S)
        assert time.monotonic() - began < ANSWER_S
    server.start()
    await store.grant("first", "user:ada", 100)
    assert (await store.standing(ADA)).available == 100


async def test_a_step_whose_answer_was_lost_is_not_done_twice(start: Callable[..., Server]) -> None:
    server = start()
    store = await opened(server)
    await store.standing(ADA)
    server.freeze()
    began = time.monotonic()
    with pytest.raises(StoreError):
        await store.hold("slow", ADA, 20, TTL_S)
    assert time.monotonic() - began < ANSWER_S
    server.thaw()  # and does what it was asked before
    for _ in range(2):
        assert (await store.hold("slow", ADA, 20, TTL_S)).balance.held == 30
    await store.settle("slow", ADA, 20)
    server.freeze()
    with pytest.raises(StoreError):
        await store.settle("slower", ADA, 1)
    server.thaw()
    await store.settle("slower", ADA, 1)
    assert (await store.standing(ADA)).balance.settled == 21
    assert await store.verify() == []


async def test_a_step_is_done_even_if_its_caller_is_cancelled(start: Callable[..., Server]) -> None:
    server = start()
    store = await opened(server)
    server.freeze()
    callers = [
        asyncio.ensure_future(store.settle("held", ADA, 7)),
        *(asyncio.ensure_future(store.hold(f"h{n}", ADA, 1, TTL_S)) for n in range(40)),
    ]
    await asyncio.sleep(0.05)
    for caller in callers:
        caller.cancel()
    assert {type(done) for done in await asyncio.gather(*callers, return_exceptions=True)} == {
        asyncio.CancelledError
    }
    server.thaw()
    for _ in range(200):
        balance = (await store.standing(ADA)).balance
        if (balance.settled, balance.held) == (7, 40):
            break
        await asyncio.sleep(0.02)
    assert (balance.settled, balance.held) == (7, 40)
    # Closing waits for what was asked for.
    server.freeze()
    last = asyncio.ensure_future(store.release("h0"))
    await asyncio.sleep(0.05)
    last.cancel()
    threading.Timer(0.2, server.thaw).start()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.standing(ADA)
    again = RedisCreditStore(server.url)
    assert (await again.standing(ADA)).balance.held == 39


async def test_the_scripts_may_be_flushed_at_any_time(start: Callable[..., Server]) -> None:
    server = start()
    store = await opened(server)
    server.client.script_flush()
    await working(store)


def test_one_store_serves_several_event_loops(start: Callable[..., Server]) -> None:
    server = start()
    store = asyncio.run(opened(server))

    async def pairs(name: str) -> None:
        for number in range(20):
            await store.hold(f"{name}-{number}", ADA, 1, TTL_S)
            await store.settle(f"{name}-{number}", ADA, 1)

    asyncio.run(pairs("after"))
    beside = [threading.Thread(target=asyncio.run, args=(pairs(f"beside{n}"),)) for n in range(2)]
    for thread in beside:
        thread.start()
    for thread in beside:
        thread.join()
    assert asyncio.run(store.standing(ADA)).balance.settled == 60


async def test_sums_far_beyond_what_a_double_holds_are_exact(start: Callable[..., Server]) -> None:
    server = start()
    await initialise(server.url)
    store = RedisCreditStore(server.url)
    rng = random.Random(7)
    granted = settled = held = 0
    for number in range(9):
        granted += MAX_AMOUNT
        assert (await store.grant(f"g{number}", "user:ada", MAX_AMOUNT)).granted == granted
    for number in range(200):
        # Around the places where a double begins to round, and where dollars and nano-dollars meet.
        amount = rng.choice(
            [2**53 + rng.randrange(3), 10**9 * rng.randrange(9) + rng.randrange(2), 10**16 - 1]
        )
        cost = amount - rng.randrange(2) if amount else 0
        held += amount
        assert (await store.hold(f"h{number}", ADA, amount, TTL_S)).balance.held == held
        held, settled = held - amount, settled + cost
        balance = (await store.settle(f"h{number}", ADA, cost, CallNote("fast"))).standing.balance
        assert (balance.held, balance.settled, balance.available) == (held, settled, granted - settled)
    (spent,) = await store.spending("organisation:", "2000-01-01", "2100-01-01")
    assert (spent.settled, spent.calls) == (settled, 200)
    left = granted - settled
    while left > MAX_AMOUNT:
        left -= MAX_AMOUNT
        assert (await store.hold(f"rest{left}", ADA, MAX_AMOUNT, TTL_S)).available == left
    with pytest.raises(InsufficientCreditsError):
        await store.hold("too much", ADA, left + 1, TTL_S)
    assert (await store.hold("all", ADA, left, TTL_S)).available == 0
    before = server.contents()
    with pytest.raises(StoreError, match="64 bits"):  # 10 times the largest amount
        await store.grant("g9", "user:ada", MAX_AMOUNT)
    assert server.contents() == before
    assert await store.verify() == []


async def test_leases_that_end_together_are_all_given_back_first(start: Callable[..., Server]) -> None:
    server = start()
    await initialise(server.url)
    now = [1_800_000_000.0]
    store = RedisCreditStore(server.url, clock=lambda: now[0])
    await store.grant("first", "user:ada", 2_500)
    for number in range(2_500):
        await store.hold(f"leaked{number}", ADA, 1, 60)
    with pytest.raises(InsufficientCreditsError):
        await store.hold("more", ADA, 1, 60)
    now[0] += 61
    assert (await store.hold("all", ADA, 2_500, 60)).available == 0
    assert await store.verify() == []


async def test_verify_reports_nothing_that_the_traffic_beside_it_does(start: Callable[..., Server]) -> None:
    server = start()
    store = await opened(server)
    await store.grant("more", "user:ada", 10**9)
    ended = asyncio.Event()

    async def traffic(name: str) -> None:
        rng = random.Random(name)
        number = 0
        while not ended.is_set():
            number += 1
            call = f"{name}-{number}"
            await store.hold(call, payer("ada", "loop"), rng.randrange(100), TTL_S)
            if rng.random() < 0.2:
                await store.release(call)
            if rng.random() < 0.9:
                await store.settle(call, payer("ada", "loop"), rng.randrange(120), CallNote(rng.choice("ab")))

    async def pruning() -> None:
        while not ended.is_set():
            await store.prune(int(time.time() * 1000) - 20, 50)
            await asyncio.sleep(0.005)

    beside = [asyncio.ensure_future(work) for work in (*(traffic(f"t{n}") for n in range(4)), pruning())]
    for _ in range(8):
        assert await store.verify() == []
        await asyncio.sleep(0.05)
    ended.set()
    await asyncio.gather(*beside)
    assert (await store.balances(["organisation:"]))[0].settled > 0
    assert await store.prune(int(time.time() * 1000) + 1) > 0  # no verify is under way
    assert await store.verify() == []


def _edit(server: Server, key: str, old: str, new: str) -> None:
    text = server.client.get(key).decode()
    assert old in text, text
    server.client.set(key, text.replace(old, new, 1))


TAMPERED: dict[str, tuple[Callable[[Server], object], set[tuple[str, str, int | None, int]]]] = {
    "an account's total": (
        lambda server: _edit(server, "{farthing}:account:user:ada", '"100"', '"900"'),
        {("user:ada", "granted", 900, 100), ("user:ada", "lots", 93, 893)},
    ),
    "a hold that is gone": (
        lambda server: server.client.zrem("{farthing}:leases", "held"),
        {
            (name, "held", 10, 0)
            for name in ("organisation:", "department:research", "user:ada", "key:ada-key")
        },
    ),
    "a settlement that is gone": (
        lambda server: server.client.zrem("{farthing}:closed", "paid"),
        {
            (name, total, 7, 0)
            for name in ("organisation:", "department:research", "user:ada", "key:ada-key")
            for total in ("settled", "spending")
        },
    ),
    "an account that is gone": (
        lambda server: server.client.delete("{farthing}:account:key:ada-key"),
        {
            ("key:ada-key", "settled", None, 7),
            ("key:ada-key", "held", None, 10),
        },
    ),
    "a session's total": (
        lambda server: _edit(server, "{farthing}:session:loop", '"0","","",', '"3","","",'),
        {("session:loop", "session held", 3, 0)},
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_verify_tells_what_was_tampered_with(start: Callable[..., Server], what: str) -> None:
    server = start()
    store = await opened(server)
    await store.settle("paid", ADA, 7)
    assert await store.verify() == []
    tamper, wrong = TAMPERED[what]
    tamper(server)
    assert {(d.account, d.total, d.kept, d.recomputed) for d in await store.verify()} == wrong


def start_cluster(start: Callable[..., Server], nodes: int) -> list[Server]:
    """Start a cluster whose first node has all slots."""
    cluster = []
    for _ in range(nodes):
        cluster.append(start("--save", "", "--cluster-enabled", "yes", "--cluster-port", str(free_port())))
    cluster[0].client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    for other in cluster[1:]:
        bus = other.client.config_get("cluster-port")["cluster-port"]
        cluster[0].client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
    deadline = time.monotonic() + 20
    while True:
        states = [node.client.execute_command("CLUSTER", "INFO") for node in cluster]
        ready = (b"cluster_state:ok", b"cluster_known_nodes:%d\r" % nodes)
        if all(sign in state for state in states for sign in ready):
            return cluster
        assert time.monotonic() < deadline, "the cluster was not ready within 20 s"
        time.sleep(0.02)


async def test_a_cluster_keeps_all_in_one_slot(start: Callable[..., Server]) -> None:
    (server,) = start_cluster(start, 1)
    url = f"redis+cluster://127.0.0.1:{server.port}"
    await initialise(url)
    store = RedisCreditStore(url)
    await store.grant("first", "user:ada", 100, expires_ms=2**50)
    await store.hold("held", payer("ada", "loop"), 10, TTL_S)
    await store.hold("again", ADA, 10, TTL_S)
    for step in STEPS.values():
        with contextlib.suppress(InsufficientCreditsError):
            await step(store)
    assert await store.verify() == []
    slots = {server.client.execute_command("CLUSTER", "KEYSLOT", name) for name in server.contents()}
    assert len(slots) == 1
    server.client.script_flush()
    assert (await store.settle("again", ADA, 3)).overdraft == 0
    server.kill()
    with pytest.raises(StoreError):
        await store.standing(ADA)
    await store.close()


async def test_a_slot_that_moves_to_another_node_splits_no_step(start: Callable[..., Server]) -> None:
    here, there = start_cluster(start, 2)
    url = f"redis+cluster://127.0.0.1:{here.port}"
    await initialise(url)
    store = RedisCreditStore(url)
    await store.grant("first", "user:ada", 100)
    await store.hold("held", ADA, 10, TTL_S)
    await store.settle("before", ADA, 1)
    slot = here.client.execute_command("CLUSTER", "KEYSLOT", "{farthing}:store")
    ids = {node: node.client.execute_command("CLUSTER", "MYID").decode() for node in (here, there)}
    there.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])
    here.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[there])
    # What a settlement writes last has moved already, what it reads first has not.
    names = sorted(here.contents(), key=lambda name: b":spending:" not in name)
    for name in names[:2]:
        here.client.migrate("127.0.0.1", there.port, [name], 0, 5000)
    left = here.contents()
    for _ in range(2):
        with pytest.raises(StoreError):
            await store.settle("held", ADA, 7)
    assert here.contents() == left
    for name in names[2:]:
        here.client.migrate("127.0.0.1", there.port, [name], 0, 5000)
    for node in (there, here):
        node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[there])
    assert (await store.settle("held", ADA, 7)).standing.balance.settled == 8
    assert await store.verify() == []
    await store.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://gateway:hunter2@127.0.0.1:1/0",
        "redis+cluster://:hunter2@127.0.0.1:1",
        "redis://h:1/?password=hunter2",
    ],
)
async def test_an_error_tells_where_but_no_password(url: str) -> None:
    store = RedisCreditStore(url)
    with pytest.raises(StoreError, match=r"credit store redis.*:1") as raised:
        await store.standing(ADA)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://127.0.0.1:port", "redis+cluster://"])
def test_what_is_no_redis_url_is_said_at_once(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        RedisCreditStore(url)
