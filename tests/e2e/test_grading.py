"""How tasks are graded in the proxy: judge, intent cache and shadow mode, from outside and on the bill."""

import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from farthing.ledger import connect
from farthing.ledger.trace import trace
from tests.e2e.conftest import Gateway
from tests.e2e.scripted_models import CASES
from tests.e2e.scripted_proxy import Scripted, said, scripted_proxy

TIERS = ["local", "fast", "strong"]


@pytest.fixture(scope="module")
def judged(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """Every task is judged, by the fast tier's model; ada and grace are in departments of their own."""

    def settle(settings: dict[str, Any]) -> None:
        settings["grading"]["judge"] = {"when": "always", "model": "fast", "timeout_ms": 2000}

    with scripted_proxy(gateway, tmp_path_factory.mktemp("judged"), settle) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def shadow(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    def settle(settings: dict[str, Any]) -> None:
        settings["grading"]["mode"] = "shadow"
        for key in settings["keys"]:
            key |= {"ceiling": "LOW"} if key["user"] == "limited" else {}

    with scripted_proxy(gateway, tmp_path_factory.mktemp("shadow"), settle) as proxy:
        yield proxy


def rows_of_trace(gateway: Gateway, trace_id: str, kinds: int) -> list[dict[str, Any]]:
    """The charges of a trace, once ``kinds`` of them are there."""
    deadline = time.monotonic() + 20
    while True:
        rows = gateway.rows(
            "SELECT * FROM charges_final WHERE trace_id = {id:String} ORDER BY started", id=trace_id
        )
        if len(rows) >= kinds:
            return rows
        assert time.monotonic() < deadline, rows
        time.sleep(0.2)


def root_span(gateway: Gateway, trace_id: str) -> dict[str, str]:
    """The attributes of the request's own span."""
    sql = (
        "SELECT SpanAttributes AS a FROM otel_traces "
        "WHERE TraceId = {id:String} AND SpanName = 'farthing chat'"
    )
    deadline = time.monotonic() + 20
    while not (rows := gateway.rows(sql, id=trace_id)):
        assert time.monotonic() < deadline, "the span did not arrive"
        time.sleep(0.2)
    return rows[0]["a"]


def test_the_judges_grade_counts_and_its_cost_is_on_the_bill(judged):
    gateway = judged.gateway
    _, facts = said(judged.ask("ada", "chat", "Greet the jury."), stream=False)
    assert (facts["grade"], facts["tier"]) == ("HIGH", "strong")
    charge = gateway.charge(facts["charge"])
    assert charge["grade_source"] == "judge"
    grading, answer = rows_of_trace(gateway, charge["trace_id"], 2)
    assert (grading["kind"], grading["tier"], grading["user"]) == ("grading", "fast", "ada")
    assert grading["cost_total"] == Decimal("0.0012"), "120 tokens of the judge"
    assert grading["baseline_cost"] is None, "nobody would have graded without Farthing"
    assert answer["kind"] == "inference"
    root_span(gateway, charge["trace_id"])  # it comes last
    client = connect(gateway.stack.settings.ledger)
    spans = {span.span_id: span for span in trace(client, charge["trace_id"])}
    ((served, what),) = spans[grading["span_id"]].links
    assert (what, spans[served].name) == ("serves", "farthing chat")
    assert spans[spans[grading["span_id"]].parent_span_id].name == "farthing grade"
    _, again = said(judged.ask("ada", "chat", "Greet the jury."), stream=False)
    repeat = gateway.charge(again["charge"])
    assert repeat["grade_source"] == "cache"
    assert len(rows_of_trace(gateway, repeat["trace_id"], 1)) == 1, "a repeat pays no judge"


def test_a_judge_that_takes_too_long_is_not_waited_for(judged):
    started = time.monotonic()
    _, facts = said(judged.ask("ada", "chat", "Greet the [tired judge]."), stream=False)
    assert time.monotonic() - started < 3.8
    assert facts["grade"] == "LOW", "the learned score stands"
    charge = judged.gateway.charge(facts["charge"])
    assert charge["grade_source"] == "learned"
    assert root_span(judged.gateway, charge["trace_id"])["farthing.grade.judge_failure"] == "timeout"
    grading, _ = rows_of_trace(judged.gateway, charge["trace_id"], 2)
    assert (grading["kind"], grading["outcome"], grading["usage_estimated"]) == ("grading", "cancelled", True)
    assert judged.gateway.balance("ada").held == 0


def test_the_span_tells_grade_source_score_reason_and_cache(judged):
    _, facts = said(judged.ask("grace", "chat", "Greet the auditors."), stream=False)
    trace_id = judged.gateway.charge(facts["charge"])["trace_id"]
    span = root_span(judged.gateway, trace_id)
    assert span["farthing.grade"] == "HIGH"
    assert span["farthing.grade.source"] == "judge"
    assert 0 <= float(span["farthing.grade.score"]) <= 1
    assert "judge said HIGH" in span["farthing.grade.reason"]
    assert (span["farthing.grade.cache"], span["farthing.grade.mode"]) == ("miss", "route")
    assert len(span["farthing.intent"]) == 32
    _, facts = said(judged.ask("grace", "chat", "Greet  the AUDITORS."), stream=False)
    again = root_span(judged.gateway, judged.gateway.charge(facts["charge"])["trace_id"])
    assert again["farthing.grade.cache"] == "exact"
    assert again["farthing.intent"] == span["farthing.intent"]
    assert float(again["farthing.grade.saved_s"]) > 0
    assert "auditors" not in str(span).lower()


def test_what_one_account_was_graded_another_does_not_find(judged):
    caches = []
    for user in ("ada", "grace"):
        _, facts = said(judged.ask(user, "chat", "Greet the neighbours."), stream=False)
        span = root_span(judged.gateway, judged.gateway.charge(facts["charge"])["trace_id"])
        caches.append((span["farthing.grade.cache"], span["farthing.intent"]))
    assert [layer for layer, _ in caches] == ["miss", "miss"]
    assert caches[0][1] != caches[1][1], "not even the key of an intent is shared"


@pytest.mark.parametrize("stream", [False, True])
def test_shadow_mode_grades_and_records_but_moves_nothing(shadow, stream):
    turn = f"[case {CASES.index('refusal')}] Greet the {'streaming' if stream else 'whole'} shadows."
    text, facts = said(shadow.ask("ada", "chat", turn, stream=stream), stream)
    assert (facts["grade"], facts["tier"]) == ("LOW", "strong")
    assert "sorry" not in text
    charge = shadow.gateway.charge(facts["charge"])
    assert (charge["grade"], charge["tier"], charge["climbed_from"]) == ("LOW", "strong", "")
    assert charge["cost_total"] == charge["baseline_cost"], "no saving is claimed for what was not moved"
    assert root_span(shadow.gateway, charge["trace_id"])["farthing.grade.mode"] == "shadow"
    assert len(rows_of_trace(shadow.gateway, charge["trace_id"], 1)) == 1


def test_shadow_mode_leaves_a_bad_answer_of_a_named_model_alone(shadow):
    turn = f"[case {CASES.index('refusal')}] Greet a named shadow."
    for tier in TIERS:
        _, facts = said(shadow.ask("ada", "chat", turn, model=tier), stream=False)
        assert facts["tier"] == tier
        assert shadow.gateway.charge(facts["charge"])["kind"] == "inference"


def test_a_ceiling_holds_in_shadow_mode_too(shadow):
    _, facts = said(shadow.ask("limited", "chat", "Greet the cellar's shadows."), stream=False)
    assert (facts["grade"], facts["tier"]) == ("LOW", "local")
