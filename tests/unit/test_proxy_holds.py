"""The holds of a process: renewed while their attempts live, given back however those end."""

import asyncio
from types import SimpleNamespace

import pytest
from opentelemetry import trace

from farthing.cost import PriceBook
from farthing.credits import StoreError, open_store
from farthing.proxy import holds as holds_module
from farthing.proxy.alarms import Alarms
from farthing.proxy.calls import Attempt, Call, Deployment
from farthing.proxy.charge_log import UnrecordableError
from farthing.proxy.holds import Holds, LocalShareError
from farthing.settings import CostSettings, Credits, Price, Settings
from farthing.telemetry import Account
from tests.unit.credit_backends import Clock

ADA = Account("k", "ada", "research", "CC-1")
COST = CostSettings(prices={"own": Price(input=0, output=0), "gpt": Price(input=1, output=10)})
PRICES = PriceBook(COST)
ASK = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100}
CREDIT = 1_000_000


def deployment(tier="fast", model="gpt"):
    return Deployment(model, tier, model, "openai", False, PRICES.price(model))


def call_of():
    return Call(ADA, "chat", trace.INVALID_SPAN, ASK, "s1")


def attempt_of(name, to):
    return Attempt(id=name, call_type="acompletion", deployment=to, held=0, available=0, streamed=False)


def charge(amount):
    return SimpleNamespace(tier="fast", model="gpt", grade="LOW", kind="inference", settled=amount)


class World:
    def __init__(self, tmp_path, **credits):
        self.clock = Clock()
        self.store = open_store(f"sqlite:///{tmp_path / 'credits.db'}", clock=self.clock)
        settings = Settings(cost=COST, credits=Credits(hold_ttl_s=60, **credits))
        self.recording = True
        self.log = SimpleNamespace(admit=self.admit)
        self.holds = Holds(settings, PRICES, self.store, self.log, Alarms(settings))

    def admit(self, *, free):
        if not self.recording and not free:
            raise UnrecordableError("no room")

    async def take(self, name, to=None, call=None):
        return await self.holds.take(call or call_of(), name, "acompletion", to or deployment(), ASK, 50)

    async def held(self):
        return (await self.store.standing(call_of().payer)).balance.held


@pytest.fixture
async def world(tmp_path):
    made = World(tmp_path, local_share_at_zero=0.5)
    await made.store.grant("g", "user:ada", 10 * CREDIT, department="research")
    yield made
    await made.holds.close()
    assert await made.store.verify() == []
    await made.store.close()


async def test_a_living_attempts_hold_outlasts_its_lease_and_a_dead_ones_does_not(world):
    await world.take("lives")
    await world.take("dies")
    world.holds._live.pop("dies")  # its process was killed
    held = await world.held()
    for _ in range(5):
        world.clock.now += 40
        await world.holds.renew()
    assert await world.held() == held // 2
    await world.holds.settle(call_of(), attempt_of("lives", deployment()), charge(CREDIT))
    world.clock.now += 40
    await world.holds.renew()
    assert await world.held() == 0


async def test_a_request_that_is_cancelled_while_it_holds_gives_everything_back(world):
    slow = asyncio.Event()
    hold = world.store.hold

    async def lingering(*what):
        found = await hold(*what)
        await slow.wait()
        return found

    world.store.hold = lingering
    task = asyncio.create_task(world.take("gone"))
    await asyncio.sleep(0.05)
    assert await world.held() > 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.holds.close()
    assert await world.held() == 0


async def test_what_cannot_be_recorded_is_not_spent_but_the_free_goes_on(world):
    world.recording = False
    with pytest.raises(UnrecordableError):
        await world.take("paid")
    assert (await world.take("free", deployment("local", "own"))).amount == 0


async def test_a_hold_whose_answer_came_too_late_is_given_back(world, monkeypatch):
    monkeypatch.setattr(holds_module, "_RELEASE_PAUSES_S", (0.01, 0.01))
    hold, release = world.store.hold, world.store.release

    async def late(*what):
        await hold(*what)
        raise StoreError("no answer")

    async def away(*what):
        world.store.release = release
        raise StoreError("no answer")

    world.store.hold, world.store.release = late, away
    with pytest.raises(StoreError):
        await world.take("late")
    await world.holds.close()
    world.store.hold = hold
    assert await world.held() == 0


async def test_while_the_store_is_away_the_free_goes_on_for_everybody(world):
    async def away(*_, **__):
        raise StoreError("away")

    world.store.hold = world.store.draw = away
    assert (await world.take("free", deployment("local", "own"))).amount == 0


async def test_at_zero_the_local_tier_is_shared_by_time_and_who_has_credits_is_not_counted(world):
    own = deployment("local", "own")
    assert (await world.take("rich", own)).available > 0
    await world.store.settle("all", call_of().payer, 10 * CREDIT)
    await world.take("first", own)
    first = attempt_of("first", own)
    first.started_ns -= 31 * 10**9  # more than half a minute of the share's minute
    await world.holds.release(first)
    await world.holds.close()
    with pytest.raises(LocalShareError):
        await world.take("second", own)
    world.clock.now += 10
    await world.take("third", own)


async def test_a_store_that_is_away_at_the_end_leaves_the_charge_to_the_outbox(world):
    await world.take("a")

    async def away(*_):
        raise StoreError("away")

    settle, world.store.settle = world.store.settle, away
    attempt = attempt_of("a", deployment())
    await world.holds.settle(call_of(), attempt, charge(CREDIT))
    world.store.settle = settle
    assert await world.store.unsettled(["a"]) == {"a"}
