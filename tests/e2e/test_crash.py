"""kill -9 at any instant: no balance below zero, no charge lost, none settled twice, no money kept."""

import asyncio
import itertools
import json
import random
import threading
import time
from decimal import Decimal

import httpx
import pytest

from farthing.credits import open_store
from farthing.credits.recovery import Recovery
from farthing.telemetry.outbox import Outbox
from farthing.telemetry.spans import paid_of
from tests.crash_worker import USERS, serve
from tests.e2e.scripted_proxy import scripted_proxy
from tests.unit.credit_backends import BACKENDS
from tests.workers import workers

KILLS = 100
GRANT = 2_000_000_000
"""Nano-dollars for every ten kills, which leave some sixty holds of 12 million each behind."""


async def books(url, outbox_path, told):
    """Mend what the last crash left, as a start does, and compare outbox and balances."""
    store, outbox = open_store(url), Outbox(outbox_path)
    await Recovery(store, outbox).run()
    charges = {}
    async for page in outbox.pages(0, 500):
        for entry in page:
            assert entry.charge_id not in charges, "a charge is in the outbox twice"
            charges[entry.charge_id] = paid_of(entry.payload).amount
    for charge_id, amount in told.items():
        assert charges[charge_id] == amount, "a client was told of a charge that is lost"
    assert await store.unsettled(list(charges)) == set()
    balances = {balance.account: balance for balance in await store.balances()}
    assert balances["organisation:"].settled == sum(charges.values())
    for balance in balances.values():
        assert balance.overdraft == 0
        assert not balance.limited or balance.available >= 0
    assert await store.verify() == []
    await store.close()
    await outbox.close()
    return balances


async def books_after_the_leases(url):
    store = open_store(url, clock=lambda: time.time() + 301)
    assert {balance.held for balance in await store.balances()} == {0}
    assert await store.verify() == []
    await store.close()


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_workers_killed_at_random_instants_lose_nothing(backend, tmp_path):
    url = BACKENDS[backend](tmp_path)
    told = {}

    async def grant(amount):
        store = open_store(url)
        for user in USERS:  # the last is refused now and then
            given = amount // 50 if user == USERS[-1] else amount
            await store.grant(f"{user}'s", f"user:{user}", given, department="research")
        await store.plan("department:research", 2 * amount)
        await store.close()

    for kill in range(KILLS):
        if kill % 10 == 0:
            asyncio.run(grant(GRANT * (1 + kill // 10)))
        reading, writing = workers.Pipe(duplex=False)
        worker = workers.Process(target=serve, args=(tmp_path, url, writing), daemon=True)
        worker.start()
        writing.close()
        # From the very start, in which the last crash is mended, to amid the streams.
        if kill % 4:
            assert reading.poll(30), "the worker did not begin to answer"
        time.sleep(random.uniform(0, 0.15))
        worker.kill()
        worker.join(timeout=30)
        try:
            while True:
                charge_id, amount = reading.recv()
                assert charge_id not in told
                told[charge_id] = amount
        except EOFError:
            pass
        if kill % 20 == 19:
            asyncio.run(books(url, tmp_path / "outbox.db", told))
    assert len(told) > KILLS
    asyncio.run(books(url, tmp_path / "outbox.db", told))
    asyncio.run(books_after_the_leases(url))


class Clients:
    """Clients that stream from a proxy without pause, whether it is there or not."""

    def __init__(self, proxy, number):
        self.told, self._proxy, self._over = {}, proxy, threading.Event()
        self._numbers = itertools.count()
        self._threads = [threading.Thread(target=self._stream, args=(n,)) for n in range(number)]
        for thread in self._threads:
            thread.start()

    def _stream(self, number):
        user = ("ada", "grace")[number % 2]
        while not self._over.is_set():
            body = {
                "model": "strong",
                "stream": True,
                "max_tokens": 300,
                "litellm_session_id": f"crash {next(self._numbers)}",
                "messages": [{"role": "user", "content": f"Tell me [slowly] about {number}."}],
            }
            headers = {"authorization": f"Bearer {self._proxy.gateway.secret(user)}"}
            try:
                url = f"{self._proxy.url}/v1/chat/completions"
                with httpx.stream("POST", url, json=body, headers=headers, timeout=30) as answer:
                    for line in answer.iter_lines():
                        if '"farthing"' in line:
                            facts = json.loads(line.removeprefix("data: "))["farthing"]
                            self.told[facts["charge"]] = int(Decimal(facts["cost"]) * 10**9)
            except httpx.HTTPError:
                time.sleep(0.1)

    def stop(self):
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=60)


def test_a_real_proxy_killed_under_streaming_load_loses_nothing(gateway, tmp_path):
    url, outbox = f"sqlite:///{tmp_path / 'credits.db'}", tmp_path / "outbox.db"

    def settle(settings):
        settings["telemetry"] |= {"outbox": str(outbox), "otlp_endpoint": "http://127.0.0.1:9"}
        settings["credits"]["store"] = url

    with scripted_proxy(gateway, tmp_path, settle) as proxy:
        clients = Clients(proxy, 8)
        try:
            for _ in range(3):
                before = len(clients.told)
                deadline = time.monotonic() + 60
                while len(clients.told) == before:
                    assert time.monotonic() < deadline, "no stream came to its end"
                    time.sleep(0.05)
                time.sleep(random.uniform(0, 2.5))
                proxy.part.kill()
                proxy.part.start()
                proxy.part.wait_ready()
        finally:
            clients.stop()
    assert len(clients.told) >= 3
    asyncio.run(books(url, outbox, clients.told))
    asyncio.run(books_after_the_leases(url))
