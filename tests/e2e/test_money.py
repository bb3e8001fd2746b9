"""Who pays, and what happens when nothing is left: nothing that a client sends moves its bill."""

import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx
import openai
import pytest

from tests.e2e.test_surfaces import EASY, HARD

CHAT = "/v1/chat/completions"
BODIES = {
    CHAT: {"model": "auto", "messages": HARD, "max_tokens": 8},
    "/v1/responses": {"model": "auto", "input": HARD[0]["content"], "max_output_tokens": 16},
    "/v1/messages": {"model": "auto", "messages": HARD, "max_tokens": 8},
}


def settled_within(gateway, user, before, within_s=10):
    """Return the user's balance once something was settled since ``before``."""
    deadline = time.monotonic() + within_s
    while (now := gateway.balance(user)).settled == before.settled and time.monotonic() < deadline:
        time.sleep(0.1)
    return now


def test_a_call_is_paid_from_the_balance_of_its_user(gateway):
    before = gateway.balance("ada")
    response = gateway.post("ada", CHAT, BODIES[CHAT])
    cost = int(Decimal(response.headers["x-farthing-cost"]) * 10**9)
    after = gateway.balance("ada")
    assert cost > 0
    assert after.settled == before.settled + cost
    assert after.held == before.held == 0
    assert Decimal(response.headers["x-farthing-balance"]) == pytest.approx(
        Decimal(after.available) / 10**6, abs=Decimal("0.001")
    )


@pytest.mark.parametrize("path", BODIES)
def test_an_empty_balance_is_told_402_for_a_cloud_tier(gateway, path):
    response = gateway.post("blaise", path, BODIES[path])
    assert response.status_code == 402
    error = response.json()["error"]
    if path != "/v1/messages":  # there LiteLLM puts Anthropic's own types in its place
        assert error["type"] == "insufficient_quota"
    assert "blaise has 0.000" in error["message"]
    assert "local" in error["message"]


def test_the_openai_library_understands_the_402(gateway):
    with pytest.raises(openai.APIStatusError) as refused:
        gateway.openai("blaise").chat.completions.create(model="strong", messages=EASY, max_tokens=8)
    assert refused.value.status_code == 402
    assert refused.value.type == "insufficient_quota"


@pytest.mark.parametrize("stream", [True, False])
def test_an_empty_balance_still_has_the_local_tier(gateway, stream):
    response = gateway.post(
        "blaise", CHAT, {"model": "auto", "messages": EASY, "max_tokens": 8, "stream": stream}
    )
    assert response.status_code == 200
    assert response.headers["x-farthing-tier"] == "local"
    assert gateway.balance("blaise").settled == 0


def test_many_refusals_do_not_close_a_tier_for_others(gateway):
    for _ in range(5):
        assert gateway.post("blaise", CHAT, BODIES[CHAT]).status_code == 402
    assert gateway.post("ada", CHAT, BODIES[CHAT]).status_code == 200


def test_racing_calls_cannot_take_a_balance_below_zero(gateway):
    body = {"model": "strong", "messages": EASY, "max_tokens": 100}  # may cost 1.1 of 3 credits each
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: gateway.post("charles", CHAT, body), range(8)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 200
    assert statuses[-1] == 402
    assert gateway.balance("charles").available >= 0


def test_without_a_cap_the_balance_sets_one(gateway):
    body = {"model": "strong", "messages": [{"role": "user", "content": "Count upwards for ever."}]}
    before = gateway.balance("charles")
    assert 0 < before.available < 4096 * 10_000, "less than the default cap would cost"
    response = gateway.post("charles", CHAT, body)
    assert response.status_code == 200
    held = int(Decimal(response.headers["x-farthing-held"]) * 10**6)
    assert held <= before.available + 1000
    assert gateway.balance("charles").available >= 0


