"""What whole conversations cost, replayed turn by turn: never shortened, by rule, and by Farthing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.context.data import Message, load_tau, read
from bench.context.policies import (
    EVERY,
    FILLED,
    WINDOW,
    Talk,
    always,
    keeper,
    masking,
    never,
    talk_of,
    usage_of,
    window,
)
from farthing.context.layout import Layout
from farthing.cost import ModelPrice, PriceBook, count_text
from farthing.settings import ContextSettings
from farthing.telemetry import Usage

TURNS = (10, 20, 40, 60, 100)
MODELS = {
    "no cache": "gpt-4-turbo",
    "0.5×": "gpt-4o",
    "0.25×": "gpt-4.1",
    "0.1×": "gpt-5",
    "Anthropic": "claude-sonnet-4-5",
}
FREE, SUMMARISER = "the local tier (free)", "gpt-5-nano"
SYSTEM_TOKENS = 1_200
"""Of the chats' system prompt; the agents' policy has 1,322."""
CHATS, AGENTS = 1, 2
"""Conversations of each kind."""
ANSWER = 7
"""Utterances that make an answer in the chats with long answers, after two that make the ask."""
RULES = {"always every 10": always, "window": window, "never": never}
OTHERS = {**RULES, "masks alone": masking}
OURS = "Farthing"

Bills = Mapping[str, Mapping[str, Mapping[int, Mapping[str, int]]]]
"""By kind of conversation, price class, turns and policy: nano-dollars."""


@dataclass(frozen=True, slots=True)
class Result:
    """The bills, by the summariser they were made with."""

    bills: Mapping[str, Bills]
    talks: Mapping[str, int]
    """How many conversations there are of each kind."""


def measure(data: Path) -> Result:
    """Replay every conversation at every price; summaries are billed at a free and a paid model's price."""
    book = PriceBook()
    kinds = {
        "chat, short": [talk_of(chat, TURNS[-1]) for chat in _chats(data, 1, 1)],
        "chat, long answers": [talk_of(chat, TURNS[-1]) for chat in _chats(data, 2, ANSWER)],
        "agent": [talk_of(loop, TURNS[-1]) for loop in _agents(data)],
    }
    bills: dict[str, dict[str, dict[str, dict[int, dict[str, int]]]]] = {}
    for kind, talks in kinds.items():
        for label, model in MODELS.items():
            for name, cells in _bills(talks, _price(book, model), _price(book, SUMMARISER)).items():
                bills.setdefault(name, {}).setdefault(kind, {})[label] = cells
    return Result(bills, {kind: len(talks) for kind, talks in kinds.items()})


def _price(book: PriceBook, model: str) -> ModelPrice:
    price = book.price(model)
    if price is None:
        raise ValueError(f"{model} has no price in LiteLLM's map")
    return price


def _bills(
    talks: Sequence[Talk], price: ModelPrice, summariser: ModelPrice
) -> dict[str, dict[int, dict[str, int]]]:
    """Return, by summariser, turns and policy, what the conversations cost that end after so many turns."""
    settings = ContextSettings()
    policies = {name: partial(policy, settings=settings) for name, policy in OTHERS.items()}
    found: dict[str, dict[int, dict[str, int]]] = {
        name: {turns: {} for turns in TURNS} for name in (FREE, SUMMARISER)
    }
    for name, policy in {**policies, OURS: partial(keeper, price, summariser, settings)}.items():
        for talk in talks:
            before, model, summaries = Layout(()), 0, 0
            for turn, (request, answer) in enumerate(zip(policy(talk), talk.answers, strict=True), 1):
                model += PriceBook.cost(price, usage_of(request.layout, before, price, answer)).total
                summaries += PriceBook.cost(summariser, Usage(request.read, request.wrote)).total
                before = request.layout
                if turn in TURNS:
                    for writer, total in ((FREE, model), (SUMMARISER, model + summaries)):
                        found[writer][turn][name] = found[writer][turn].get(name, 0) + total
    return found


def _chats(data: Path, ask: int, answer: int) -> Iterator[list[dict[str, str]]]:
    """Yield chats: so many utterances of LoCoMo in a row are the user's ask, so many the model's answer."""
    told = load_locomo(data)
    system = {"role": "system", "content": _system()}
    for at in range(CHATS):
        said = [text for part in (*told[at:], *told[:at]) for text in part]
        step = ask + answer
        chat = [system]
        for start in range(0, step * TURNS[-1], step):
            chat.append({"role": "user", "content": "\n".join(said[start : start + ask])})
            chat.append({"role": "assistant", "content": "\n".join(said[start + ask : start + step])})
        yield chat


