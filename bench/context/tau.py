"""Do the facts survive that an agent will use? Tool-calling trajectories, shortened to 40 % of their tokens.

At every fifth model turn from the fourth on, the history up to there (the system prompt apart: it stays in
all) is shortened by each method. The facts counted are the ids, amounts, dates and times that the user or a
tool gave in that history and that the agent writes later, in calls or answers. They are found by this file's
own plain patterns, which share nothing with Farthing's.

Run: python -m bench.context.tau --data DIR
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.context.data import ENVIRONMENT, DataError, Message, Trajectory, folder, load_tau
from farthing.context.block import render
from farthing.context.conversation import Conversation, Reader
from farthing.context.extract import extract
from farthing.context.fold import OWN, Segment
from farthing.context.masking import mask
from farthing.context.passages import passages_of
from farthing.context.retrieval import Index
from farthing.context.retrieval import render as snippets_of
from farthing.cost import count_text
from farthing.embedding import Embedder

SHARE = 0.4
FIRST_TURN, EVERY = 4, 5
KEEP_TURNS = 3
MODEL = "gpt-4o"
REFERENCE = "ref-0123456789"
TAIL, TOLD = 0.4, 1.0
"""The share of the budget for the last turns, and that of the rest for the block; then come snippets."""
MIN_MASKED = 100

Method = Callable[[Sequence[Message], int, str], str]
"""Takes a history, the tokens it may keep and the user's ask; returns what the model would still read."""

_ID = re.compile(r"\b(?=[A-Za-z_]*\d)(?=\d*[A-Za-z_])\w{4,}\b|\b\d{5,}\b")
_MAIL = re.compile(r"\b[\w.]+@[\w.]+\w")
_AMOUNT = re.compile(r"(?<![\w.:-])(?:\$\s?)?(\d{1,3}(?:,\d{3})+|\d{2,})(?:\.0+)?(?![\w:-]|\.\d)")
_ISO = re.compile(r"\b(20\d\d|19\d\d)-(\d\d)-(\d\d)")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = re.compile(rf"\b({'|'.join(_MONTHS)})[a-z]*\.? (\d{{1,2}})\b", re.IGNORECASE)
_CLOCK = re.compile(r"\b(\d{1,2}):(\d\d)(?::\d\d)?(?:\s?([AaPp])[Mm])?")


@dataclass(frozen=True, slots=True)
class Row:
    """What one method keeps. ``kept``: of the facts used later, by kind and in all (0…1); ``tokens``: of the
    history's tokens, those that it really kept; ``over``: points at which it kept more than it should."""

    name: str
    kept: dict[str, float]
    tokens: float
    over: int
    points: int
    facts: int


def facts(text: str) -> set[tuple[str, str]]:
    """Return the ids, amounts, dates and times in a text, in one way of writing each."""
    found = {("ids", match[0]) for match in _ID.finditer(text) if not _is_day(match[0])}
    found |= {("ids", match[0].lower()) for match in _MAIL.finditer(text)}
    found |= {("dates", f"{match[2]}-{match[3]}") for match in _ISO.finditer(text)}
    found |= {
        ("dates", f"{_MONTHS.index(match[1].lower()) + 1:02}-{int(match[2]):02}")
        for match in _DAY.finditer(text)
    }
    for hour, minute, half in _CLOCK.findall(text):
        hours = int(hour) % 12 + (12 if half in "pP" else 0) if half else int(hour)
        found.add(("dates", f"{hours:02}:{minute}"))
    text = _DAY.sub(" ", _CLOCK.sub(" ", _ISO.sub(" ", text)))
    return found | {("amounts", amount.replace(",", "")) for amount in _AMOUNT.findall(text)}


def _is_day(text: str) -> bool:
    return re.fullmatch(r"\d{2}T\d{2}|\d+(?:st|nd|rd|th|am|pm|AM|PM)", text) is not None


def written(message: Message) -> str:
    """Return all that a message says: its text, and the names and arguments of its calls."""
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    return "\n".join([str(message.get("content") or ""), *(f"{c['name']} {c['arguments']}" for c in calls)])


