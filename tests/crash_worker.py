"""A proxy worker without its proxy: the real meter, store and outbox, under streaming load until killed."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from opentelemetry import trace

from farthing.cost import PriceBook
from farthing.cost.tokens import encoding
from farthing.credits import open_store
from farthing.credits.recovery import Recovery
from farthing.grading import Grade
from farthing.grading.decision import Decision
from farthing.proxy.alarms import Alarms
from farthing.proxy.calls import Deployment
from farthing.proxy.charge_log import ChargeLog
from farthing.proxy.errors import RefusedCallError
from farthing.proxy.holds import Holds
from farthing.proxy.meter import Meter
from farthing.proxy.policy import DEFAULT_POLICY
from farthing.proxy.streams import metered
from farthing.proxy.tree import Tree
from farthing.settings import CostSettings, Price, Settings
from farthing.telemetry import Account
from farthing.telemetry.metrics import Metrics
from farthing.telemetry.outbox import Outbox
from farthing.telemetry.spans import ChargeSpans

MODEL = "best"
USERS = ("ada", "grace", "linus")
CLIENTS = 6
COST = CostSettings(baseline_model=MODEL, prices={MODEL: Price(input=10, output=100)})
encoding()  # imported and loaded before the first worker starts


class Pipeline:
    """Grades at once: how is not what is tested."""

    async def grade(self, *_: Any) -> Decision:
        return Decision(Grade("HIGH", 0.9, "long", "learned"))


class Worker:
    """One process's meter on the store at ``url`` and the outbox in ``folder``."""

    def __init__(self, folder: Path, url: str, told: Connection) -> None:
        settings = self.settings = Settings(cost=COST)
        self.store = open_store(url)
        self.outbox = Outbox(folder / "outbox.db")
        self._told = told
        charge_log = ChargeLog(self.outbox, ChargeSpans("farthing", self.outbox.instance))
        prices = PriceBook(settings.cost)
        self.deployment = Deployment("d", "strong", MODEL, "openai", False, prices.price(MODEL))
        self.meter = Meter(
            settings,
            pipeline=Pipeline(),  # type: ignore[arg-type]
            prices=prices,
            holds=Holds(settings, prices, self.store, charge_log, Alarms(settings)),
            charge_log=charge_log,
            tree=Tree(trace.NoOpTracer()),
            metrics=Metrics(settings.telemetry, instance=self.outbox.instance),
        )

    async def run(self) -> None:
        await Recovery(self.store, self.outbox).run()
        await asyncio.gather(*(self.client(number) for number in range(CLIENTS)))

    async def client(self, number: int) -> None:
        for turn in itertools.count():
            user = random.choice(USERS)
            account = Account(f"{user}-key", user, "research", "")
            try:
                await self.call(account, f"{number}.{turn}")
            except RefusedCallError:
                await asyncio.sleep(0.005)

    async def call(self, account: Account, ask: str) -> None:
        payload = {
            "messages": [{"role": "user", "content": f"Tell me about {ask}."}],
            "max_tokens": 120,  # more than `answer` ever says
            "stream": True,
        }
        call = self.meter.open(account, DEFAULT_POLICY, "chat", payload, {})
        await self.meter.begin(call, "acompletion", self.deployment, payload)
        hangs_up = random.random() < 0.3
        stream = metered(self.meter, call, answer(random.randint(5, 25)), self.settings)
        async for _ in stream:
            if hangs_up and random.random() < 0.1:
                break
        await stream.aclose()
        assert call.attempt is not None
        charge = call.attempt.charge
        assert charge is not None
        self.meter.close(call)
        # The client has its answer: from now on this charge must never be lost.
        self._told.send((charge.id, charge.settled))


async def answer(words: int) -> AsyncIterator[Any]:
    """A chat stream, its words a millisecond apart."""
    for number in range(words):
        await asyncio.sleep(random.uniform(0, 0.002))
        delta = SimpleNamespace(content=f"word {number} ")
        yield SimpleNamespace(choices=[SimpleNamespace(delta=delta, finish_reason=None)])
    yield SimpleNamespace(choices=[SimpleNamespace(delta=None, finish_reason="stop")])
    usage = {"prompt_tokens": 8, "completion_tokens": 2 * words, "total_tokens": 8 + 2 * words}
    yield SimpleNamespace(choices=[], usage=usage)


def serve(folder: Path, url: str, told: Connection) -> None:
    """Work until killed."""

    async def work() -> None:
        await Worker(folder, url, told).run()

    asyncio.run(work())
