"""The intent cache shared through a real Redis: by two gateways, and while Redis dies and comes back."""

import asyncio
import shutil
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from farthing.grading.cache import Hit, Remembered, open_cache
from farthing.grading.cache.shared import SharedCache
from farthing.grading.intent import facts_of, intent_of, room_of
from farthing.grading.task import Task, task_from

LOW = Remembered(0.2, "LOW", "learned", "learned: short ask")
HIGH = Remembered(0.9, "HIGH", "judge", "judge: several steps")
REQUEST_S = 0.02
LATE_S = 0.4
"""What a request may take at worst on a busy machine: the client's own time limit is a second."""


class Server:
    """A Redis of this test alone: no persistence, a port of its own."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        assert program, (
            "these tests need a real Redis server: install it (Debian, Ubuntu: apt-get install redis-server;"
            " macOS: brew install redis) and make sure that redis-server is on the PATH"
        )
        self._program, self._folder = program, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [self._program, *options, "--dir", str(self._folder)], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "redis-server did not answer within 10 s"
                time.sleep(0.02)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path)
    found.start()
    yield found
    found.client.close()
    found.kill()


def ask(text: str) -> Task:
    return task_from({"messages": [{"role": "user", "content": text}]})


def vector(seed: int) -> np.ndarray:
    row = np.random.default_rng(seed).standard_normal(256).astype(np.float32)
    return row / np.linalg.norm(row)


async def until(found: Callable[[], Awaitable[bool]], within_s: float = 8.0) -> None:
    deadline = time.monotonic() + within_s
    while not await found():
        assert time.monotonic() < deadline, f"did not happen within {within_s} s"
        await asyncio.sleep(0.02)


async def timed(step: Awaitable[Hit | None]) -> tuple[Hit | None, float]:
    started = time.perf_counter()
    hit = await step
    return hit, time.perf_counter() - started


class Gateway:
    """One gateway process's cache, of one account."""

    def __init__(self, url: str, scope: str = "key-1", **more: object) -> None:
        self.cache = open_cache(1_000, 60, redis_url=url, **more)  # type: ignore[arg-type]
        self.scope = scope
        self.room = room_of(scope, "v1")

    def key(self, text: str) -> str:
        return intent_of(ask(text), self.scope, "v1")

    async def connected(self) -> None:
        async def is_up() -> bool:
            await self.exact("nothing")
            return self.cache.stats.shared == "up"

        await until(is_up)

    async def put(self, text: str, remembered: Remembered, seed: int | None = None) -> None:
        row = None if seed is None else vector(seed)
        await self.cache.put(self.key(text), self.room, row, facts_of(ask(text)), remembered)

    async def exact(self, text: str) -> Remembered | None:
        hit = await self.cache.exact(self.key(text))
        return hit.remembered if hit else None

    async def near(self, text: str, seed: int) -> Hit | None:
        return await self.cache.near(self.room, vector(seed), facts_of(ask(text)))


async def test_what_one_gateway_graded_the_other_knows_in_both_layers(server: Server) -> None:
    first, second = Gateway(server.url), Gateway(server.url)
    await first.put("summarise the ticket", LOW, seed=1)

    async def near() -> bool:
        return await second.near("summarise that ticket", seed=1) is not None

    await second.connected()
    await until(near)
    assert await second.exact("summarise the ticket") == LOW
    stranger = Gateway(server.url, scope="key-2")
    assert await stranger.exact("summarise the ticket") is None
    await asyncio.sleep(0.5)
    assert await stranger.near("summarise that ticket", seed=1) is None
    for gateway in (first, second, stranger):
        await gateway.cache.close()


async def test_a_gateway_that_starts_later_reads_what_is_there(server: Server) -> None:
    first = Gateway(server.url)
    await first.put("summarise the ticket", LOW, seed=1)
    await first.cache.close()  # writes out
    server.client.delete("farthing:intents")  # older than what the stream still holds
    late = Gateway(server.url)
    await late.connected()
    assert await late.exact("summarise the ticket") == LOW
    assert late.cache.stats.shared_hits == 1
    await late.cache.close()