def points(messages: Sequence[Message]) -> Iterator[int]:
    """Yield the places at which a history is shortened: before every fifth model turn from the fourth on."""
    turn = 0
    for at, message in enumerate(messages):
        if message["role"] == "assistant":
            turn += 1
            if turn >= FIRST_TURN and (turn - FIRST_TURN) % EVERY == 0:
                yield at


def last_n(messages: Sequence[Message], tokens: int, ask: str) -> str:
    """LiteLLM's truncation: the newest messages."""
    from litellm.utils import trim_messages

    return _within(tokens, lambda most: trim_messages(_plain(messages), max_tokens=most))


def compress(messages: Sequence[Message], tokens: int, ask: str) -> str:
    """LiteLLM's compression: BM25 picks messages, stubs stand for the others. Its defaults but for size."""
    from litellm import compress

    def compressed(most: int) -> Sequence[Message]:
        told = compress(_plain(messages), MODEL, compression_trigger=1, compression_target=most)
        found: Sequence[Message] = told["messages"]
        return found

    return _within(tokens, compressed)


def bm25(messages: Sequence[Message], tokens: int, ask: str) -> str:
    """The passages that fit the ask best, the newest first among equals."""
    import bm25s  # type: ignore[import-untyped]

    pieces = [piece for message in messages for piece in _passages(written(message))]
    scorer = bm25s.BM25()
    scorer.index(bm25s.tokenize(pieces, show_progress=False), show_progress=False)
    words = bm25s.tokenize([ask], show_progress=False, return_ids=False)[0]
    known = [word for word in words if word in scorer.vocab_dict]
    scores = scorer.get_scores(known) if known else [0.0] * len(pieces)
    kept: set[int] = set()
    for at in sorted(range(len(pieces)), key=lambda at: (-scores[at], -at)):
        cost = count_text(pieces[at]) + 1
        if cost <= tokens:
            tokens -= cost
            kept.add(at)
    return "\n".join(pieces[at] for at in sorted(kept))


def masking(messages: Sequence[Message], tokens: int, ask: str) -> str:
    """Masks for all bulky results but the newest; then the oldest messages go until the rest fits."""
    last = max((at for at, message in enumerate(messages) if message["role"] == "tool"), default=-1)
    told = [_masked(m) if at != last else written(m) for at, m in enumerate(messages)]
    while told and _tokens(told) > tokens:
        told.pop(0)
    return "\n".join(told)


def ours(messages: Sequence[Message], tokens: int, ask: str) -> str:
    """Farthing's parts: the last turns (masked if need be), the block of the rest, its figures, snippets."""
    conversation = Reader().read({"messages": list(messages)}, "chat")
    if conversation is None:
        raise ValueError("a history that is not understood")
    cut = _cut(conversation)
    tail = [written(message) for message in messages[cut:]]
    if not cut or _tokens(tail) > TAIL * tokens:
        tail = [_masked(message) for message in messages[cut:]]
    while _tokens(tail) > TAIL * tokens and cut < len(messages):
        cut = next((place for place in conversation.cuts if place > cut), len(messages))
        tail = [_masked(message) for message in messages[cut:]]
    block = _block(conversation, cut, int(TOLD * (tokens - _tokens(tail))))
    left = tokens - _tokens([*tail, block]) - 2
    sent = "\n".join([block, *tail])
    index = Index(passages_of(conversation.entries[:cut], conversation.turns_at), _embedder())
    found = index.search(ask, left, absent_from=sent) if left > 0 else []
    return "\n".join([block, snippets_of(found), *tail])


METHODS: dict[str, Method] = {
    "last-N truncation (`trim_messages`)": last_n,
    "`litellm.compress`": compress,
    "BM25 alone": bm25,
    "masking alone": masking,
    "Farthing": ours,
}


def _cut(conversation: Conversation) -> int:
    most = conversation.turns - KEEP_TURNS
    return max((cut for cut in conversation.cuts if conversation.turns_at[cut] <= most), default=0)


def _block(conversation: Conversation, cut: int, tokens: int) -> str:
    over = 0
    while cut and tokens - over > 0:
        text = extract(conversation.entries[:cut], tokens - over)
        block = render([Segment(1, max(1, conversation.turns_at[cut]), text, count_text(text), OWN)])
        if count_text(block) <= tokens:
            return block
        over += count_text(block) - tokens
    return ""


