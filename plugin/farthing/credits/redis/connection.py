"""How the store reaches its Redis: a client for each event loop; for each step an answer, or a StoreError."""

import asyncio
import secrets
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio as aioredis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ReadOnlyError, RedisClusterException, RedisError

from farthing.credits.calendar import Moment
from farthing.credits.redis.scripts import Script, source
from farthing.credits.store import StoreError

STORE_KEY = "{farthing}:store"
"""Holds the store's id. All other keys begin with the same tag, so that a cluster keeps them in one slot."""

_CONNECT_S = 1.0
_ANSWER_S = 3.0
"""Longest wait for an answer, connecting included, and for one of the connections."""
_CONNECTIONS = 16
"""In each event loop; Redis does one step at a time, so more would only queue there instead of here."""
_CLUSTER = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
_AWAY = (RedisError, RedisClusterException, OSError, TimeoutError, EOFError, RuntimeError)
"""What the client raises when Redis is away, slow, full, demoted or shutting down."""


class _Client:
    """The client of one event loop, and the steps under way there."""

    def __init__(self, url: str) -> None:
        self._redis = _redis(url)
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self.steps: set[asyncio.Task[Any]] = set()

    async def ask(self, command: str, *arguments: str | int) -> Any:
        """Return the answer to a command. Raises what is in `_AWAY`."""
        # The client's own limits, around each of its reads and writes, cost three times as much.
        async with asyncio.timeout(_ANSWER_S), self._places:
            return await self._redis.execute_command(command, *arguments)

    async def close(self) -> None:
        if self.steps:
            await asyncio.wait(self.steps, timeout=_ANSWER_S)
        await self._redis.aclose()


class Connection:
    """The way to one store, in whatever event loop it is asked.

    Connects when first used. A step is sent once: when its answer is lost, it may have been done, and only
    its caller knows whether doing it again is harmless. After any failure the next step tries again. Raises
    ValueError if ``url`` is no Redis URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = _without_secrets(url)
        self._store_id = ""
        self._in_cluster = int(url.partition("://")[0] in _CLUSTER)
        self._clients: dict[asyncio.AbstractEventLoop, _Client] = {}
        self._closed = False
        _redis(url)

    async def run(self, script: Script, now: Moment, *arguments: str | int) -> list[Any]:
        """Do one step and return its answer, without cutting it short if the waiting task is cancelled."""
        client = self._client()
        answer: list[Any] = await self._shielded(client, self._run(client, script, now, arguments))
        return answer

    async def scan(self, key: str, cursor: int) -> tuple[int, list[str]]:
        """Return some members of a sorted set, and the cursor to go on with (0: that was all)."""
        client = self._client()
        answer = await self._shielded(client, client.ask("ZSCAN", key, cursor, "COUNT", 1000))
        return int(answer[0]), [member.decode() for member, _ in answer[1]]

    async def close(self) -> None:
        """Let the steps under way end, then let go of this loop's connections."""
        self._closed = True
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    async def _shielded(self, client: _Client, step: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.get_running_loop().create_task(step)
        client.steps.add(task)
        task.add_done_callback(client.steps.discard)
        task.add_done_callback(_seen)
        try:
            return await asyncio.shield(task)
        except ReadOnlyError as error:
            # Demoted: the address may lead to the new master by now.
            await self._drop(client)
            raise self._failure(error) from error
        except _AWAY as error:
            raise self._failure(error) from error

    async def _run(
        self, client: _Client, script: Script, now: Moment, arguments: tuple[str | int, ...]
    ) -> list[Any]:
        store_id = self._store_id or await self._find(client)
        moment = (now.ms, now.day, now.month, now.month_ends_ms)
        step = (1, STORE_KEY, store_id, *moment, self._in_cluster, *arguments)
        while True:
            try:
                answer = await client.ask("EVALSHA", script.digest, *step)
            except NoScriptError:
                answer = await client.ask("EVAL", script.text, *step)
            if answer[0] == b"gone":
                raise self._gone(answer[1])
            if answer[0] != b"again":
                return answer  # type: ignore[no-any-return]

    async def _find(self, client: _Client) -> str:
        """Read the id of the store that this process works with from now on."""
        found, policy = await _look(client)
        if not found:
            raise self._gone(b"")
        _check_policy(self.name, policy)
        self._store_id = found
        return found

    def _client(self) -> _Client:
        if self._closed:
            raise StoreError(f"credit store {self.name} is closed")
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            for ended in [other for other in list(self._clients) if other.is_closed()]:
                self._clients.pop(ended, None)
            client = self._clients[loop] = _Client(self._url)
        return client

    async def _drop(self, client: _Client) -> None:
        loop = asyncio.get_running_loop()
        if self._clients.get(loop) is client:
            del self._clients[loop]
            await client.close()

    def _gone(self, found: bytes) -> StoreError:
        if found:
            return StoreError(
                f"credit store {self.name}: this is another store than the one this process began with; bring"
                " that one back, or restart the gateway to work with this one"
            )
        return StoreError(
            f"credit store {self.name}: Redis holds no credit store. If it is to become a new one, run"
            " `farthing credits init`. If there was one, do not: bring it back from a replica or a backup"
        )

    def _failure(self, error: BaseException) -> StoreError:
        return StoreError(f"credit store {self.name}: {error or type(error).__name__}")


def _redis(url: str) -> Any:
    scheme, _, rest = url.partition("://")
    limits: dict[str, Any] = {
        "socket_connect_timeout": _CONNECT_S,
        "socket_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "max_connections": _CONNECTIONS,
    }
    if scheme not in _CLUSTER:
        return aioredis.Redis.from_pool(aioredis.ConnectionPool.from_url(url, **limits))
    try:
        return RedisCluster.from_url(f"{_CLUSTER[scheme]}://{rest}", **limits)
    except RedisClusterException as error:
        raise ValueError(f"{_without_secrets(url)} does not name a Redis cluster: {error}") from None


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    where = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{where}{port}{parts.path}"


def _seen(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # of a step whose caller went away nobody else looks at it


async def initialise(url: str) -> str:
    """Make an empty Redis a credit store and return the store's id.

    Raises StoreError if it is one, was one, cannot be reached, or might throw credits away, and ValueError if
    ``url`` is no Redis URL.
    """
    client, name = _Client(url), _without_secrets(url)
    store_id = secrets.token_hex(16)
    try:
        _, policy = await _look(client)
        _check_policy(name, policy)
        made = await client.ask("EVAL", source("init"), 1, STORE_KEY, store_id)
    except _AWAY as error:
        raise StoreError(f"credit store {name}: {error or type(error).__name__}") from error
    finally:
        await client.close()
    if made == b"exists":
        raise StoreError(f"credit store {name}: it is one already")
    if made == b"lost":
        raise StoreError(
            f"credit store {name}: there are credits in it, but not its id; bring it back from a replica or a"
            " backup"
        )
    return store_id


async def _look(client: _Client) -> tuple[str, str]:
    found, policy = await client.ask("EVAL", source("open"), 1, STORE_KEY)
    return found.decode(), policy.decode()


def _check_policy(name: str, policy: str) -> None:
    if policy.startswith("allkeys"):
        raise StoreError(
            f"credit store {name}: with maxmemory-policy {policy} Redis may drop credits; set noeviction"
        )
