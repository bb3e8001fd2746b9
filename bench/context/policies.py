"""Ways to send a history, turn by turn: never shortened, shortened by rule, and Farthing's keeper."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from farthing.context import summary
from farthing.context.block import fit
from farthing.context.conversation import Conversation, Entry, Reader
from farthing.context.extract import extract
from farthing.context.fold import Fold, Owner, Segment
from farthing.context.keeper import Keeper
from farthing.context.layout import Layout, Masks, count, shortened, whole_of
from farthing.context.masking import mask
from farthing.context.memory import open_memory
from farthing.context.plan import Served
from farthing.context.replay import requests
from farthing.cost import ModelPrice, PriceBook, count_text
from farthing.embedding import Embedder, Vector
from farthing.settings import ContextSettings
from farthing.telemetry import Usage

EVERY = 10
WINDOW = 16_384
"""The window whose filling triggers a compaction; at 128k none of these conversations would see one."""
FILLED = 0.8
SHARE = 0.35
"""Longest digest, as a share of what it stands for: the keeper's own bound."""
OWNER = Owner("bench", "bench")


@dataclass(frozen=True, slots=True)
class Request:
    """What a policy sends for a turn, and what its summariser read and wrote beforehand, in tokens."""

    layout: Layout
    read: int = 0
    wrote: int = 0


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation: its requests as a client sends them, and the tokens of the model's answers."""

    bodies: tuple[Mapping[str, Any], ...]
    conversations: tuple[Conversation, ...]
    answers: tuple[int, ...]


class _Remembering(Embedder):
    """Embeds a word once in all replays, in which the same passages come again and again."""

    def embed(self, text: str) -> Vector:
        return _embedded(text)


@lru_cache(maxsize=1)
def embedder() -> Embedder:
    """Return the one embedder of all replays."""
    loaded = Embedder.load()
    return _Remembering(loaded.table, loaded._tokenizer)


@lru_cache(maxsize=200_000)
def _embedded(text: str) -> Vector:
    return Embedder.embed(embedder(), text)


def talk_of(messages: Sequence[Mapping[str, Any]], turns: int) -> Talk:
    """Return the first ``turns`` turns of a chat."""
    reader = Reader()
    body = {"messages": list(messages)}
    whole = reader.read(body, "chat")
    if whole is None or whole.turns < turns:
        raise ValueError(f"a conversation of fewer than {turns} turns")
    bodies = tuple(requests(body, whole))[:turns]
    conversations = tuple(read for read in (reader.read(one, "chat") for one in bodies) if read is not None)
    answers = [0] * (whole.turns + 1)
    for entry in whole.entries:
        if entry.kind == "assistant":
            answers[whole.turns_at[entry.index]] += entry.tokens
    return Talk(bodies, conversations, tuple(answers[:turns]))


def never(talk: Talk, settings: ContextSettings) -> Iterator[Request]:
    """The full history, always."""
    for conversation in talk.conversations:
        yield Request(whole_of(conversation))


def always(talk: Talk, settings: ContextSettings) -> Iterator[Request]:
    """At each tenth turn a summary of all but the last turns, added to those before, whatever it costs."""
    fold: Fold | None = None
    for conversation in talk.conversations:
        read = wrote = 0
        if conversation.turns and conversation.turns % EVERY == 0:
            fold, read, wrote = _extended(conversation, fold, settings)
        yield Request(_layout(conversation, fold), read, wrote)


def window(talk: Talk, settings: ContextSettings) -> Iterator[Request]:
    """Once a window is four fifths full, a new summary of all but the last turns replaces the one before."""
    fold: Fold | None = None
    for conversation in talk.conversations:
        read = wrote = 0
        if _layout(conversation, fold).tokens > FILLED * WINDOW:
            bound = settings.model_copy(
                update={
                    "summary": settings.summary.model_copy(update={"max_tokens": settings.block_max_tokens})
                }
            )
            fold, read, wrote = _extended(conversation, None, bound)
        yield Request(_layout(conversation, fold), read, wrote)


def masking(talk: Talk, settings: ContextSettings) -> Iterator[Request]:
    """Tool results older than the last turns masked, as soon as they are older."""
    for conversation in talk.conversations:
        reach = _older(conversation, settings)
        masks = _masked(conversation.entries[:reach], settings)
        yield Request(_layout(conversation, None, masks))


