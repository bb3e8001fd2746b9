"""Climbs beside LiteLLM's own features: its guardrails see the better answer, its cache is checked."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Gateway
from tests.e2e.scripted_models import CASES
from tests.e2e.scripted_proxy import Scripted, said, scripted_proxy

GUARDRAIL = """
from litellm.integrations.custom_guardrail import CustomGuardrail


class Mask(CustomGuardrail):
    async def async_post_call_success_hook(self, data, user_api_key_dict, response):
        message = response.choices[0].message
        message.content = message.content.replace("good answer", "MASKED")
        return response

    async def async_post_call_streaming_iterator_hook(self, user_api_key_dict, response, request_data):
        async for chunk in response:
            for choice in chunk.choices:
                choice.delta.content = (choice.delta.content or "").replace("good", "MASKED")
            yield chunk
"""


@pytest.fixture(scope="module")
def masked(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """A proxy with LiteLLM's cache, and a guardrail that masks something in every answer."""
    folder = tmp_path_factory.mktemp("masked")
    (folder / "mask_guardrail.py").write_text(GUARDRAIL)

    def change(config: dict[str, Any]) -> None:
        parameters = {"guardrail": "mask_guardrail.Mask", "mode": "post_call", "default_on": True}
        config["guardrails"] = [{"guardrail_name": "mask", "litellm_params": parameters}]
        config["litellm_settings"] |= {"cache": True, "cache_params": {"type": "local"}}

    with scripted_proxy(gateway, folder, change=change) as proxy:
        yield proxy


def ask_badly(masked: Scripted, words: str, stream: bool) -> tuple[str, dict[str, Any]]:
    turn = f"[case {CASES.index('refusal')}] {words} {'streamed' if stream else 'whole'}."
    return said(masked.ask("ada", "chat", turn, stream=stream), stream)


@pytest.mark.parametrize("stream", [False, True])
def test_a_guardrail_masks_the_better_answer_as_it_would_have_the_first(masked, stream):
    text, facts = ask_badly(masked, "Greet the guardian,", stream)
    assert facts["tier"] == "fast"
    assert "MASKED" in text
    assert "good" not in text


@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_answer_in_litellms_cache_climbs_too_and_what_the_cache_gives_is_free(masked, stream):
    first, _ = ask_badly(masked, "Greet the memory,", stream)
    masked.gateway.books()  # every charge so far has arrived
    before = len(masked.gateway.charges_of("ada"))
    again, facts = ask_badly(masked, "Greet the memory,", stream)
    assert "MASKED" in first
    assert "MASKED" in again
    assert facts["tier"] == "fast"
    assert "cost" not in facts, "LiteLLM's cache had both answers"
    assert masked.gateway.balance("ada").held == 0
    masked.gateway.books()
    assert len(masked.gateway.charges_of("ada")) == before