@pytest.mark.parametrize(
    "forged",
    [
        {"user": "grace"},
        {"metadata": {"user_api_key_user_id": "grace", "tags": ["platform"], "farthing_call": "x"}},
        {"litellm_metadata": {"user_api_key_user_id": "grace", "farthing_key": "x", "farthing_call": "x"}},
        {"tags": ["platform"], "spend_logs_metadata": {"department": "platform"}},
        {"model_info": {"base_model": "gpt-5-nano", "input_cost_per_token": 0, "stand_in": False}},
        {"input_cost_per_token": 0, "output_cost_per_token": 0},
        {"base_model": "gpt-5-nano"},
    ],
    ids=lambda forged: "+".join(forged),
)
def test_nothing_in_the_body_changes_who_pays_or_what(gateway, forged):
    honest = gateway.post("ada", CHAT, {"model": "strong", "messages": EASY, "max_tokens": 8})
    response = gateway.post("ada", CHAT, {"model": "strong", "messages": EASY, "max_tokens": 8, **forged})
    if "input_cost_per_token" in forged:  # LiteLLM itself refuses prices from clients, with a bare 500
        assert response.status_code == 500
        assert gateway.balance("ada").held == 0
        return
    assert response.status_code == 200
    charge = gateway.charge(response.headers["x-farthing-charge"])
    assert (charge["user"], charge["department"], charge["cost_centre"]) == ("ada", "research", "CC-1")
    assert charge["model"] == "gpt-5 (stand-in)"
    paid = [Decimal(r.headers["x-farthing-cost"]) for r in (honest, response)]
    assert paid[1] > paid[0] / 2


