"""Is the evidence still there? Questions about long chats, whose history is shortened to 10 and 20 % of it.

Each LoCoMo conversation is one long chat: a message per turn, its sender's name in ``name``, image captions
as text, the session's date at its beginning. Then a question is asked. Counted are the questions of which
every turn that holds evidence is still in what would be sent, its whole text word for word; and, as a mean,
the share of a question's turns. Tokens are LiteLLM's own count of the messages sent in place of the history.
All methods have the same budget; it pays for labels, too.

Run: python -m bench.context.locomo --data DIR
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer
from numpy.typing import NDArray

from bench.context.data import ENVIRONMENT, DataError, Message, folder, read
from farthing.context.conversation import Reader
from farthing.context.passages import Passage, passages_of
from farthing.context.retrieval import Index, render
from farthing.context.snippets import Shelf
from farthing.embedding import Embedder

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from litellm import compress, token_counter
from litellm.utils import trim_messages

NAME = "locomo_dev.json.gz"
SHARES = (0.1, 0.2)
MODEL = "gpt-4o"
TUNED = (0, 3)
"""The conversations on which the constants of retrieval were chosen. The figures of the other three were in
sight meanwhile and decided what signals there are: they are no untouched hold-out."""

CATEGORIES = {1: "several turns", 2: "time", 3: "inference", 4: "one turn", 5: "no answer"}
EVERY = {"litellm.compress": 4}
"""Methods that are asked only every so manieth question, because they take a fifth of a second for each."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is sent in place of a history, and its tokens."""

    text: str
    tokens: int

    @classmethod
    def of(cls, messages: Sequence[Message]) -> "Kept":
        """Return what these messages say."""
        text = "\n".join(message["content"] for message in messages)
        return cls(text, token_counter(model=MODEL, messages=list(messages)))

    @classmethod
    def snippets(cls, passages: Sequence[Passage]) -> "Kept":
        """Return what these passages say, in Farthing's snippets."""
        return cls.of([{"role": "user", "content": render(passages)}])


Method = Callable[[str, int], Kept]
"""Takes the question and the tokens that may be kept; returns what is sent in place of the history."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the messages that hold its evidence, and LoCoMo's category of it."""

    text: str
    evidence: tuple[int, ...]
    category: int


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation as a client of the chat API sends it. ``left_out``: questions without valid evidence."""

    messages: tuple[Message, ...]
    questions: tuple[Question, ...]
    left_out: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Row:
    """What one method keeps of the history at one share of its tokens. All figures are shares, 0…1.

    ``questions``: those with all of their evidence; ``tuned`` and ``others`` the same over the conversations
    that constants were chosen on and over the rest; ``turns``: the mean share of a question's evidence;
    ``categories``: ``questions`` by LoCoMo's category; ``tokens``: the tokens really kept; ``asked``: how
    many questions were asked.
    """

    name: str
    share: float
    questions: float
    tuned: float
    others: float
    turns: float
    categories: dict[int, float]
    tokens: float
    asked: int


def load(path: Path) -> list[Chat]:
    """Return the chats. Raises DataError."""
    try:
        return [_chat(one["conversation"], one["qa"]) for one in read(path, NAME)]
    except (KeyError, TypeError):
        raise DataError(f"{NAME} does not hold conversations") from None


def _chat(told: dict[str, Any], asked: Sequence[dict[str, Any]]) -> Chat:
    messages: list[Message] = []
    places: dict[str, int] = {}
    sessions = sorted(int(key[8:]) for key in told if re.fullmatch(r"session_\d+", key))
    for session in sessions:
        for at, turn in enumerate(told[f"session_{session}"]):
            caption = turn.get("blip_caption")
            text = turn["text"] + (f"\n[image: {caption}]" if caption else "")
            text = f"[{told[f'session_{session}_date_time']}]\n{text}" if at == 0 else text
            role = "user" if turn["speaker"] == told["speaker_a"] else "assistant"
            places[turn["dia_id"]] = len(messages)
            messages.append({"role": role, "name": turn["speaker"], "content": text})
    questions = [
        Question(one["question"], tuple(sorted({places[key] for key in one["evidence"]})), one["category"])
        for one in asked
        if one.get("evidence") and all(key in places for key in one["evidence"])
    ]
    tokens = token_counter(model=MODEL, messages=list(messages))
    return Chat(tuple(messages), tuple(questions), len(asked) - len(questions), tokens)


def farthing(chat: Chat, embedder: Embedder) -> Method:
    """Farthing's snippets. The Compressed Context block, which stands beside them, is not counted."""
    index = Index(_passages(chat), embedder)
    return lambda question, tokens: Kept.snippets(index.search(question, _net(tokens)))