async def test_a_gateway_that_starts_later_catches_up_for_the_near_layer_too(server: Server) -> None:
    first = Gateway(server.url)
    await first.put("summarise the ticket", LOW, seed=1)
    await first.cache.close()
    late = Gateway(server.url)

    async def near() -> bool:
        return await late.near("summarise that ticket", seed=1) is not None

    await until(near)
    await late.cache.close()


async def test_a_grade_that_climbed_replaces_the_old_one_everywhere(server: Server) -> None:
    first, second = Gateway(server.url), Gateway(server.url)
    await first.put("reconcile the books", LOW)

    async def is_low() -> bool:
        return await second.exact("reconcile the books") == LOW

    async def is_high() -> bool:
        return await first.exact("reconcile the books") == HIGH

    async def is_gone() -> bool:
        return await first.exact("reconcile the books") is None

    await until(is_low)
    await second.put("reconcile the books", HIGH)
    await until(is_high)
    assert await second.exact("reconcile the books") == HIGH
    await second.cache.forget(second.key("reconcile the books"))
    await until(is_gone)
    assert await second.exact("reconcile the books") is None
    for gateway in (first, second):
        await gateway.cache.close()


async def test_redis_killed_the_memory_answers_in_time_and_restarted_it_is_shared_again(
    server: Server,
) -> None:
    first, second = Gateway(server.url), Gateway(server.url)
    await first.put("known before", LOW)
    await first.connected()
    await second.connected()
    server.kill()

    times = []
    for step in range(50):
        hit, seconds = await timed(first.cache.exact(first.key(f"new ask {'x' * step}")))
        assert hit is None
        times.append(seconds)
        await first.put(f"graded while away {'x' * step}", HIGH)
        assert await first.exact(f"graded while away {'x' * step}") == HIGH
        assert await first.exact("known before") == LOW
    assert max(times) < LATE_S
    assert statistics.median(times) < REQUEST_S / 4
    assert first.cache.stats.shared == "down"
    await first.cache.forget(first.key("graded while away"))

    server.start()

    async def is_shared() -> bool:
        return await second.exact("graded while away x") == HIGH

    await until(is_shared, within_s=15)
    await first.connected()
    await second.connected()
    assert await second.exact("graded while away") is None
    for gateway in (first, second):
        await gateway.cache.close()


async def test_a_redis_that_freezes_costs_the_requests_under_way_their_patience_and_the_next_none(
    server: Server,
) -> None:
    gateway = Gateway(server.url)
    await gateway.connected()
    server.freeze()
    started = time.perf_counter()
    hits = await asyncio.gather(*(gateway.exact(f"under way {'x' * at}") for at in range(16)))
    assert hits == [None] * 16
    assert REQUEST_S * 0.9 < time.perf_counter() - started < LATE_S
    times = [(await timed(gateway.cache.exact(gateway.key("next"))))[1] for _ in range(20)]
    assert statistics.median(times) < REQUEST_S / 4
    server.thaw()

    async def is_up() -> bool:
        return gateway.cache.stats.shared == "up"

    await until(is_up)  # sixteen failures of one cause do not make the pause long
    await gateway.cache.close()