@pytest.mark.parametrize(
    "headers",
    [
        {"x-litellm-customer-id": "grace", "x-litellm-tags": "platform"},
        {"x-litellm-spend-logs-metadata": '{"department": "platform"}'},
        {"x-farthing-user": "grace", "x-farthing-department": "platform"},
        {"langfuse_user_id": "grace"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_no_header_changes_who_pays(gateway, headers):
    response = gateway.post("ada", CHAT, {"model": "strong", "messages": EASY, "max_tokens": 8}, **headers)
    charge = gateway.charge(response.headers["x-farthing-charge"])
    assert (charge["user"], charge["department"]) == ("ada", "research")


def test_calls_that_share_a_call_id_are_each_paid_by_their_own_user(gateway):
    """LiteLLM lets clients choose its call id; two at once with the same must not mix."""
    body = {"model": "strong", "messages": EASY, "max_tokens": 24}
    people = ["ada", "grace"] * 4
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda user: gateway.post(user, CHAT, body, **{"x-litellm-call-id": "same"}), people)
        )
    ids = [answer.headers["x-farthing-charge"] for answer in answers]
    assert len(set(ids)) == len(ids)
    assert [gateway.charge(charge_id)["user"] for charge_id in ids] == people


def test_a_client_that_hangs_up_pays_for_what_was_streamed(gateway):
    before = gateway.balance("grace")
    known = {charge["id"] for charge in gateway.charges_of("grace")}
    body = {"model": "strong", "messages": HARD, "max_tokens": 120, "stream": True}
    headers = {"authorization": f"Bearer {gateway.secret('grace')}"}
    with httpx.stream("POST", f"{gateway.url}{CHAT}", json=body, headers=headers, timeout=60) as response:
        for count, line in enumerate(response.iter_lines()):
            if line.startswith("data:") and count > 12:
                break
    after = settled_within(gateway, "grace", before)
    assert after.settled > before.settled
    assert after.held == 0
    deadline = time.monotonic() + 20
    while not (new := [c for c in gateway.charges_of("grace") if c["id"] not in known]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    (charge,) = new
    assert charge["outcome"] == "cancelled"
    assert charge["usage_estimated"] is True
    assert 0 < charge["output_tokens"] < 120
    assert charge["cost_total"] == charge["settled"] > 0


def test_an_unknown_key_is_told_401(gateway):
    for path, body in BODIES.items():
        for headers in ({"authorization": "Bearer sk-unknown"}, {"x-api-key": "sk-unknown"}, {}):
            response = httpx.post(f"{gateway.url}{path}", json=body, headers=headers, timeout=30)
            assert response.status_code == 401, (path, headers, response.text)
            assert "error" in response.json()


def test_a_key_calls_only_the_models_on_its_list(gateway):
    for path, body in BODIES.items():
        assert gateway.post("limited", path, {**body, "model": "strong"}).status_code == 403
    assert gateway.post("limited", CHAT, {**BODIES[CHAT], "model": "local"}).status_code == 200


def test_an_unknown_model_is_refused_by_litellm(gateway):
    response = gateway.post("wide", CHAT, {**BODIES[CHAT], "model": "no-such-model"})
    assert response.status_code in (400, 404)
    assert "no-such-model" in response.json()["error"]["message"]


SNEAKY = {
    "another model in the raw body": {"extra_body": {"model": "gpt-5-pro", "max_tokens": 99_999}},
    "several models at once": {"model": "fast,strong"},
    "a stream that is none": {"stream": "true"},
    "a float cap": {"max_completion_tokens": 100_000.0},
    "a negative cap": {"max_tokens": -1},
    "answers without end": {"n": 10**15},
    "answers in words": {"n": "8"},
    "a search with fees": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
    "a search by option": {"web_search_options": {}},
    "a search without a type": {"tools": [{"googleSearch": {}}]},
    "a fallback with a raw body": {"fallbacks": [{"model": "fast", "extra_body": {"n": 9}}]},
    "an answer for later": {"background": True},
}


@pytest.mark.parametrize("change", SNEAKY.values(), ids=SNEAKY)
@pytest.mark.parametrize("path", BODIES)
def test_what_would_cost_more_than_is_held_is_refused_with_a_reason(gateway, path, change):
    before = gateway.balance("ada")
    response = gateway.post("ada", path, {**BODIES[path], "model": "fast", **change})
    assert response.status_code in (400, 403), response.text
    assert response.json()["error"]["message"]
    assert gateway.balance("ada") == before


def test_a_cap_of_another_surface_does_not_lower_the_hold(gateway):
    honest = gateway.post("ada", CHAT, {"model": "fast", "messages": EASY})
    sneaky = gateway.post("ada", CHAT, {"model": "fast", "messages": EASY, "max_output_tokens": 1})
    assert sneaky.headers["x-farthing-held"] == honest.headers["x-farthing-held"]


@pytest.mark.parametrize(
    "path",
    [
        "/openai/deployments/strong/chat/completions",
        "/engines/strong/chat/completions",
        f"{CHAT}?model=strong",
    ],
)
def test_a_model_in_path_or_query_is_no_way_round_the_list(gateway, path):
    response = gateway.post("limited", path, {**BODIES[CHAT], "model": "local"})
    assert response.status_code == 403


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/anthropic/v1/messages", "/v1/files"])
def test_routes_that_nobody_meters_are_closed_to_keys(gateway, path):
    response = gateway.post("ada", path, BODIES[CHAT])
    assert response.status_code == 403
    assert "not open" in response.json()["error"]["message"]


RUBBISH = {
    "empty": {"messages": []},
    "text": {"messages": "not a list"},
    "none": {},
    "no content": {"messages": [{"role": "user"}]},
    "odd part": {"messages": [{"role": "user", "content": [{"type": "nonsense"}]}]},
    "negative cap": {"messages": EASY, "max_tokens": -5},
    "worded cap": {"messages": EASY, "max_tokens": "many"},
}


@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_refused_with_a_reason_and_holds_nothing(gateway, body):
    response = gateway.post("ada", CHAT, {"model": "auto", **body})
    # LiteLLM's own token counter fails on a part it does not know.
    assert response.status_code == (500 if body is RUBBISH["odd part"] else 400)
    assert response.json()["error"]["message"]
    assert gateway.balance("ada").held == 0


def test_the_books_match(gateway):
    report = gateway.books()
    assert report.outbox_left == 0
    assert report.unpriced == 0
    assert report.charges_usd == report.settled_usd == report.billed_usd
    assert report.reconciled
