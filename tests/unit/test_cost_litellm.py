"""Our totals against LiteLLM's own calculator, model by model, to the nano-dollar."""

import os
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
import litellm
from litellm.types.utils import CompletionTokensDetailsWrapper, PromptTokensDetailsWrapper
from litellm.types.utils import Usage as LiteLLMUsage

from farthing.cost import PriceBook
from farthing.telemetry import Usage

BOOK = PriceBook()
USAGES = [
    Usage(1, 1),
    Usage(1_234, 567),
    Usage(10_000, 2_048, cache_read=7_777),
    Usage(10_001, 333, cache_read=4_000, cache_write=3_333),
    Usage(8_000, 4_096, cache_read=100, reasoning=3_000),
    Usage(150_000, 999, cache_write=149_000),
    Usage(199_999, 10),
    Usage(250_001, 777, cache_read=200_000, reasoning=700),
    Usage(300_007, 1_001, cache_read=123_457, cache_write=65_432),
]
MODELS = [
    "gpt-5",
    "gpt-5-mini",
    "gpt-5.4",
    "gpt-4o-mini",
    "openai/o3",
    "claude-haiku-4-5",
    "anthropic/claude-sonnet-4-5",
    "claude-sonnet-5",
    "claude-opus-4-6",
    "gemini/gemini-2.5-pro",
    "gemini/gemini-2.5-flash",
    "vertex_ai/gemini-2.5-pro",
    "xai/grok-4.20-beta-0309-reasoning",
    "deepseek/deepseek-chat",
    "mistral/mistral-large-latest",
    "dashscope/qwen-flash",
    "dashscope/qwen-plus-2025-07-28",
    "azure/gpt-5",
]


def theirs(model: str, usage: Usage, **more: Any) -> float:
    block = LiteLLMUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        prompt_tokens_details=PromptTokensDetailsWrapper(
            cached_tokens=usage.cache_read, cache_creation_tokens=usage.cache_write
        ),
        completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=usage.reasoning),
    )
    return sum(litellm.cost_per_token(model=model, usage_object=block, **more))


@pytest.mark.parametrize("usage", USAGES, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_our_total_is_litellms_to_the_nano_dollar(model: str, usage: Usage) -> None:
    price = BOOK.price(model)
    assert price is not None
    # LiteLLM adds floats; each of our components is rounded once. Whole-nano rates leave no difference.
    fractional = any(
        rate % 10**15 != 0
        for rate in (price.rates_at(usage.input_tokens).input, price.rates_at(usage.input_tokens).cache_read)
    )
    assert abs(BOOK.cost(price, usage).total - theirs(model, usage) * 1e9) <= 0.001 + fractional


@pytest.mark.parametrize("tier", ["priority", "flex"])
@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-mini", "gpt-5.4", "gpt-4o-mini", "gemini/gemini-2.5-pro"])
def test_service_tiers_too(model: str, tier: str) -> None:
    price = BOOK.price(model, service_tier=tier)
    assert price is not None
    for usage in USAGES:
        ours = BOOK.cost(price, usage).total
        assert abs(ours - theirs(model, usage, service_tier=tier) * 1e9) <= 1


def test_completion_cost_of_a_whole_response_agrees() -> None:
    usage = Usage(10_000, 2_048, cache_read=7_000, reasoning=1_000)
    response = litellm.ModelResponse(
        model="gpt-5",
        usage=LiteLLMUsage(
            prompt_tokens=10_000,
            completion_tokens=2_048,
            total_tokens=12_048,
            prompt_tokens_details=PromptTokensDetailsWrapper(cached_tokens=7_000),
            completion_tokens_details=CompletionTokensDetailsWrapper(reasoning_tokens=1_000),
        ),
    )
    price = BOOK.price("openai/gpt-5")
    assert price is not None
    total = litellm.completion_cost(completion_response=response, model="openai/gpt-5")
    assert BOOK.cost(price, usage).total == round(total * 1e9)


def test_one_hour_cache_writes_agree() -> None:
    from litellm.types.utils import CacheCreationTokenDetails

    block = LiteLLMUsage(
        prompt_tokens=10_000,
        completion_tokens=10,
        total_tokens=10_010,
        prompt_tokens_details=PromptTokensDetailsWrapper(
            cached_tokens=1_000,
            cache_creation_tokens=8_000,
            cache_creation_token_details=CacheCreationTokenDetails(
                ephemeral_5m_input_tokens=5_000, ephemeral_1h_input_tokens=3_000
            ),
        ),
    )
    price = BOOK.price("claude-sonnet-4-5")
    assert price is not None
    ours = BOOK.cost(price, Usage(10_000, 10, 1_000, 8_000, cache_write_1h=3_000)).total
    assert ours == round(sum(litellm.cost_per_token(model="claude-sonnet-4-5", usage_object=block)) * 1e9)
