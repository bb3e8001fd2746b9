"""The intent cache of several gateway processes: each process's memory first, Redis behind it.

Redis holds each entry under its intent's key, for the time to live, and one stream of all that is put and
forgotten. Each process follows the stream, so that a grade given in one is soon in the memory of all, for
the near layer too; a process that starts reads what the stream still holds. A request waits for Redis at
most ``timeout_s``, only when its intent is not in memory, and never for the first connection; writing goes
on in the background. After a failure Redis is left alone, the memory answers, and a probe in the background
brings Redis back.

Nothing readable of a prompt is stored: digests, grades, reasons, vectors. A vector does tell the gist of
the ask to whoever holds the embedding model; where Redis is not trusted with that, ``share_vectors=False``
keeps the near layer to each process. Entries in Redis are bounded by their time to live; how much memory
they may take is Redis's own ``maxmemory`` (with ``allkeys-lru``).
"""

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from farthing.grading.cache.breaker import Breaker
from farthing.grading.cache.memory import MemoryCache
from farthing.grading.cache.near import unit
from farthing.grading.cache.values import CacheStats, Hit, Remembered, Vector
from farthing.grading.cache.wire import Record, decoded, encoded, fields_of, record_of

_PREFIX = "farthing:intent:"
_STREAM = "farthing:intents"
_BATCH = 50
_BACKLOG = 2_000
"""Writes kept while Redis is away; of more, the oldest are lost."""
_FOLLOW_S = 0.25
"""Longest wait of one read of the stream. Bounds how long ``close`` takes."""
_BACKGROUND_S = 1.0
"""Time limit of what no request waits for."""
_TRIM_S = 60.0
_CONNECTIONS = 32
_AWAY = (RedisError, OSError, TimeoutError, EOFError, RuntimeError)
"""What the client raises when Redis is away, slow or shutting down."""


