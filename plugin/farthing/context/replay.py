"""A conversation sent turn by turn, as it would have been: what each turn's request holds and what it costs.

The real planning and preparing, on a memory of its own; only the provider is reckoned: its cache knows what
two requests in a row begin with alike, and never forgets in between.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from farthing.context.conversation import Conversation, Reader
from farthing.context.fold import Owner
from farthing.context.keeper import Keeper
from farthing.context.layout import Atom
from farthing.context.plan import Plan, Served
from farthing.cost import ModelPrice, Rates, cost
from farthing.telemetry import Usage

_OWNER = Owner("replay", "replay")
CACHED_FROM = 1_024
"""Tokens from which on a common beginning is cached (OpenAI, Gemini 2.5, Claude Sonnet)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One turn's request. ``usual`` and ``cost``: its input's cost with the full history, and as it was sent,
    in nano-dollars."""

    turn: int
    plan: Plan
    usual: int
    cost: int


def steps(keeper: Keeper, payload: Mapping[str, Any], surface: str, served: Served) -> Iterator[Step]:
    """Yield the requests of a conversation, one for each of the model's turns in it and one for the next.

    ``keeper`` must be a fresh one. Summaries are Farthing's own digests. Raises ValueError for a request body
    without a history.
    """
    conversation = Reader().read(payload, surface)
    if conversation is None:
        raise ValueError("no history that could be shortened: is it a request of another surface?")
    usual: tuple[Atom, ...] = ()
    sent: tuple[Atom, ...] = ()
    for turn, body in enumerate(requests(payload, conversation), 1):
        plan = keeper.plan(_OWNER, body, surface, served)
        if plan is None:
            continue
        usage = usage_of(plan.layout.tokens, plan.layout.same(sent), served.price)
        full = usage_of(plan.whole.tokens, plan.whole.same(usual), served.price)
        yield Step(turn, plan, _input(served, full), _input(served, usage))
        usual, sent = plan.whole.atoms, plan.layout.atoms
        keeper.sent(plan, usage)
        due = keeper.prepare(plan)
        if due is not None:
            keeper.finish(due, None)


def requests(payload: Mapping[str, Any], conversation: Conversation) -> Iterator[dict[str, Any]]:
    """Yield the request bodies that a conversation was made of: each ends before a turn of the model."""
    name = "input" if conversation.surface == "responses" else "messages"
    items = payload[name]
    lead = len(items) - len(conversation.entries)
    turns = conversation.turns_at
    for at in range(len(conversation.entries)):
        before_a_turn = turns[at + 1] > turns[at]
        if before_a_turn and at:
            yield {**payload, name: items[: lead + at]}
    yield {**payload, name: items}


def usage_of(tokens: int, same: int, price: ModelPrice) -> Usage:
    """Return the input usage of a request whose first ``same`` tokens the last one had, too."""
    rates: Rates = price.rates_at(tokens)
    read = same if rates.cache_read < rates.input and same >= CACHED_FROM else 0
    written = tokens - read if read and rates.cache_write > rates.input else 0
    return Usage(tokens, cache_read=read, cache_write=written)


def _input(served: Served, usage: Usage) -> int:
    return cost(served.price, usage).total