def bm25(chat: Chat) -> Method:
    """The passages that BM25 likes best, by bm25s as it comes, in Farthing's snippets."""
    passages = _passages(chat)
    stemmer = Stemmer.Stemmer("english")

    def terms(text: str) -> list[str]:
        return bm25s.tokenize(text, stopwords="en", stemmer=stemmer, return_ids=False, show_progress=False)[0]

    index = bm25s.BM25()
    index.index([terms(passage.text) for passage in passages], show_progress=False)
    shelf = Shelf(passages)

    def method(question: str, tokens: int) -> Kept:
        found = index.get_scores(terms(question)) if terms(question) else np.zeros(len(passages), np.float32)
        return Kept.snippets(shelf.choose(found, 0, _net(tokens), ""))

    return method


def _passages(chat: Chat) -> list[Passage]:
    read_as = Reader().read({"messages": [*chat.messages, {"role": "user", "content": "?"}]}, "chat")
    if read_as is None:
        raise DataError("a chat is not understood")
    return passages_of(read_as.entries[:-1], read_as.turns_at)


def _net(tokens: int) -> int:
    """What is left of a budget when the message that bears the snippets is paid for."""
    return tokens - token_counter(model=MODEL, messages=[{"role": "user", "content": ""}])


def last(chat: Chat) -> Method:
    """The last messages that fit, by LiteLLM's trim_messages."""

    @cache
    def kept(tokens: int) -> Kept:
        return Kept.of(trim_messages(list(chat.messages), model=MODEL, trim_ratio=1, max_tokens=tokens))

    return lambda question, tokens: kept(tokens)


def compressed(chat: Chat) -> Method:
    """What litellm.compress makes of it with the question as the last message and the budget as its target.

    Its target holds for the messages that it keeps; the stubs of the others come on top.
    """

    def method(question: str, tokens: int) -> Kept:
        messages = [*chat.messages, {"role": "user", "content": question}]
        found = compress(messages, MODEL, compression_trigger=1, compression_target=tokens)
        return Kept.of(found["messages"][:-1])

    return method


def rows(path: Path) -> list[Row]:
    """Measure every method on all questions. Raises DataError."""
    chats = load(path)
    embedder = Embedder.load()
    methods: dict[str, Callable[[Chat], Method]] = {
        "Farthing": lambda chat: farthing(chat, embedder),
        "BM25 alone": bm25,
        "litellm.compress": compressed,
        "trim_messages": last,
    }
    found = [row for name, make in methods.items() for row in _measured(name, make, chats)]
    # There is no tool result to mask in these chats: what has to fit is then cut off.
    return found + [
        replace(row, name="masking alone (nothing to mask: as above)")
        for row in found
        if row.name == "trim_messages"
    ]


def _measured(name: str, make: Callable[[Chat], Method], chats: Sequence[Chat]) -> list[Row]:
    found: dict[float, list[tuple[int, int, float, float]]] = {share: [] for share in SHARES}
    for number, chat in enumerate(chats):
        method = make(chat)
        for question in chat.questions[:: EVERY.get(name, 1)]:
            for share in SHARES:
                kept = method(question.text, int(share * chat.tokens))
                there = [chat.messages[at]["content"] in kept.text for at in question.evidence]
                row = (number, question.category, float(np.mean(there)), kept.tokens / chat.tokens)
                found[share].append(row)
    return [_row(name, share, np.array(measured)) for share, measured in found.items()]


def _row(name: str, share: float, measured: NDArray[np.float64]) -> Row:
    number, category, there, tokens = measured.T
    all_there = there == 1
    tuned = np.isin(number, TUNED)
    return Row(
        name,
        share,
        questions=float(all_there.mean()),
        tuned=float(all_there[tuned].mean()),
        others=float(all_there[~tuned].mean()),
        turns=float(there.mean()),
        categories={int(one): float(all_there[category == one].mean()) for one in np.unique(category)},
        tokens=float(tokens.mean()),
        asked=len(measured),
    )


def markdown(found: Sequence[Row]) -> str:
    """Return the table of the rows."""
    categories = sorted(found[0].categories)
    lines = [
        "| method | budget | asked | tokens sent | **questions with all evidence** | of the two tuned on "
        "| of the other three | evidence turns | " + " | ".join(CATEGORIES[one] for one in categories) + " |",
        "|---" * (8 + len(categories)) + "|",
    ]
    for row in sorted(found, key=lambda row: row.share):
        figures = [row.tokens, row.questions, row.tuned, row.others, row.turns]
        cells = [f"{figure:.1%}" for figure in [*figures, *(row.categories[one] for one in categories)]]
        lines.append(f"| {row.name} | {row.share:.0%} | {row.asked} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every method on the same questions, in one run."""
    parser = argparse.ArgumentParser("python -m bench.context.locomo", description=__doc__)
    parser.add_argument("--data", type=Path, help=f"folder of the context data (default: ${ENVIRONMENT})")
    try:
        path = folder(parser.parse_args(arguments).data)
        chats = load(path)
        asked, out = sum(len(chat.questions) for chat in chats), sum(chat.left_out for chat in chats)
        print(f"{len(chats)} chats, {asked} questions; {out} without valid evidence are left out.\n")
        print(markdown(rows(path)))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