def load_locomo(data: Path) -> list[list[str]]:
    """Return what was said in each of LoCoMo's conversations, in order."""
    found = []
    for conversation in read(data, "locomo_dev.json.gz"):
        told = conversation["conversation"]
        numbers = (number for number in range(1, len(told)) if f"session_{number}" in told)
        found.append([said["text"] for number in numbers for said in told[f"session_{number}"]])
    return found


def _system() -> str:
    rule = "Rule {}: answer what was asked, name the source of each figure, and say so if you do not know."
    text, number = "You are an assistant.", 0
    while count_text(text) < SYSTEM_TOKENS:
        number += 1
        text = f"{text}\n{rule.format(number)}"
    return text


def _agents(data: Path) -> Iterator[list[Message]]:
    """Yield agent loops: tau-bench trajectories one after the other, under their one system prompt."""
    runs = [list(run.messages) for run in load_tau(data)]
    at = 0
    for _ in range(AGENTS):
        loop: list[Message] = [runs[at][0]]
        turns = 0
        while turns < TURNS[-1]:
            loop += runs[at][1:]
            turns += sum(message["role"] == "assistant" for message in runs[at])
            at += 1
        yield loop


def worst(bills: Bills) -> list[tuple[float, str]]:
    """Return our bill as a share of the best rule's, and its cell's name, for every cell; the worst first."""
    return sorted(
        (
            (cell[OURS] / min(cell[name] for name in RULES), f"{kind}, {turns} turns, {label}")
            for kind, by_price in bills.items()
            for label, by_turns in by_price.items()
            for turns, cell in by_turns.items()
        ),
        reverse=True,
    )


def saved(bills: Bills, label: str, least_turns: int, policy: str) -> tuple[float, float]:
    """Return the least and the mean share that a policy saves, beside never, in cells of a price class."""
    shares = [
        1 - cell[policy] / cell["never"]
        for by_price in bills.values()
        for turns, cell in by_price[label].items()
        if turns >= least_turns
    ]
    return min(shares), sum(shares) / len(shares)


def markdown(result: Result) -> str:
    """Return the tables."""
    lines: list[str] = []
    for summariser, bills in result.bills.items():
        lines += [
            f"Summaries by {summariser}. Cells: always every {EVERY} / window / masks alone / **Farthing**, "
            "each beside never shortened (1.00).",
            "",
            "| conversation | turns | " + " | ".join(MODELS) + " |",
            "|---|---:|" + "---|" * len(MODELS),
        ]
        for kind, by_price in bills.items():
            for turns in TURNS:
                cells = [_cell(by_price[label][turns]) for label in MODELS]
                lines.append(f"| {kind} | {turns} | " + " | ".join(cells) + " |")
        shares = worst(bills)
        dearer = [share for share, _ in shares if share > 1]
        lines += [
            "",
            f"Cells in which Farthing is dearer than the best of never, always and window: {len(dearer)} of "
            f"{len(shares)}; the worst: {shares[0][0]:.3f} times ({shares[0][1]}).",
            "",
        ]
    return "\n".join(lines)


def _cell(cell: Mapping[str, int]) -> str:
    always_, window_, masks, ours = (
        f"{cell[name] / cell['never']:.2f}" for name in ("always every 10", "window", "masks alone", OURS)
    )
    return f"{always_} / {window_} / {masks} / **{ours}**"


METHOD = f"""\
Conversations are replayed turn by turn with exact token counts (o200k_base): chats made of consecutive LoCoMo
utterances under a system prompt of {SYSTEM_TOKENS:,} tokens (short: one utterance asks, one answers; long:
two ask, {ANSWER} answer, about the lengths of chats with models), and agent loops made of tau-bench
trajectories one after the other, with their tool results. A bill is input, answers and summaries. The
provider's cache is exact: what a request begins with like the one before is read at the cached rate, from
1,024 tokens on, and never forgotten in between. *Always* summarises all but the last turns at each tenth turn
and adds to the block; *window* does once {FILLED:.0%} of {WINDOW:,} tokens are full, in place of the block
before; *masks alone* masks tool results as they grow old. All use the same digests and masks; ours is the
keeper as it runs in the proxy, snippets included."""