async def test_a_redis_that_is_away_from_the_start_costs_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        gateway = Gateway(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        times = [(await timed(gateway.cache.exact(gateway.key("ask"))))[1] for _ in range(20)]
        assert statistics.median(times) < REQUEST_S / 4
        await gateway.put("ask", LOW)
        assert await gateway.exact("ask") == LOW
        assert gateway.cache.stats.shared == "down"
        await gateway.cache.close()


async def test_entries_that_are_not_ours_are_passed_over(server: Server) -> None:
    gateway = Gateway(server.url)
    await gateway.connected()
    bad_values = [
        b"",
        b"{",
        b"[" * 50_000,
        b'{"v":1,"room":"x","score":0.5,"grade":"LOW","source":"judge","reason":""}',
        b'{"v":1,"room":"%s","score":7,"grade":"LOW","source":"judge","reason":""}' % (b"0" * 32),
        b'{"v":1,"room":"%s","score":NaN,"grade":"LOW","source":"judge","reason":""}' % (b"0" * 32),
        b'{"v":1,"room":"%s","score":0.5,"grade":"FREE","source":"judge","reason":""}' % (b"0" * 32),
        b'{"v":9,"room":"%s","score":0.5,"grade":"LOW","source":"judge","reason":""}' % (b"0" * 32),
    ]
    for at, value in enumerate(bad_values):
        text = f"poisoned {'x' * at}"
        server.client.set(f"farthing:intent:{gateway.key(text)}", value, ex=60)
        assert await gateway.exact(text) is None
    server.client.rpush(f"farthing:intent:{gateway.key('a list')}", "x")
    assert await gateway.exact("a list") is None
    assert gateway.cache.stats.shared_ignored == len(bad_values) + 1
    assert gateway.cache.stats.shared == "up"

    server.client.xadd("farthing:intents", {b"key": b"\xff", b"origin": b"x"})
    server.client.xadd("farthing:intents", {b"nothing": b"known"})
    other = Gateway(server.url)
    await other.put("a good one", LOW)

    async def arrives() -> bool:
        return (
            await gateway.exact("a good one") == LOW
            and gateway.cache.stats.shared_ignored > len(bad_values) + 2
        )

    await until(arrives)
    for each in (gateway, other):
        await each.cache.close()


async def test_entries_leave_redis_with_their_time_to_live_and_hold_nothing_readable(server: Server) -> None:
    cache = open_cache(100, 1.0, redis_url=server.url)
    task = ask("the secret project is called Bluebird")
    await cache.put(intent_of(task, "key-1", "v1"), room_of("key-1", "v1"), vector(1), facts_of(task), LOW)
    await cache.close()
    assert server.client.keys("*")
    kept = b"".join(
        server.client.dump(key) or b""
        for key in server.client.keys("*")  # type: ignore[union-attr]
    )
    assert b"luebird" not in kept
    assert b"key-1" not in kept
    await asyncio.sleep(1.3)
    assert server.client.keys("*") == []


async def test_vectors_stay_at_home_when_told_so(server: Server) -> None:
    first = Gateway(server.url, share_vectors=False)
    second = Gateway(server.url)
    await first.put("summarise the ticket", LOW, seed=1)

    async def exact() -> bool:
        return await second.exact("summarise the ticket") == LOW

    await until(exact)
    await asyncio.sleep(0.5)
    assert await second.near("summarise that ticket", seed=1) is None
    assert await first.near("summarise that ticket", seed=1) is not None
    assert all(b"vector" not in fields for _, fields in server.client.xrange("farthing:intents"))  # type: ignore[union-attr]
    for gateway in (first, second):
        await gateway.cache.close()


def test_a_cache_may_outlive_its_event_loop(server: Server) -> None:
    """LiteLLM's SDK Router is called from as many loops as its caller likes."""
    gateway = Gateway(server.url)
    asyncio.run(gateway.put("first loop", LOW))
    assert asyncio.run(gateway.exact("first loop")) == LOW

    async def again() -> None:
        await gateway.put("second loop", HIGH)
        other = Gateway(server.url)

        async def arrives() -> bool:
            return await other.exact("second loop") == HIGH

        await until(arrives)
        await other.cache.close()
        await gateway.cache.close()

    asyncio.run(again())


def test_a_frozen_redis_does_not_hold_up_the_end(server: Server) -> None:
    gateway = Gateway(server.url)

    async def frozen_under_way() -> None:
        await gateway.connected()
        server.freeze()
        await gateway.put("ask", LOW)
        assert await gateway.exact("another") is None

    started = time.monotonic()
    asyncio.run(frozen_under_way())
    asyncio.run(gateway.cache.close())
    assert time.monotonic() - started < 5


def test_a_redis_url_that_cannot_be_is_an_error_at_the_start() -> None:
    with pytest.raises(ValueError, match="redis"):
        open_cache(10, 60, redis_url="postgres://somewhere")
    assert isinstance(open_cache(10, 60, redis_url="redis://nowhere.invalid:1"), SharedCache)
