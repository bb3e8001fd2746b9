"""How much an attempt may cost at most, read from its request: output caps, answers, hidden input. Pure."""

from collections.abc import Mapping
from typing import Any

from farthing.cost import PriceBook
from farthing.proxy import errors
from farthing.proxy.calls import Deployment


def window(deployment: Deployment) -> int:
    """Return the most input (tokens) that a conversation stored with the provider can bring along.

    Raises RefusedCallError (403) where the model's window is not known.
    """
    if deployment.price is None or is_free(deployment):
        return 0
    if deployment.price.max_input_tokens is None:
        raise errors.cannot_meter(
            f"The context window of {deployment.model!r} is not known, so a stored conversation cannot be "
            "held for: send the conversation itself."
        )
    return deployment.price.max_input_tokens


def is_free(deployment: Deployment) -> bool:
    """Return whether no number of tokens costs anything there; False where the price is not known."""
    price = deployment.price
    return price is not None and PriceBook.worst_case(price, 10**6, 10**6) == 0


def output_cap(call_type: str, payload: Mapping[str, Any]) -> int | None:
    """Return the output cap (tokens an answer) that a request carries, None if it carries none.

    Of the two that chat has, the larger: whichever the provider obeys, it is held.
    """
    if call_type == "aembedding":
        return 0
    caps = [value for name in caps_of(call_type) if type(value := payload.get(name)) is int and value > 0]
    return max(caps, default=None)


def caps_of(call_type: str) -> tuple[str, ...]:
    """Return the names of the output cap that a LiteLLM call type obeys, the one to write first."""
    if call_type == "aresponses":
        return ("max_output_tokens",)
    return ("max_tokens", "max_completion_tokens") if call_type == "acompletion" else ("max_tokens",)


def answers(payload: Mapping[str, Any]) -> int:
    """Return how many answers a request asks for: ``n`` or ``best_of``, for each of its prompts."""
    counts = [value for name in ("n", "best_of") if type(value := payload.get(name)) is int and value > 0]
    prompt = payload.get("prompt")
    prompts = (
        len(prompt) if isinstance(prompt, list) and any(isinstance(p, str | list) for p in prompt) else 1
    )
    return max(counts, default=1) * max(1, prompts)
