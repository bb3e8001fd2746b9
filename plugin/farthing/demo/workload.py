"""The demo's scripted traffic: varied tasks of a small company, on all three API surfaces."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from farthing.scaffold import NewKey, new_secret

DEPARTMENTS = {"research": {"monthly": 20_000}, "marketing": {"when_short": "deny"}}
"""Budgets: research has one, marketing is refused instead of climbing down."""
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}

EASY_ASKS = [
    "What is the capital of Portugal?",
    "Say good morning in Spanish.",
    "Is this review positive or negative? 'The kettle broke after a week.'",
    "Give me a synonym for 'quick'.",
    "Spell 'necessary'.",
    "Turn this into a title: rain stops play at county ground",
    "Which day comes after Tuesday?",
]
MIDDLING_ASKS = [
    "Summarise this ticket in two sentences and name the product, the fault and the urgency: the customer's "
    "invoice of 3 March shows the old address, she has written twice, and the direct debit goes out Friday.",
    "Write a polite reply to a supplier who delivered 40 of the 60 chairs we ordered: ask for a date for the "
    "rest, and say that we will pay for what has arrived.",
    "Write a Python function that returns the n largest values of a list without sorting all of it, and "
    "explain its complexity in one sentence.",
    "Compare leasing with buying three delivery vans for five years; list the costs that we should ask for.",
]
HARD_ASKS = [
    """Prove that the square root of a prime p is irrational, step by step.
1. Derive the lemma that if p divides n² then p divides n, and justify where primality is used.
2. Assume √p = a/b in lowest terms, derive the contradiction, and explain why the descent must end.
3. Generalise the theorem: for which n and k ≥ 2 is the k-th root of n irrational? Prove both directions,
   and analyse what changes if n = m^k.
4. Compare your proof with one by unique factorisation: evaluate their assumptions and trade-offs.""",
    """Design a distributed rate limiter for twelve gateways, clocks up to 50 ms apart, and no central lock.
- Derive a bound for its worst-case overshoot as a function of skew, rate and burst, and prove it.
- Compare token buckets with leases and sliding windows with gossip: consistency, latency, failure modes.
- Implement the core in Python with asyncio, then analyse its complexity and a network partition.
- Evaluate the trade-offs and justify which architecture you would deploy at 100000 requests per second.""",
    """This service deadlocks once a day. Debug it step by step and prove that your fix removes the cycle.
```python
class Worker:
    def settle(self):
        with ledger.lock, account.lock: self.post()
    def retry(self):
        with account.lock, ledger.lock: self.post()
```
1. Derive the wait-for graph and explain under which interleaving the deadlock occurs.
2. Refactor the code so that no interleaving can deadlock; justify the invariant.
3. Analyse the effect on throughput under contention, compare it with optimistic concurrency, and evaluate
   the trade-offs.""",
]
_ROOMS = ["reception", "library", "server room", "kitchen", "workshop", "archive"]
_MOVERS = ["Harbour Removals", "Lindqvist & Sons", "Swift Vans"]
TURNS_TO_A_SUMMARY = 10
_TOOL = {
    "name": "get_weather",
    "description": "Current weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def make_keys() -> dict[str, NewKey]:
    """Return fresh keys of the demo's five users in four departments, by user."""
    people = [
        ("ada", "research", "CC-100", 5_000),
        ("grace", "research", "CC-100", 2_000),
        ("linus", "platform", "CC-200", 1_000),
        ("margaret", "support", "CC-300", 500),
        ("blaise", "marketing", "CC-400", 0),
    ]
    return {
        user: NewKey(new_secret(), user, department, cost_centre, credits, admin=user == "linus")
        for user, department, cost_centre, credits in people
    }