def keeper(
    price: ModelPrice, summariser: ModelPrice, settings: ContextSettings, talk: Talk
) -> Iterator[Request]:
    """Farthing's own code, with a memory of its own. Summaries are its digests, at a summariser's price."""
    with tempfile.TemporaryDirectory() as folder:
        memory = open_memory(settings.model_copy(update={"path": Path(folder) / "context.db"}))
        kept = Keeper(settings, memory, embedder)
        served = Served(price.model, price, price.max_input_tokens)
        read = wrote = 0
        sent = Layout(())
        for body in talk.bodies:
            plan = kept.plan(OWNER, body, "chat", served)
            if plan is None:
                raise ValueError("a history that is not understood")
            yield Request(plan.layout, read, wrote)
            kept.sent(plan, usage_of(plan.layout, sent, price))
            sent, read, wrote = plan.layout, 0, 0
            due = kept.prepare(plan)
            if due is not None:
                ask = summary.request(
                    due.entries, due.base.segments if due.base else (), settings.summary.max_tokens
                )
                reads = sum(count_text(message["content"]) for message in ask.messages)
                if kept.affordable(OWNER, PriceBook.worst_case(summariser, reads, ask.max_tokens)):
                    read = reads
                    wrote = count(_digest(due.entries, settings))
                    kept.spent(due, PriceBook.cost(summariser, Usage(read, wrote)).total)
                kept.finish(due, None)
        memory.close()


def usage_of(now: Layout, before: Layout, price: ModelPrice, answer: int = 0) -> Usage:
    """Return the usage of a request whose provider has the request before in its cache, as a prefix.

    It reads the pieces that both begin with, and writes the others where writing has a price. From 1,024
    tokens on.
    """
    rates = price.rates_at(now.tokens)
    caches = rates.cache_read < rates.input
    same = now.same(before.atoms)
    read = same if caches and same >= CACHED_FROM else 0
    writes = caches and rates.cache_write > rates.input and now.tokens >= CACHED_FROM
    return Usage(now.tokens, answer, cache_read=read, cache_write=now.tokens - read if writes else 0)


CACHED_FROM = 1_024


def _older(conversation: Conversation, settings: ContextSettings) -> int:
    most = conversation.turns - settings.keep_turns
    return max((cut for cut in conversation.cuts if conversation.turns_at[cut] <= most), default=0)


def _extended(
    conversation: Conversation, fold: Fold | None, settings: ContextSettings
) -> tuple[Fold | None, int, int]:
    """Return a fold of all but the last turns, and what was read and written for it."""
    start, reach = fold.entries if fold else 0, _older(conversation, settings)
    stretch = conversation.entries[start:reach]
    text = _digest(stretch, settings)
    if not text:
        return fold, 0, 0
    earlier = fold.segments if fold else ()
    ask = summary.request(stretch, earlier, settings.summary.max_tokens)
    read = sum(count_text(message["content"]) for message in ask.messages)
    first, last = conversation.turns_at[start] + 1, conversation.turns_at[reach]
    segment = Segment(first, last, text, count(text), "bench")
    segments = fit((*earlier, segment), settings.block_max_tokens)
    prefix = conversation.entries[reach - 1].prefix.hex()
    return Fold(prefix, reach, reach, last, segments), read, count(text)


def _digest(stretch: Sequence[Entry], settings: ContextSettings) -> str:
    most = min(settings.summary.max_tokens, int(SHARE * sum(entry.tokens for entry in stretch)))
    return extract(stretch, most) if most > 0 else ""


def _masked(entries: Sequence[Entry], settings: ContextSettings) -> Masks:
    masks: dict[int, dict[int, str]] = {}
    for entry in entries:
        for result in entry.results:
            text = _mask(result.text) if result.tokens > settings.mask_over_tokens else None
            if text is not None:
                masks.setdefault(entry.index, {})[result.block] = text
    return masks


def _layout(conversation: Conversation, fold: Fold | None, masks: Masks = MappingProxyType({})) -> Layout:
    return shortened(whole_of(conversation), conversation, fold or Fold("", 0), masks, {})


@lru_cache(maxsize=4_096)
def _mask(text: str) -> str | None:
    return mask(text, "ref-0123456789")
