"""A balance that is too short for the grade's tier: which cheaper one the call goes to."""

import pytest
from opentelemetry import trace

from farthing.cost import PriceBook
from farthing.credits import Balance, Standing, StoreError
from farthing.proxy.calls import Call
from farthing.proxy.climb_down import ClimbDown
from farthing.proxy.deployments import Deployments
from farthing.proxy.policy import Policy
from farthing.settings import CostSettings, Credits, DepartmentCredits, Price, Settings
from farthing.telemetry import Account

PRICES = {
    "cheap": Price(input=0, output=0),
    "middling": Price(input=1, output=1),
    "best": Price(input=100, output=100),
}
COST = CostSettings(prices=PRICES)
MODELS = {"local": "cheap", "fast": "middling", "strong": "best"}


class Router:
    def get_model_list(self, model_name):
        return [
            {"litellm_params": {"model": f"openai/{MODELS[model_name]}"}, "model_info": {"id": model_name}}
        ]


class Purse:
    """A store that has so much."""

    def __init__(self, available):
        self.available = available

    async def standing(self, payer):
        if self.available is None:
            raise StoreError("away")
        return Standing(Balance(payer.user_id), self.available, payer.user_id)


async def choose(available, tier="strong", *, policy=None, router=True, **payload):
    credits = Credits(departments={"strict": DepartmentCredits(when_short="deny")})
    settings = Settings(cost=COST, credits=credits)
    prices = PriceBook(settings.cost)
    down = ClimbDown(
        settings,
        prices,
        Purse(available),
        Deployments(settings, prices),
        lambda: Router() if router else None,
    )
    body = {"messages": [{"role": "user", "content": "Prove it."}]} | payload
    department = "strict" if policy == "deny" else "research"
    rules = policy if isinstance(policy, Policy) else Policy()
    call = Call(Account("k", "ada", department, ""), "chat", trace.INVALID_SPAN, body, policy=rules)
    chosen = await down.tier_for(call, tier)
    assert call.climbed_down_from == ("" if chosen == tier else tier)
    return chosen


USD = 10**9


async def test_who_can_pay_gets_the_tier_of_the_grade():
    assert await choose(1 * USD) == "strong"
    assert await choose(1 * USD, "local") == "local"


async def test_who_cannot_gets_the_dearest_tier_that_fits_and_local_at_nothing():
    assert await choose(USD // 20) == "fast"
    assert await choose(USD // 1000) == "local"
    assert await choose(0) == "local"
    assert await choose(-5 * USD) == "local"


async def test_without_a_cap_of_the_clients_a_useful_answer_must_fit():
    enough = 100 * 1024 * 1000 + 100 * 100 * 1000  # 1024 tokens of output and the short question
    assert await choose(enough * 2) == "strong"
    assert await choose(100 * 900 * 1000) == "fast"


async def test_the_clients_own_cap_counts_as_it_is():
    assert await choose(USD // 5, max_tokens=100) == "strong"
    assert await choose(USD // 5, max_tokens=100, n=64) == "fast"
    assert await choose(USD // 5, max_tokens=10_000) == "fast"


async def test_a_long_history_counts_too():
    history = [{"role": "user", "content": "word " * 20_000}, {"role": "user", "content": "Go on."}]
    assert await choose(2 * USD, max_tokens=100, messages=history) == "fast"


async def test_a_floor_holds_and_a_department_may_rather_be_refused():
    assert await choose(0, policy=Policy(floor="MEDIUM")) == "fast"
    assert await choose(0, policy="deny") == "strong"


@pytest.mark.parametrize("case", [{"available": None}, {"available": 0, "router": False}])
async def test_without_store_or_router_the_hold_decides(case):
    assert await choose(**case) == "strong"