@lru_cache(maxsize=1)
def _embedder() -> Embedder:
    return Embedder.load()


@lru_cache(maxsize=10_000)
def _mask(text: str) -> str | None:
    return mask(text, REFERENCE) if count_text(text) >= MIN_MASKED else None


def _masked(message: Message) -> str:
    if message["role"] == "tool":
        return _mask(str(message["content"])) or written(message)
    return written(message)


def _passages(text: str, size: int = 400) -> list[str]:
    pieces = re.findall(rf"(?s).{{1,{size}}}(?:[\s,]|$)|.{{1,{size}}}", text)
    return [piece for piece in pieces if piece.strip()]


def _plain(messages: Sequence[Message]) -> list[dict[str, object]]:
    """Return messages as LiteLLM's two can take them: none whose content is null."""
    return [{**message, "content": message.get("content") or ""} for message in messages]


def _within(tokens: int, shorten: Callable[[int], Sequence[Message]]) -> str:
    """Return what keeps to the budget: LiteLLM's two count less than is sent, so they are asked for less."""
    told = ""
    for tenths in range(10, 0, -1):
        told = _joined(shorten(tokens * tenths // 10))
        if count_text(told) <= tokens:
            break
    return told


def _joined(messages: Sequence[Message]) -> str:
    return "\n".join(map(written, messages))


def _tokens(texts: Sequence[str]) -> int:
    return sum(_count(text) + 1 for text in texts if text)


@lru_cache(maxsize=50_000)
def _count(text: str) -> int:
    return count_text(text)


def rows(path: Path, methods: dict[str, Method] | None = None) -> list[Row]:
    """Measure each method at all points of all trajectories in the data's folder. Raises DataError."""
    # Importing LiteLLM would fetch its price map otherwise.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    trajectories = load_tau(path)
    return [_row(name, method, trajectories) for name, method in (methods or METHODS).items()]


def _row(name: str, method: Method, trajectories: Sequence[Trajectory]) -> Row:
    kept: dict[str, list[bool]] = {"ids": [], "amounts": [], "dates": []}
    shares = []
    over = 0
    for trajectory in trajectories:
        messages = [message for message in trajectory.messages if message["role"] != "system"]
        for at in points(messages):
            history = messages[:at]
            given = {fact for m in history if m["role"] in ("user", "tool") for fact in facts(written(m))}
            used = {fact for m in messages[at:] if m["role"] == "assistant" for fact in facts(written(m))}
            ask = next((written(m) for m in reversed(history) if m["role"] == "user"), "")
            whole = _tokens(list(map(written, history)))
            told = method(history, int(SHARE * whole), ask)
            held = facts(told)
            for fact in given & used:
                kept[fact[0]].append(fact in held)
            shares.append(count_text(told) / whole)
            over += shares[-1] > SHARE + 0.01
    everything = [one for kind in kept.values() for one in kind]
    of = {kind: sum(found) / len(found) for kind, found in kept.items()}
    return Row(
        name,
        {**of, "all": sum(everything) / len(everything)},
        sum(shares) / len(shares),
        over,
        len(shares),
        len(everything),
    )


def markdown(measured: Sequence[Row]) -> str:
    """Return the table."""
    lines = [
        f"{measured[0].points} points of {SHARE:.0%} tokens; {measured[0].facts} facts used later.",
        "",
        "| method | facts kept | ids | amounts | dates and times | tokens kept | points over the budget |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in measured:
        kept = " | ".join(f"{row.kept[kind]:.1%}" for kind in ("all", "ids", "amounts", "dates"))
        lines.append(f"| {row.name} | {kept} | {row.tokens:.1%} | {row.over} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every method on the same histories, in one run."""
    parser = argparse.ArgumentParser("python -m bench.context.tau", description=__doc__)
    parser.add_argument("--data", type=Path, help=f"folder of the context data (default: ${ENVIRONMENT})")
    try:
        print(markdown(rows(folder(parser.parse_args(arguments).data))))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