class SharedCache:
    """A memory cache that shares its entries through Redis. Use it from one event loop at a time."""

    def __init__(
        self,
        memory: MemoryCache,
        url: str,
        ttl_s: float,
        timeout_s: float = 0.02,
        share_vectors: bool = True,
        stream_size: int = 10_000,
    ) -> None:
        """Share ``memory`` through the Redis at ``url``.

        Does not connect: a Redis that is away at the start is no error. ``timeout_s`` is the longest that
        a request waits for it; ``stream_size`` is about how many puts a new process can catch up on.
        Raises ValueError if ``url`` is not a Redis URL.
        """
        self._memory, self._url, self._ttl_s, self._timeout_s = memory, url, ttl_s, timeout_s
        self._share_vectors, self._stream_size = share_vectors, stream_size
        self._origin = secrets.token_hex(16)
        self._breaker = Breaker()
        self._writes: deque[Record] = deque(maxlen=_BACKLOG)
        self._unseen: dict[str, None] = {}
        self._wake, self._well = asyncio.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._asking: set[asyncio.Future[tuple[bytes | None, int]]] = set()
        self._closed = False
        self._seen: str | bytes = "0"
        self._trimmed = float("-inf")
        self._hits = self._ignored = 0
        self._client = self._connect()

    def _connect(self) -> "aioredis.Redis":
        pool = aioredis.BlockingConnectionPool.from_url(
            self._url,
            max_connections=_CONNECTIONS,
            timeout=_BACKGROUND_S,
            socket_connect_timeout=_BACKGROUND_S,
            socket_timeout=_BACKGROUND_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        return aioredis.Redis.from_pool(pool)

    async def exact(self, key: str) -> Hit | None:
        """Return the entry of ``key`` from memory, else from Redis."""
        hit = self._memory.peek(key)
        if hit is None:
            self._start()
            if not self._breaker.open and not self._closed:
                hit = await self._fetch(key)
        self._memory.count_exact(hit is not None)
        return hit

    async def _fetch(self, key: str) -> Hit | None:
        # The client shields its work against cancellation, so a time limit around it would not hold: the
        # request goes on without it, and it ends by its own, longer limit.
        asking = asyncio.ensure_future(self._ask(key))
        self._asking.add(asking)
        asking.add_done_callback(self._asked)
        await asyncio.wait({asking}, timeout=self._timeout_s)
        if not asking.done():
            self._breaker.late()
            if self._breaker.open:
                self._fell()
            return None
        try:
            value, left_ms = asking.result()
        except ResponseError:  # not a text: Redis is well, the entry is not
            self._ignored += 1
            return None
        except _AWAY:
            self._fail()
            return None
        self._breaker.answered()
        if value is None:
            return None
        entry = decoded(value)
        if entry is None or left_ms <= 0:
            self._ignored += 1
            return None
        room, remembered = entry
        self._hits += 1
        self._memory.store(key, room, None, "", remembered, min(self._ttl_s, left_ms / 1_000))
        return self._memory.peek(key)

    def _asked(self, asking: asyncio.Future[tuple[bytes | None, int]]) -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # of a late answer nobody else looks at it

    async def _ask(self, key: str) -> tuple[bytes | None, int]:
        """Return the value of ``key`` and how long it has to live, in milliseconds."""
        pipe = self._client.pipeline(transaction=False)
        pipe.get(_PREFIX + key)
        pipe.pttl(_PREFIX + key)
        value, left_ms = await pipe.execute()
        return value, left_ms

    async def near(self, scope_realm: str, vector: Vector, facts: str) -> Hit | None:
        """Return the nearest entry of the room with the same facts, if near enough. Never waits."""
        self._start()
        return await self._memory.near(scope_realm, vector, facts)

    async def put(
        self, key: str, scope_realm: str, vector: Vector | None, facts: str, remembered: Remembered
    ) -> None:
        """Remember a grade here at once, elsewhere soon after. Never waits."""
        self._memory.store(key, scope_realm, vector, facts, remembered, self._ttl_s)
        shared = unit(vector) if vector is not None and self._share_vectors else None
        self._write(Record(key, scope_realm, facts, shared, remembered, self._origin))

    async def forget(self, key: str) -> None:
        """Drop the entry of ``key`` here at once, elsewhere soon after. Never waits."""
        self._memory.remove(key)
        self._write(Record(key, origin=self._origin))

    def _write(self, record: Record) -> None:
        self._writes.append(record)
        self._unseen.pop(record.key, None)
        self._unseen[record.key] = None
        if len(self._unseen) > _BACKLOG:
            del self._unseen[next(iter(self._unseen))]
        self._start()
        self._wake.set()

    @property
    def stats(self) -> CacheStats:
        """Return the counts of this process."""
        return replace(
            self._memory.stats,
            shared_hits=self._hits,
            shared_failures=self._breaker.failures,
            shared_ignored=self._ignored,
            shared="down" if self._breaker.open else "up",
        )

    async def close(self) -> None:
        """Write out what is under way, for a short time, and let go of all connections."""
        self._closed = True
        if self._loop is asyncio.get_running_loop():
            tasks: list[asyncio.Future[Any]] = [*self._tasks, *self._asking]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=_BACKGROUND_S)
        else:  # the loop of before has ended, and with it its tasks and connections
            self._client = self._connect()
        with contextlib.suppress(*_AWAY):
            async with asyncio.timeout(_BACKGROUND_S):
                while self._writes:
                    await self._flush()
        with contextlib.suppress(*_AWAY):
            await self._client.aclose()

    def _start(self) -> None:
        """Start following and writing in the running loop; again, if that is not the loop of before."""
        loop = asyncio.get_running_loop()
        if self._loop is loop or self._closed:
            return
        self._loop = loop
        self._wake, self._well = asyncio.Event(), asyncio.Event()
        self._wake.set()
        self._breaker.restart()
        self._client = self._connect()
        self._tasks = [loop.create_task(self._forever(step)) for step in (self._writing, self._following)]

    async def _forever(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # The client may turn a cancellation into an error of its own: it must end the loop all the same.
        task = asyncio.current_task()
        while not (self._closed or (task and task.cancelling())):
            try:
                await step()
            except ResponseError:
                self._breaker.failures += 1
                await asyncio.sleep(_BACKGROUND_S)
            except _AWAY:
                self._fail()

    def _fail(self) -> None:
        self._breaker.failed()
        self._fell()

    def _fell(self) -> None:
        self._well.clear()
        self._wake.set()

    async def _writing(self) -> None:
        """Write what waits; while the breaker is open, probe first."""
        await self._wake.wait()
        if self._breaker.open:
            await asyncio.sleep(self._breaker.pause_s)
            try:
                await self._client.ping()  # may have to connect first
                async with asyncio.timeout(self._timeout_s):
                    await self._client.ping()
            except _AWAY:
                self._breaker.probe_failed()
                return
        while self._writes:
            await self._flush()
        self._wake.clear()
        # Only now: an entry forgotten while Redis was away must not be read from it once more.
        self._breaker.succeeded()
        self._well.set()

    async def _flush(self) -> None:
        batch = [self._writes[at] for at in range(min(_BATCH, len(self._writes)))]
        pipe = self._client.pipeline(transaction=False)
        for record in batch:
            if record.remembered is None:
                pipe.delete(_PREFIX + record.key)
            else:
                value = encoded(record.room, record.remembered)
                pipe.set(_PREFIX + record.key, value, px=max(1, round(self._ttl_s * 1_000)))
            pipe.xadd(_STREAM, fields_of(record), maxlen=self._stream_size, approximate=True)
        pipe.pexpire(_STREAM, max(1, round(self._ttl_s * 1_000)))
        results = await pipe.execute(raise_on_error=False)  # a full Redis refuses: those are lost
        self._breaker.failures += sum(isinstance(result, Exception) for result in results)
        for record in batch:
            if self._writes and self._writes[0] is record:
                self._writes.popleft()

    async def _following(self) -> None:
        """Follow the stream by one read: what others put and forget happens here too."""
        await self._well.wait()
        now = time.monotonic()
        if now - self._trimmed > _TRIM_S:
            self._trimmed = now
            oldest = round((time.time() - self._ttl_s) * 1_000)
            await self._client.xtrim(_STREAM, minid=max(0, oldest), approximate=False)
        wait_ms = round(_FOLLOW_S * 1_000)
        found: Any = await self._client.xread({_STREAM: self._seen}, count=_BATCH, block=wait_ms)
        for _, events in found or ():
            for event, fields in events:
                self._seen = event
                self._apply(event, fields)
        await asyncio.sleep(0)

    def _apply(self, event: bytes, fields: dict[bytes, bytes]) -> None:
        record = record_of(fields or {})
        if record is None:
            self._ignored += 1
        elif record.origin == self._origin:
            self._unseen.pop(record.key, None)
        elif record.key in self._unseen:
            pass  # ours comes later in the stream and wins everywhere
        elif record.remembered is None:
            self._memory.remove(record.key)
        else:
            left_s = self._ttl_s - max(0.0, time.time() - int(event.partition(b"-")[0]) / 1_000)
            if left_s > 0:
                self._memory.store(
                    record.key, record.room, record.vector, record.facts, record.remembered, left_s
                )
