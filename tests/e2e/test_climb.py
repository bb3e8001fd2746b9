"""Cheap answers that fail their check: the user sees one good answer, and every attempt is on the bill."""

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Gateway
from tests.e2e.scripted_models import BAD, CASES
from tests.e2e.scripted_proxy import Scripted, said, scripted_proxy

SURFACES = ("chat", "responses", "messages")
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}

ASKS = {
    "empty": "Say hello.",
    "refusal": "Say hello to Ann.",
    "cut_off": "Say what matters.",
    "invalid_json": "Name a city as JSON.",
    "schema": "Name one city as JSON.",
    "unknown_tool": "Weather in Paris?",
    "tool_arguments": "The weather in Paris?",
    "format": "Is it warm? Answer only yes or no.",
    "repetition": "Say hello to Bob.",
    "low_probability": "Say hello to Eve.",
    "doubtful": "Mia buys 4 boxes of 6 apples, gives 5 away and halves the rest with Leo. How many has she?",
}
ON_CHAT_ALONE = {"low_probability"}
"""The tier reports token probabilities on chat completions."""


@pytest.fixture(scope="module")
def scripted(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    def settle(settings: dict[str, Any]) -> None:
        settings["grading"]["check"] = {"stream_prefix_chars": 1000}
        for key in settings["keys"]:
            key |= {"limited": {"ceiling": "LOW"}, "wide": {"check_streams": False}}.get(key["user"], {})

    with scripted_proxy(gateway, tmp_path_factory.mktemp("scripted"), settle) as proxy:
        yield proxy


def demands(kind: str, surface: str) -> dict[str, Any]:
    """What of a request makes a kind of answer a failure: a schema, or a tool."""
    if kind in ("invalid_json", "schema"):
        if surface == "responses":
            return {"text": {"format": {"type": "json_schema", "name": "city", "schema": CITY}}}
        schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
        return {"response_format": schema}
    if kind in ("unknown_tool", "tool_arguments"):
        tool = {"name": "get_weather", "description": "Weather"}
        if surface == "messages":
            return {"tools": [tool | {"input_schema": WEATHER}]}
        tool |= {"parameters": WEATHER}
        return {"tools": [{"type": "function"} | (tool if surface == "responses" else {"function": tool})]}
    return {}


def cases():
    for kind in ASKS:
        for surface in SURFACES:
            if surface != "chat" and kind in ON_CHAT_ALONE:
                continue
            if surface == "messages" and kind in ("invalid_json", "schema", "cut_off"):
                continue  # formats have other names there, and a cap is the client's own: see the unit tests
            for stream in (False, True):
                yield pytest.param(
                    kind, surface, stream, id=f"{kind}-{surface}{'-streamed' if stream else ''}"
                )


def bad_words(kind: str) -> str:
    """A word that only the bad answer of a kind has."""
    words = {"refusal": "sorry", "unknown_tool": "rocket", "format": "depends", "low_probability": "erhaps"}
    return words.get(kind, "27 - 5" if kind == "doubtful" else "no such words")


@pytest.mark.parametrize(("kind", "surface", "stream"), list(cases()))
def test_a_bad_answer_climbs(scripted, kind, surface, stream):
    # Other words each time: an intent that has failed before is graded up.
    turn = f"[case {CASES.index(kind)}] {ASKS[kind]} ({surface} {'streamed' if stream else 'whole'})"
    response = scripted.ask("ada", surface, turn, stream=stream, **demands(kind, surface))
    text, facts = said(response, stream)
    assert (facts["tier"], facts["model"]) == ("fast", "middling"), text
    assert bad_words(kind) not in text
    good = scripted.gateway.charge(facts["charge"])
    assert (good["kind"], good["grade"], good["tier"], good["climbed_from"]) == (
        "inference",
        "LOW",
        "fast",
        "local",
    )
    assert good["cost_total"] == Decimal(facts["cost"]) == Decimal("0.0012")
    rows = scripted.gateway.rows(
        "SELECT * FROM charges_final WHERE trace_id = {id:String} ORDER BY started", id=good["trace_id"]
    )
    assert [row["kind"] for row in rows] == ["failed_attempt", "inference"]
    failed = rows[0]
    assert (failed["tier"], failed["outcome"], failed["baseline_cost"]) == ("local", "failed", None)
    assert failed["user"] == good["user"] == "ada"
    if not stream:
        assert failed["cost_total"] == Decimal("0.00012")
    else:
        assert failed["cost_total"] > 0
    assert good["baseline_cost"] == Decimal("0.012")


def case(kind: str, words: str) -> str:
    return f"[case {CASES.index(kind)}] {words}"


def attempts(scripted: Scripted, charge: dict[str, Any]) -> list[tuple[str, str]]:
    sql = "SELECT kind, tier FROM charges_final WHERE trace_id = {id:String} ORDER BY started"
    return [(row["kind"], row["tier"]) for row in scripted.gateway.rows(sql, id=charge["trace_id"])]


@pytest.mark.parametrize("stream", [False, True])
def test_two_bad_answers_climb_to_the_strong_tier(scripted, stream):
    turn = case("refusal", f"[twice] Greet the {'stream' if stream else 'whole'} team.")
    text, facts = said(scripted.ask("ada", "chat", turn, stream=stream), stream)
    assert facts["tier"] == "strong"
    assert "sorry" not in text
    charge = scripted.gateway.charge(facts["charge"])
    assert charge["climbed_from"] == "fast"
    failed = ("failed_attempt", "local"), ("failed_attempt", "fast")
    assert attempts(scripted, charge) == [*failed, ("inference", "strong")]


@pytest.mark.parametrize("stream", [False, True])
def test_a_ceiling_is_not_climbed_past(scripted, stream):
    turn = case("refusal", "Greet the people in the cellar.")
    text, facts = said(scripted.ask("limited", "chat", turn, stream=stream), stream)
    assert facts["tier"] == "local"
    assert "sorry" in text.replace("sor ry", "sorry")
    assert attempts(scripted, scripted.gateway.charge(facts["charge"])) == [("inference", "local")]


@pytest.mark.parametrize("stream", [False, True])
def test_without_the_money_for_a_better_answer_the_cheap_one_goes_out(scripted, stream):
    turn = case("refusal", f"Greet somebody poor, {'streamed' if stream else 'whole'}.")
    # 3 credits: enough for the cheap model's worst case, not for the next one's.
    text, facts = said(scripted.ask("charles", "chat", turn, stream=stream, max_tokens=600), stream)
    assert facts["tier"] == "local"
    assert "sorry" in text
    charge = scripted.gateway.charge(facts["charge"])
    assert attempts(scripted, charge) == [("failed_attempt", "local")]
    balance = scripted.gateway.balance("charles")
    assert balance.held == 0
    assert balance.available >= 0


def test_a_key_may_have_its_streams_unchecked(scripted):
    turn = case("refusal", "Greet the impatient.")
    text, facts = said(scripted.ask("wide", "chat", turn, stream=True), stream=True)
    assert facts["tier"] == "local"
    assert "sorry" in text
    _, facts = said(scripted.ask("wide", "chat", turn), stream=False)
    assert facts["tier"] == "fast", "what comes in one piece is checked all the same"


def test_a_model_that_was_named_is_never_moved(scripted):
    turn = case("refusal", "Greet those who know what they want.")
    text, facts = said(scripted.ask("ada", "chat", turn, model="local"), stream=False)
    assert facts["tier"] == "local"
    assert "sorry" in text


def test_an_intent_that_keeps_failing_is_graded_up_for_its_account_alone(scripted):
    turn = case("refusal", "Greet the forgetful, as you always do.")
    tiers = []
    for _ in range(4):
        _, facts = said(scripted.ask("ada", "chat", turn), stream=False)
        charge = scripted.gateway.charge(facts["charge"])
        tiers.append((charge["grade"], charge["climbed_from"]))
    assert tiers[0] == ("LOW", "local")
    assert tiers[-1] == ("MEDIUM", ""), "the intent remembers: no climb is needed any more"
    assert charge["grade_source"] == "outcome"
    _, facts = said(scripted.ask("grace", "chat", turn), stream=False)
    assert scripted.gateway.charge(facts["charge"])["grade"] == "LOW"


def test_a_client_that_hangs_up_behind_the_gate_is_settled(scripted):
    """The answer is held back; the client leaves before it has seen any of it."""
    gateway, before = scripted.gateway, len(scripted.gateway.charges_of("grace"))
    body = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Say it [slowly]."}]}
    headers = {"authorization": f"Bearer {gateway.secret('grace')}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{scripted.url}/v1/chat/completions", json=body, headers=headers, timeout=0.5)
    deadline = time.monotonic() + 20
    while len(charges := gateway.charges_of("grace")) == before:
        assert time.monotonic() < deadline, "the charge did not arrive"
        time.sleep(0.2)
    # LiteLLM waits for a stream's first chunk before it notices that nobody listens any more.
    assert charges[-1]["outcome"] in ("ok", "cancelled")
    assert charges[-1]["cost_total"] > 0
    assert gateway.balance("grace").held == 0


@pytest.mark.parametrize("surface", SURFACES)
def test_a_client_that_hangs_up_during_the_climb_pays_for_what_the_next_tier_was_sent(scripted, surface):
    gateway, before = scripted.gateway, len(scripted.gateway.charges_of("grace"))
    turn = case("refusal", f"[slow climb] Greet the one who leaves ({surface}).")
    with pytest.raises(httpx.ReadTimeout):
        scripted.ask("grace", surface, turn, stream=True, timeout=1.5)
    deadline = time.monotonic() + 20
    while len(charges := gateway.charges_of("grace")[before:]) < 2:
        assert time.monotonic() < deadline, charges
        time.sleep(0.2)
    facts = [(charge["kind"], charge["outcome"], charge["tier"]) for charge in charges]
    assert facts == [("failed_attempt", "failed", "local"), ("inference", "cancelled", "fast")]
    assert charges[1]["cost_total"] > 0
    assert gateway.balance("grace").held == 0


def test_every_failure_of_the_check_has_its_scripted_answer():
    assert set(BAD) == set(ASKS)
