"""What shortening adds to a request's way, with a history of 200 messages and 50,000 tokens that grows.

Run: python -m bench.context.latency --data DIR
"""

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.context.data import ENVIRONMENT, DataError, Message, folder, load_tau
from bench.context.money import load_locomo
from bench.context.policies import OWNER, embedder, usage_of
from farthing.context.keeper import Keeper
from farthing.context.layout import Layout
from farthing.context.memory import open_memory
from farthing.context.plan import Served
from farthing.cost import ModelPrice, PriceBook, count_text
from farthing.settings import ContextSettings

MESSAGES, TOKENS = 200, 50_000
PEERS = 8
"""Requests on which LiteLLM's two are timed, the last ones: each takes seconds."""
WARM_FROM, LATER = 140, 40
"""Messages at which the session begins, and those beyond the 200 over which the requests are timed."""
MODELS = ("gpt-4-turbo", "gpt-5")
"""One without a cache, where nearly every request is folded anew, and one with."""


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds on the request's way, over ``requests`` requests."""

    name: str
    p50: float
    p99: float
    requests: int


def rows(data: Path) -> list[Row]:
    """Time Farthing's planning, and LiteLLM's two ways to shorten to half, on the same requests."""
    # Importing LiteLLM would fetch its price map otherwise.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from litellm import compress
    from litellm.utils import trim_messages

    history = _history(data)
    book = PriceBook()
    found = [_row(f"Farthing, {name}", list(_planning(history, book.price(name)))) for name in MODELS]
    half = TOKENS // 2
    others: dict[str, Callable[[list[dict[str, Any]]], object]] = {
        "litellm.compress": lambda told: compress(
            told, "gpt-4o", compression_trigger=half, compression_target=half
        ),
        "litellm trim_messages": lambda told: trim_messages(told, "gpt-4o", max_tokens=half),
    }
    for name, shorten in others.items():
        found.append(_row(name, list(_timed(history, shorten))))
    return found


def _history(data: Path) -> list[Message]:
    """An agent's loop whose user also tells of other things, so that 200 messages have 50,000 tokens."""
    said = iter([text for conversation in load_locomo(data) for text in conversation])
    told = [message for run in load_tau(data) for message in run.messages if message["role"] != "system"]
    short = TOKENS - sum(count_text(str(message.get("content") or "")) for message in told[:MESSAGES])
    asks = sum(message["role"] == "user" for message in told[:MESSAGES])
    history: list[Message] = [load_tau(data)[0].messages[0]]
    for message in told[: MESSAGES + LATER]:
        content = message.get("content") or ""  # LiteLLM's compress cannot take a message without any
        if message["role"] == "user":
            more: list[str] = []
            while sum(map(count_text, more)) < short // asks:
                more.append(next(said, content))
            content = "\n".join([content, *more])
        history.append({**message, "content": content})
    return history


def _requests(history: Sequence[Message]) -> Iterator[list[dict[str, Any]]]:
    for at, message in enumerate(history):
        if message["role"] == "assistant" and at >= WARM_FROM:
            yield [dict(one) for one in history[:at]]


def _planning(history: Sequence[Message], price: ModelPrice | None) -> Iterator[float]:
    if price is None:
        raise DataError("a model without a price")
    settings = ContextSettings()
    with tempfile.TemporaryDirectory() as place:
        memory = open_memory(settings.model_copy(update={"path": Path(place) / "context.db"}))
        keeper = Keeper(settings, memory, embedder)
        served = Served(price.model, price, price.max_input_tokens)
        before = Layout(())
        for messages in _requests(history):
            began = time.perf_counter()
            plan = keeper.plan(OWNER, {"messages": messages}, "chat", served)
            took = time.perf_counter() - began
            if plan is None:
                raise DataError("a history that is not understood")
            if len(messages) >= MESSAGES:
                yield took * 1e3
            keeper.sent(plan, usage_of(plan.layout, before, price))
            before = plan.layout
            due = keeper.prepare(plan)
            if due is not None:
                keeper.finish(due, None)
        memory.close()


def _timed(history: Sequence[Message], shorten: Callable[[list[dict[str, Any]]], object]) -> Iterator[float]:
    for messages in list(_requests(history))[-PEERS:]:
        if len(messages) >= MESSAGES:
            began = time.perf_counter()
            shorten(messages)
            yield (time.perf_counter() - began) * 1e3


def _row(name: str, times: Sequence[float]) -> Row:
    gc.collect()
    ordered = sorted(times)
    last = len(ordered) - 1
    return Row(name, ordered[round(0.5 * last)], ordered[round(0.99 * last)], len(ordered))


def markdown(measured: Sequence[Row]) -> str:
    """Return the table."""
    lines = ["| method | p50, ms | p99, ms | requests |", "|---|---:|---:|---:|"]
    lines += [f"| {row.name} | {row.p50:.2f} | {row.p99:.2f} | {row.requests} |" for row in measured]
    return "\n".join(lines)


METHOD = f"""\
An agent's loop of tau-bench, whose user also tells of other things (LoCoMo), so that {MESSAGES} messages have
{TOKENS:,} tokens. Each request adds a turn; timed are those from {MESSAGES} messages on, in a session that
was planned and prepared for 30 requests before. Ours is `Keeper.plan`: reading the history, the folds that
fit, the decision, the snippets, the request body made anew, with the memory on disk; what is prepared between
requests is not on their way. LiteLLM's are called with the same messages, to shorten to half; neither calls a
model here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser("python -m bench.context.latency", description=__doc__)
    parser.add_argument("--data", type=Path, help=f"folder of the context data (default: ${ENVIRONMENT})")
    try:
        print(markdown(rows(folder(parser.parse_args(arguments).data))))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
