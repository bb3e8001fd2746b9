"""The stores that every credit test runs on. A new backend joins by adding its factory here."""

import asyncio
import atexit
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import redis

from farthing.credits.account import ORGANISATION
from farthing.credits.store import CreditStore, Payer
from farthing.telemetry import Account

StoreUrl = Callable[[Path], str]


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end from anywhere, whatever loop the test has."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class RedisServer:
    """A real Redis of the tests alone: a port of its own, nothing kept on disk unless asked for."""

    def __init__(self, *options: str) -> None:
        program = shutil.which("redis-server")
        assert program, "these tests need redis-server on the PATH (Debian: apt-get install redis-server)"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port)
        self.folder = Path(tempfile.mkdtemp(prefix="farthing-redis-"))
        keep = options or ("--save", "", "--appendonly", "no")
        self._command = [
            program,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
            *keep,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "redis-server did not answer within 20 s"
                time.sleep(0.01)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> None:
        self.kill()
        self.client.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def emptied(self) -> str:
        """Return the URL of the server, made a new and empty credit store."""
        from farthing.credits.redis import initialise

        self.client.flushall()
        finished(initialise(self.url))
        return self.url


_shared: list[RedisServer] = []


def shared_redis() -> RedisServer:
    """Return the one server of this run of the tests, started when it is first needed."""
    if not _shared:
        server = RedisServer()
        server.start()
        atexit.register(server.end)
        _shared.append(server)
    return _shared[0]


BACKENDS: dict[str, StoreUrl] = {
    "redis": lambda folder: shared_redis().emptied(),
    "sqlite": lambda folder: f"sqlite:///{folder / 'deep' / 'er' / 'credits.db'}",
}


def account(user: str, department: str = "research") -> Account:
    return Account(key_hash=f"{user}-key", user=user, department=department, cost_centre="CC-1")


def payer(user: str, department: str = "research", session: str = "") -> Payer:
    return Payer(account(user, department), session)


ANA, BEN = payer("ana"), payer("ben", "sales")
CHAIN = {
    "organisation": ORGANISATION,
    "department": "department:research",
    "user": "user:ana",
    "key": "key:ana-key",
}


async def give(
    store: CreditStore, user: str = "ana", amount: int = 1000, department: str = "research"
) -> None:
    """Grant a user credits, in nano-dollars."""
    await store.grant(f"{user}'s", f"user:{user}", amount, department=department)


async def money(store: CreditStore, account: str) -> tuple[int, int]:
    """What an account has settled and held."""
    (found,) = await store.balances([account])
    return found.settled, found.held


async def available(store: CreditStore, who: Payer = ANA) -> int:
    return (await store.standing(who)).balance.available


class Clock:
    """Unix seconds that move only when told to. They start on 2027-01-15, at 08:00 UTC."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now