@dataclass(frozen=True, slots=True)
class Request:
    """One scripted request."""

    user: str
    surface: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, Farthing's figures (headers, or a stream's last event) and the text."""

    request: Request
    status: int
    facts: dict[str, str]
    text: str


def _ask(
    user: str, surface: str, text: str, *, model: str = "auto", stream: bool = False, **more: Any
) -> Request:
    limit = "max_output_tokens" if surface == "responses" else "max_tokens"
    body: dict[str, Any] = {"model": model, limit: 24, "stream": stream, **more}
    turn = [{"role": "user", "content": text}]
    body["input" if surface == "responses" else "messages"] = text if surface == "responses" else turn
    return Request(user, surface, body)


def script() -> list[list[Request]]:
    """Return the demo's requests as lanes: each lane's requests go out one after another."""
    surfaces = ("chat", "responses", "messages")
    lanes: list[list[Request]] = [list(conversation("grace", TURNS_TO_A_SUMMARY))]
    for user, easy, middling, hard in (
        ("ada", 7, 3, 3),
        ("grace", 7, 3, 2),
        ("linus", 8, 4, 1),
        ("margaret", 8, 3, 0),
    ):
        texts = [EASY_ASKS[i % len(EASY_ASKS)] for i in range(easy)]
        texts += [MIDDLING_ASKS[i % len(MIDDLING_ASKS)] for i in range(middling)] + HARD_ASKS[:hard]
        lanes.append([_ask(user, surfaces[i % 3], text, stream=i % 2 == 1) for i, text in enumerate(texts)])
    lanes[1].append(
        _ask("ada", "chat", EASY_ASKS[0], model="strong")
    )  # a habit that grading would have stopped
    lanes[3] += [_tool_call()]
    lanes.append(list(agent("linus")))
    # An empty balance: the cloud tiers refuse, the local tier goes on.
    lanes.append(
        [_ask("blaise", surfaces[i], HARD_ASKS[i]) for i in range(3)]
        + [_ask("blaise", surfaces[i], EASY_ASKS[i], stream=i == 1) for i in range(3)]
    )
    return lanes


def _tool_call() -> Request:
    tool = {"type": "function", "function": _TOOL}
    return _ask("linus", "chat", "What is the weather in Lisbon?", tools=[tool], tool_choice="required")


def agent(user: str, steps: int = 6) -> Iterator[Request]:
    """Yield the steps of an agent that reads files with a tool: its history grows with each."""
    tool = {
        "type": "function",
        "function": {
            "name": "read_file",
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
        },
    }
    history: list[dict[str, Any]] = [
        {"role": "system", "content": "You are a careful engineer. Use the tools."},
        {"role": "user", "content": "Find out why the nightly export fails, and propose a fix."},
    ]
    for step in range(steps):
        body = {"model": "auto", "messages": list(history), "tools": [tool], "max_tokens": 24}
        body["metadata"] = {"session_id": "nightly-export"}
        yield Request(user, "chat", body)
        arguments = json.dumps({"path": f"export/part_{step}.py"})
        function = {"name": "read_file", "arguments": arguments}
        history += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"call_{step}", "type": "function", "function": function}],
            },
            {
                "role": "tool",
                "tool_call_id": f"call_{step}",
                "content": f"def part_{step}(rows):\n    return [r for r in rows if r.day == today]\n" * 3,
            },
        ]


def conversation(user: str, turns: int) -> Iterator[Request]:
    """Yield the turns of a long conversation about an office move: each carries the whole history."""
    history: list[dict[str, Any]] = [
        {"role": "system", "content": "You plan an office move. Be brief. Keep to the figures given."}
    ]
    for turn in range(1, turns + 1):
        room, mover = _ROOMS[(turn - 1) % len(_ROOMS)], _MOVERS[(turn - 1) % len(_MOVERS)]
        offer, cost, boxes = f"Q-{2040 + turn}", 410 + 35 * turn, 12 + 3 * turn
        ask = (
            f"Now the {room}: {boxes} boxes and {turn + 2} desks. {mover} offers to do it for {cost}.50 EUR "
            f"(offer {offer}) on 2026-10-{turn + 2:02d}, if the lift is free from seven in the morning and "
            "somebody is there to let them in. The people who sit there would rather have it done on a "
            "Friday, and they want their plants to go in the same van. Is there anything against it, given "
            f"what we have settled so far? Their offer says: 'Offer {offer}. We pack, carry and set up; "
            f"boxes are lent for two weeks, {boxes} of them at 1.20 EUR each. Desks are taken apart and put "
            "together by two of our people. Glass, screens and plants travel on your own risk unless they "
            "are named before the day. Waiting longer than half an hour is charged at 45.00 EUR an hour. "
            f"The price holds until 2026-09-{turn + 10}; payment within 14 days, 2 % off within 5. If the "
            "lift fails we carry by the stairs, at 8.00 EUR a floor and box. Insurance up to 10000.00 EUR "
            "is included, more on request. Parking in front of the house is for you to arrange.'"
        )
        history.append({"role": "user", "content": ask})
        body = {"model": "fast", "messages": list(history), "max_tokens": 24}
        yield Request(user, "chat", body | {"metadata": {"session_id": "office-move"}})
        history.append(
            {
                "role": "assistant",
                "content": f"Nothing is against it: book {offer} with {mover} for the {room}, {cost}.50 EUR, "
                f"on 2026-10-{turn + 2:02d}. The lift has to be reserved from 07:00; ask the caretaker, Mr "
                f"Okafor, and tell him of the {boxes} boxes. The plants can go in the same van if they are "
                "packed last, and somebody of the team should be there when the van comes.",
            }
        )


def trickle(user: str) -> list[Request]:
    """Return requests that somebody could go on sending: an agent's steps between paid questions."""
    questions = [_ask(user, "chat", text) for text in (*MIDDLING_ASKS, *HARD_ASKS)]
    return [request for pair in zip(questions, agent(user, len(questions)), strict=True) for request in pair]


def send(client: httpx.Client, secret: str, request: Request) -> Answer:
    """Send one request to the proxy and read its answer, streamed or not."""
    headers = {"authorization": f"Bearer {secret}", **request.headers}
    with client.stream(
        "POST", PATHS[request.surface], json=request.body, headers=headers, timeout=120
    ) as response:
        facts = {
            name.removeprefix("x-farthing-"): value
            for name, value in response.headers.items()
            if name.startswith("x-farthing-")
        }
        lines = list(response.iter_lines())
    for line in lines:
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            facts |= event.get("farthing") or {}
    return Answer(request, response.status_code, facts, "\n".join(lines))


def run(
    lanes: list[list[Request]], keys: dict[str, NewKey], url: str, tell: Callable[[Answer], None]
) -> list[Answer]:
    """Send all lanes, three at a time; ``tell`` is called with each answer as it comes."""
    answers: list[Answer] = []

    def walk(lane: list[Request]) -> None:
        with httpx.Client(base_url=url) as client:
            for request in lane:
                answer = send(client, keys[request.user].secret, request)
                answers.append(answer)
                tell(answer)

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(walk, lane) for lane in lanes]:
            done.result()
    return answers
