"""How much to hold for an attempt: its worst case at the price of the model really called."""

import logging
from dataclasses import dataclass

from farthing.cost import ModelPrice, PriceBook
from farthing.credits.store import MAX_AMOUNT, CreditStore, InsufficientCreditsError, Payer, StoreError
from farthing.settings import Credits

log = logging.getLogger("farthing")

SMALLEST_ANSWER = 16
"""Tokens. A balance that affords less is spent; it is also the least that OpenAI takes as an output cap,
and LiteLLM raises smaller caps to it on the way to the Responses API."""

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Held:
    """A hold that was granted. Amounts are nano-dollars.

    ``available`` is what the user has left for other holds, 0 if the store could not say (``known`` False);
    ``output_cap`` is the cap (tokens per answer) to put on the request, or None to leave it alone.
    """

    amount: int
    available: int
    output_cap: int | None = None
    known: bool = True


async def hold_worst_case(
    store: CreditStore,
    prices: PriceBook,
    settings: Credits,
    hold_id: str,
    payer: Payer,
    price: ModelPrice | None,
    *,
    input_tokens: int,
    output_cap: int | None,
    answers: int = 1,
) -> Held:
    """Hold ``input_tokens`` plus ``answers`` times the output cap at ``price``, all or nothing.

    If the client set no ``output_cap``, the configured one, the model's own limit or what the accounts
    afford is put on the request, whichever is least: the only way that a hold can cover the answer.
    An unpriced or free call holds nothing and needs no cap.

    Raises InsufficientCreditsError, or StoreError if the store fails and ``on_store_failure`` is ``deny``
    (a free call goes on all the same).
    """

    def worst(cap: int) -> int:
        return min(MAX_AMOUNT, prices.worst_case(price, input_tokens, answers * cap)) if price else 0

    wanted = output_cap
    if wanted is None:
        limit = price.max_output_tokens if price else None
        wanted = min(settings.max_output_tokens, limit or settings.max_output_tokens)
    cap = max(SMALLEST_ANSWER, wanted)
    try:
        for tries_left in reversed(range(_TRIES)):  # another call may take what this one was about to
            amount = worst(cap)
            try:
                standing = await store.hold(hold_id, payer, amount, settings.hold_ttl_s)
                break
            except InsufficientCreditsError as short:
                if price is None or output_cap is not None or not tries_left:
                    raise
                cap = min(cap, prices.affordable_output(price, input_tokens, short.available) // answers)
                if cap < SMALLEST_ANSWER:
                    raise
        capped = output_cap is None and amount > 0
        return Held(amount, standing.balance.available, cap if capped else None)
    except StoreError:
        free = worst(cap) == 0
        if settings.on_store_failure == "deny" and not free:
            raise
        log.exception("farthing: the credit store failed; a call goes on without a hold")
        return Held(0, 0, cap if output_cap is None and not free else None, known=False)
