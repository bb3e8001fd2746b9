"""LiteLLM's SDK Router without the proxy: graded, paid for and recorded all the same."""

import asyncio
import uuid

import litellm
import pytest
import pytest_asyncio
from litellm import Router

from farthing.demo.workload import conversation
from farthing.proxy.sdk import attach
from farthing.telemetry import Account
from tests.e2e.test_surfaces import EASY, HARD

# LiteLLM's log worker lives on the first event loop it meets: all tests share one.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sdk(gateway):
    before = list(litellm.callbacks)
    farthing = attach(Account("", "ada", "research", "CC-1"), gateway.stack.settings)
    tier = gateway.stack.tier.ready_url.removesuffix("/ready") + "/v1"

    def deployment(group, model, **info):
        params = {"model": f"openai/{model}", "api_base": tier, "api_key": "none"}
        return {"model_name": group, "litellm_params": params, "model_info": info}

    config = {
        "classifier_type": "custom",
        "classifier_plugin": farthing.classifier,
        "max_tokens_from_tier_model": False,
        "tiers": {"SIMPLE": "local", "MEDIUM": "fast", "COMPLEX": "strong"},
    }
    auto = {
        "model": "auto_router/complexity_router",
        "complexity_router_default_model": "fast",
        "complexity_router_config": config,
    }
    router = Router(
        model_list=[
            {"model_name": "auto", "litellm_params": auto},
            deployment("local", "smollm2-135m-instruct"),
            deployment("fast", "gpt-5-mini-stand-in", base_model="gpt-5-mini", stand_in=True),
            deployment("strong", "gpt-5-stand-in", base_model="gpt-5", stand_in=True),
        ],
        num_retries=0,
    )
    yield router, farthing
    await farthing.close()
    litellm.callbacks[:] = before


async def charges_since(gateway, farthing, known):
    assert await farthing.delivery.flush(20)
    return [charge for charge in gateway.charges_of("ada") if charge["id"] not in known]


@pytest.mark.parametrize(("task", "grade", "tier"), [(EASY, "LOW", "local"), (HARD, "HIGH", "strong")])
async def test_router_acompletion_is_graded_charged_and_recorded(gateway, sdk, task, grade, tier):
    router, farthing = sdk
    known = {charge["id"] for charge in gateway.charges_of("ada")}
    settled = gateway.balance("ada").settled
    answer = await router.acompletion(model="auto", messages=task, max_tokens=8)
    (charge,) = await charges_since(gateway, farthing, known)
    assert (charge["grade"], charge["tier"], charge["user"]) == (grade, tier, "ada")
    assert charge["output_tokens"] == answer.usage.completion_tokens
    assert gateway.balance("ada").settled - settled == int(charge["cost_total"] * 10**9)


async def test_attaching_twice_is_refused(gateway, sdk):
    with pytest.raises(RuntimeError, match="once in a process"):
        attach(Account("", "ada", "research", "CC-1"), gateway.stack.settings)


async def test_router_acompletion_streamed_is_charged_its_usage(gateway, sdk):
    router, farthing = sdk
    known = {charge["id"] for charge in gateway.charges_of("ada")}
    stream = await router.acompletion(model="strong", messages=EASY, max_tokens=8, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text
    await farthing.meter.idle()
    for _ in range(50):  # the SDK reports the end of a stream in the background
        charges = await charges_since(gateway, farthing, known)
        if charges:
            break
        await asyncio.sleep(0.1)
    (charge,) = charges
    assert charge["streamed"] is True
    assert charge["usage_estimated"] is False
    assert 0 < charge["output_tokens"] <= 8
    assert gateway.balance("ada").held == 0


async def test_a_stream_left_half_read_is_paid_and_holds_nothing_once_calls_are_ended(gateway, sdk):
    router, farthing = sdk
    before = gateway.balance("ada")
    stream = await router.acompletion(model="strong", messages=EASY, max_tokens=64, stream=True)
    await anext(aiter(stream))
    assert gateway.balance("ada").held > before.held
    await farthing.end_calls()
    after = gateway.balance("ada")
    assert after.held == before.held
    assert after.settled > before.settled


async def test_a_long_conversation_goes_out_shorter_here_too(gateway, sdk):
    router, farthing = sdk
    known = {charge["id"] for charge in gateway.charges_of("ada")}
    name = uuid.uuid4().hex
    for request in conversation("ada", 11):
        metadata = {"session_id": name}
        messages = request.body["messages"]
        await router.acompletion(model="fast", messages=messages, max_tokens=4, metadata=metadata)
        await farthing.shortening.idle()
    charges = await charges_since(gateway, farthing, known)
    at_11 = charges[-1]
    charges = [charge for charge in charges if charge["session_id"] == at_11["session_id"]]
    assert [charge["kind"] for charge in charges] == ["inference"] * 11, (
        "there is no proxy to ask for a summary"
    )
    assert [charge["context_decision"] for charge in charges[:10]] == ["leave"] * 10
    assert at_11["context_decision"] == "block"
    assert at_11["input_tokens"] < charges[-2]["input_tokens"]
