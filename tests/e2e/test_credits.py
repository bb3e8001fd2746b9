"""Budgets, caps and loops through the real proxy, on a credit store of its own; the models are scripted."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Gateway
from tests.e2e.scripted_proxy import PATHS, Scripted, scripted_proxy

SURFACES = ("chat", "responses", "messages")
HARD = """Prove that the square root of a prime p is irrational, step by step.
1. Derive the lemma that if p divides n² then p divides n, and justify where primality is used.
2. Assume √p = a/b in lowest terms, derive the contradiction, and explain why the descent must end.
3. Generalise the theorem: for which n and k ≥ 2 is the k-th root of n irrational? Prove both directions,
   and analyse what changes if n = m^k.
4. Compare your proof with one by unique factorisation: evaluate their assumptions and trade-offs."""
STRONG_CREDITS = 12
"""What one answer of the strong model costs: 120 tokens at 100 USD a million."""


class Webhook(ThreadingHTTPServer):
    """Keeps what is posted to it."""

    def __init__(self):
        self.posted: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(inner):
                body = inner.rfile.read(int(inner.headers["content-length"]))
                self.posted.append(json.loads(body))
                inner.send_response(204)
                inner.end_headers()

            def log_message(inner, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    server = Webhook()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def proxy(gateway: Gateway, webhook: Webhook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    folder = tmp_path_factory.mktemp("credits")

    def settle(settings: dict[str, Any]) -> None:
        # Books of its own: what is spent here is in no statement of the other tests.
        settings["telemetry"] |= {
            "outbox": str(folder / "outbox.db"),
            "otlp_endpoint": "http://127.0.0.1:9",
        }
        settings["credits"] |= {
            "store": f"sqlite:///{folder / 'credits.db'}",
            "webhook": f"http://127.0.0.1:{webhook.server_port}/alarm",
            "local_share_at_zero": 0.00002,  # one millisecond a minute
            "departments": {
                "platform": {"monthly": 100, "when_short": "climb_down"},
                "marketing": {"when_short": "deny"},
            },
        }
        settings["cost"]["prices"]["cheap"] = {"input": 0, "output": 0, "source": "local"}
        settings["grading"]["departments"] = {"platform": {"quality": 0.99}}
        settings["loops"] = {
            "steps": 4,
            "departments": {"support": {"steps": 100, "credits": 30}},
            "repeats": 3,
        }
        changes = {
            "charles": {"credits": 1000},
            "limited": {"models": ["*"], "stream_receipt": False},
            "wide": {"cap": 20},
        }
        for key in settings["keys"]:
            key |= changes.get(key["user"], {})

    with scripted_proxy(gateway, folder, settle) as scripted:
        yield scripted


numbers = itertools.count()


def fresh() -> dict[str, Any]:
    """A session of its own."""
    return {"litellm_session_id": f"session {next(numbers)}"}


def test_a_session_ends_at_its_steps_and_says_why_on_every_surface(proxy):
    for surface in SURFACES:
        session = fresh()
        for _ in range(4):
            assert proxy.ask("ada", surface, "Say hello.", **session).status_code == 200
        refused = proxy.ask("ada", surface, "Say hello.", **session)
        assert refused.status_code == 429
        if surface != "messages":  # there LiteLLM drops the headers of errors
            assert refused.headers["x-should-retry"] == "false"
        said = refused.json()["error"]["message"]
        assert "asked for all the calls it may have" in said
        assert "It has asked for 4 calls" in said
        assert "loops.steps" in said
    assert proxy.ask("ada", "chat", "Say hello.", **fresh()).status_code == 200


def test_changing_the_surface_is_no_way_round(proxy):
    session = fresh()
    for surface in ("chat", "responses", "messages", "chat"):
        assert proxy.ask("ada", surface, "Say hello.", **session).status_code == 200
    assert proxy.ask("ada", "responses", "Say hello.", **session).status_code == 429


def test_stored_responses_that_go_on_from_one_another_are_one_session(proxy):
    statuses, previous = [], {}
    for number in range(6):
        answer = proxy.ask("ada", "responses", f"Say hello to {number}.", **previous)
        statuses.append(answer.status_code)
        if answer.status_code == 200:
            previous = {"previous_response_id": answer.json()["id"]}
    assert statuses == [200, 200, 200, 200, 429, 429]


def test_a_session_id_is_its_keys_own(proxy):
    session = fresh()
    for _ in range(4):
        proxy.ask("ada", "chat", "Say hello.", **session)
    assert proxy.ask("ada", "chat", "Say hello.", **session).status_code == 429
    assert proxy.ask("charles", "chat", "Say hello.", **session).status_code == 200


def turns(count: int, opening: str) -> list[dict[str, Any]]:
    """A history of so many answered turns."""
    talk = [{"role": "user", "content": opening}]
    for number in range(count):
        talk += [
            {"role": "assistant", "content": f"Answer {number}."},
            {"role": "user", "content": f"And number {number}?"},
        ]
    return talk


def test_leaving_the_id_out_is_no_way_round_but_many_may_begin_alike(proxy):
    for _ in range(8):  # many people greet a chat bot behind one key
        assert proxy.ask("ada", "chat", "", messages=turns(0, "Hi!")).status_code == 200
    statuses = [
        proxy.ask("ada", "chat", "", messages=turns(depth, "Find the bug.")).status_code for depth in range(6)
    ]
    assert statuses == [200, 200, 200, 200, 429, 429]


def test_the_last_step_is_told_to_the_agent_and_grades_as_before(proxy):
    session = fresh()
    answers = [proxy.ask("ada", "chat", "[echo] Say hello.", **session) for _ in range(4)]
    said = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert said[:3] == ["[echo] Say hello."] * 3
    assert said[3].startswith("[echo] Say hello.")
    assert "this is the last step allowed" in said[3]
    assert len({answer.headers["x-farthing-grade"] for answer in answers}) == 1


def test_the_same_tool_call_with_the_same_result_is_stopped_and_names_the_tool_alone(proxy):
    call = {"name": "search", "arguments": '{"query": "secret plans"}'}
    history: list[dict[str, Any]] = [{"role": "user", "content": "Find the plans."}]
    for number in range(3):
        assert proxy.ask("ada", "chat", "", messages=history, **fresh()).status_code == 200
        history += [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"c{number}", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": f"c{number}", "content": "nothing found"},
        ]
    refused = proxy.ask("ada", "chat", "", messages=history, **fresh())
    assert refused.status_code == 429
    said = refused.json()["error"]["message"]
    assert "the tool `search` was called 3 times in a row with the same arguments and the same result" in said
    assert "secret" not in said
    assert "loops.repeats" in said


def test_a_sessions_cost_cap_is_a_429_on_the_way_and_at_the_door(proxy):
    session = fresh()
    ask = {"model": "strong", "max_tokens": 100, **session}
    assert proxy.ask("charles", "chat", "Say hello.", **ask).status_code == 200
    assert proxy.ask("charles", "chat", "Say hello.", **ask | {"max_tokens": 50}).status_code == 200
    for surface in SURFACES:
        cap = "max_output_tokens" if surface == "responses" else "max_tokens"
        refused = proxy.ask("charles", surface, "Say hello.", model="strong", **{cap: 100}, **session)
        assert refused.status_code == 429, "24 of 30 credits are spent, and it may cost more than 6"
        if surface != "messages":
            assert refused.headers["x-should-retry"] == "false"
        assert "this session has 6.000 left" in refused.json()["error"]["message"]
        assert "loops.credits" in refused.json()["error"]["message"]
    assert proxy.ask("ada", "chat", "Hi", model="strong", max_tokens=50, **fresh()).status_code == 200
    assert (
        proxy.ask("charles", "chat", "Say hello.", model="strong", max_tokens=100, **fresh()).status_code
        == 200
    )


def test_a_keys_cap_holds_inside_its_users_balance(proxy):
    ask = {"model": "strong", "max_tokens": 60}
    assert proxy.ask("wide", "chat", "Say hello.", **ask, **fresh()).status_code == 200
    refused = proxy.ask("wide", "chat", "Say hello.", **ask, **fresh())
    assert refused.status_code == 402
    assert "this key has 8.000 left" in refused.json()["error"]["message"]


def test_a_short_department_climbs_down_is_told_of_and_ends_at_the_local_tier(proxy, webhook):
    def ask(**more):
        return proxy.ask("grace", "chat", HARD, max_tokens=80, **more, **fresh())

    tiers = []
    for _ in range(8):
        answer = ask()
        assert answer.status_code == 200, answer.text
        tiers.append((answer.headers["x-farthing-tier"], answer.headers.get("x-farthing-climbed-down-from")))
    assert tiers[0] == ("strong", None)
    assert tiers[-1][1] == "strong"
    assert {tier for tier, _ in tiers} >= {"strong", "fast"}
    refused = ask(model="strong")
    assert refused.status_code == 402
    assert "the department platform has" in refused.json()["error"]["message"]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and len(alarms_of(webhook, "platform")) < 1:
        time.sleep(0.1)
    told = alarms_of(webhook, "platform")
    assert told, "the department has passed at least half of its budget"
    assert len(told) == len(set(told)), "each threshold once"


def alarms_of(webhook: Webhook, department: str) -> list[int]:
    return [
        body["threshold"]
        for body in webhook.posted
        if body["event"] == "farthing.credits.threshold"
        and body["account"] == {"kind": "department", "name": department}
    ]


def test_an_empty_balance_has_the_local_tier_for_its_share_of_time(proxy):
    first = proxy.ask("blaise", "chat", "Say hello.", **fresh())
    assert first.status_code == 200
    second = proxy.ask("blaise", "chat", "Say hello.", **fresh())
    assert second.status_code == 402
    assert "the local tier's time for empty balances is used up" in second.json()["error"]["message"]
    assert proxy.ask("ada", "chat", "Say hello.", **fresh()).status_code == 200, (
        "who has credits waits for nobody"
    )


@pytest.mark.parametrize("surface", SURFACES)
def test_a_key_for_strict_clients_gets_streams_as_they_are(proxy, surface):
    def events(user):
        answer = proxy.ask(user, surface, "Say hello.", stream=True, **fresh())
        assert answer.headers["x-farthing-held"]
        lines = [line for line in answer.text.splitlines() if line.startswith("data: {")]
        return [json.loads(line[6:]) for line in lines]

    assert not any("farthing" in event for event in events("limited"))
    assert events("ada")[-1]["farthing"]["balance"]


TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
ABUSES = {
    "a cap beyond all bounds": '"max_tokens": 1000000000',
    "a cap below nothing": '"max_tokens": -5',
    "a cap that is no number": '"max_tokens": NaN',
    "a cap that is text": '"max_tokens": "many"',
    "many answers": '"n": 100, "max_tokens": 50',
    "answers below nothing": '"n": -1',
    "answers without end": '"n": Infinity',
    "a temperature that is no number": '"temperature": NaN',
    "a thousand tools": f'"tools": {json.dumps([TOOL] * 1000)}',
    "somebody else's name": '"user": "grace", "metadata": {"user_api_key_user_id": "grace"}',
    "somebody else's tags": '"tags": ["platform"], "metadata": {"tags": ["x"], "cost_centre": "CC-9"}',
    "a session id as long as a book": f'"litellm_session_id": "{"s" * 100_000}"',
    "a session id that is none": '"metadata": {"session_id": {"a": [1, null]}}',
    "somebody else's session": '"metadata": {"session_id": "session:0"}, "litellm_session_id": "../x"',
}


@pytest.mark.parametrize("what", ABUSES)
@pytest.mark.parametrize("surface", SURFACES)
def test_whatever_a_client_sends_it_spends_its_own_and_never_below_zero(proxy, surface, what):
    turn = (
        '"input": "Say hello."'
        if surface == "responses"
        else '"messages": [{"role": "user", "content": "Hi"}]'
    )
    sent = ABUSES[what].replace("max_tokens", "max_output_tokens") if surface == "responses" else ABUSES[what]
    if surface == "messages" and "max_tokens" not in sent:
        sent += ', "max_tokens": 50'
    before = proxy.balances()
    answer = httpx.post(
        f"{proxy.url}{PATHS[surface]}",
        content=f'{{"model": "strong", {turn}, {sent}}}',
        headers={
            "authorization": f"Bearer {proxy.gateway.secret('limited')}",
            "content-type": "application/json",
        },
        timeout=60,
    )
    after = proxy.balances()
    assert answer.status_code in (200, 400, 402, 403, 429), answer.text
    own = after.pop("user:limited")
    spent = own.settled - before.pop("user:limited").settled
    assert (spent > 0) == (answer.status_code == 200)
    assert own.available >= 0
    assert own.held == 0
    others = {name: balance.settled for name, balance in after.items() if balance.kind == "user"}
    assert others == {name: before[name].settled for name in others}


def test_racing_calls_stay_within_a_sessions_steps(proxy):
    session = fresh()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: proxy.ask("ada", "chat", "Say hello.", **session), range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 8
