"""What would be made of a conversation: which turns go out whole, masked or in the block, and why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from farthing.context.block import render
from farthing.context.conversation import Entry, Reader
from farthing.context.keeper import Keeper
from farthing.context.memory import open_memory
from farthing.context.plan import Plan, Served
from farthing.context.replay import Step, steps
from farthing.cost import ModelPrice
from farthing.embedding import Embedder
from farthing.money import usd_text
from farthing.settings import ContextSettings

_SHOWN = 60
"""Characters of an entry that are shown."""


def surface_of(payload: Mapping[str, Any]) -> str:
    """Return the API surface that a request body is written for, by what only that one has."""
    if "input" in payload:
        return "responses"
    kinds = {
        part.get("type")
        for message in payload.get("messages") or ()
        if isinstance(message, Mapping) and isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, Mapping)
    }
    return "messages" if "system" in payload or kinds & {"tool_use", "tool_result", "thinking"} else "chat"


def explain(
    payload: Mapping[str, Any],
    prices: Sequence[ModelPrice],
    settings: ContextSettings,
    embedder: Callable[[], Embedder],
) -> Iterator[str]:
    """Yield lines that explain a request body's history, at each of some models' prices.

    Summaries are Farthing's own digests: no model is called. Raises ValueError if the body has no history
    that could be shortened.
    """
    surface = surface_of(payload)
    conversation = Reader().read(payload, surface)
    if conversation is None:
        raise ValueError(
            "there is no history in it that could be shortened: it takes a request body with `messages` or "
            "`input` as a list, or such a list alone"
        )
    lead = (
        f", {conversation.lead_tokens:,} of them instructions and tools" if conversation.lead_tokens else ""
    )
    yield f"{conversation.turns} turns on the {surface} surface; {conversation.tokens:,} input tokens{lead}."
    for price in prices:
        for cached in (True, False) if _caches(price) else (False,):
            found = _replay(payload, surface, _at(price, cached), settings, embedder)
            yield ""
            yield from _money(found, price, cached)
            yield from _changes(found)
    yield ""
    yield f"The next request, as {prices[0].model} would get it:"
    yield from _next(_replay(payload, surface, prices[0], settings, embedder)[-1].plan)


def _caches(price: ModelPrice) -> bool:
    rates = price.rates_at(0)
    return rates.cache_read < rates.input


def _at(price: ModelPrice, cached: bool) -> ModelPrice:
    if cached:
        return price
    tiers = tuple((start, replace(rates, cache_read=rates.input)) for start, rates in price.tiers)
    return replace(price, tiers=tiers)


def _replay(
    payload: Mapping[str, Any],
    surface: str,
    price: ModelPrice,
    settings: ContextSettings,
    embedder: Callable[[], Embedder],
) -> list[Step]:
    with TemporaryDirectory() as folder:
        memory = open_memory(settings.model_copy(update={"path": Path(folder) / "context.db"}))
        try:
            keeper = Keeper(settings, memory, embedder)
            return list(steps(keeper, payload, surface, Served(price.model, price, price.max_input_tokens)))
        finally:
            memory.close()


def _money(found: Sequence[Step], price: ModelPrice, cached: bool) -> Iterator[str]:
    usual, cost = sum(step.usual for step in found), sum(step.cost for step in found)
    share = f" ({(usual - cost) / usual:.0%})" if usual else ""
    memory = "its cache warm throughout" if cached else "nothing cached"
    yield f"{price.model}, {memory}: input for {len(found)} requests"
    saved = usd_text(usual - cost)
    yield f"  all of it {usd_text(usual)} USD, with Farthing {usd_text(cost)} USD: saves {saved}{share}"


def _changes(found: Sequence[Step]) -> Iterator[str]:
    """Yield the turns at which something changes, and why."""
    before = ""
    for step in found:
        use = step.plan.use
        folded = step.plan.fold.turns if step.plan.fold else 0
        now = f"{use.decision} {folded}"
        if now != before:
            tokens = f"{use.tokens_before:,} → {use.tokens_after:,} tokens"
            yield f"  turn {step.turn}: {tokens}. {step.plan.reason}"
        before = now


def _next(plan: Plan) -> Iterator[str]:
    fold = plan.fold
    for entry in plan.conversation.entries:
        if fold and entry.index < fold.entries and not entry.pinned and entry.kind != "system":
            what = "in the block"
        elif entry.index in plan.masks:
            what = "masked"
        else:
            what = "pinned" if entry.pinned else "word for word"
        yield f"  {what:13} {entry.kind:9} {entry.tokens:>7,} tokens  {_shown(entry)}"
    if fold and fold.segments:
        yield ""
        yield from render(fold.segments).splitlines()


def _shown(entry: Entry) -> str:
    text = " ".join(entry.text[: 4 * _SHOWN].split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
