"""Traces that SREs read: one request is one tree, LiteLLM's own spans in it, and metrics beside it."""

import base64
import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from farthing.demo.stack import free_port
from farthing.ledger import connect
from farthing.ledger.trace import TraceSpan, in_tree, trace
from tests.e2e.conftest import Gateway
from tests.e2e.scripted_models import CASES
from tests.e2e.scripted_proxy import PATHS, Scripted, scripted_proxy

SECRET = "zanzibarium"
"""A word of every prompt: it must be in no span."""
CALLER = "6a" * 8
STEPS = {"farthing grade", "farthing context", "farthing hold", "farthing check", "farthing settle"}
PORT = free_port()


@pytest.fixture(scope="module")
def traced(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    ledger = gateway.stack.settings.ledger
    password = base64.b64encode(f"{ledger.user}:{ledger.password}".encode()).decode()

    def settle(settings: dict[str, Any]) -> None:
        settings["grading"]["check"] = {"stream_prefix_chars": 1000}
        settings["telemetry"]["prometheus_port"] = PORT
        for key in settings["keys"]:
            key |= {"agent": "nightly"} if key["user"] == "grace" else {}

    def change(config: dict[str, Any]) -> None:
        config["litellm_settings"]["callbacks"].append("otel")
        config["litellm_settings"]["turn_off_message_logging"] = True
        config["environment_variables"] = {
            "OTEL_EXPORTER": "otlp_http",
            "OTEL_ENDPOINT": f"{ledger.url}/v1/traces",
            "OTEL_HEADERS": f"authorization=Basic {password}",
            "OTEL_BSP_SCHEDULE_DELAY": "300",
        }

    with scripted_proxy(gateway, tmp_path_factory.mktemp("traced"), settle, change) as proxy:
        yield proxy


def ask(proxy: Scripted, user: str, surface: str, turn: str, **more: Any) -> tuple[str, httpx.Response]:
    """Ask inside a trace of the caller's; return the trace's id and the response."""
    trace_id = secrets.token_hex(16)
    told = {"input": turn} if surface == "responses" else {"messages": [{"role": "user", "content": turn}]}
    body = {"model": "auto", "max_tokens": 300, **told, **more}
    if surface == "responses":
        body["max_output_tokens"] = body.pop("max_tokens")
    headers = {
        "authorization": f"Bearer {proxy.gateway.secret(user)}",
        "traceparent": f"00-{trace_id}-{CALLER}-01",
        "x-farthing-task": "ticket 7",
    }
    return trace_id, httpx.post(f"{proxy.url}{PATHS[surface]}", json=body, headers=headers, timeout=60)


def tree_of(
    proxy: Scripted, trace_id: str, whole: Callable[[list[TraceSpan]], bool], within_s: float = 40
) -> list[TraceSpan]:
    """Return the trace's spans once ``whole`` says that all have arrived."""
    client = connect(proxy.gateway.stack.settings.ledger)
    deadline = time.monotonic() + within_s
    while not (spans := trace(client, trace_id)) or not whole(spans):
        assert time.monotonic() < deadline, [(span.name, span.service) for span in spans]
        time.sleep(0.5)
    return spans


def has(*names: str) -> Callable[[list[TraceSpan]], bool]:
    """All of ``names`` are there, and LiteLLM's own spans."""
    return lambda spans: {*names, "Received Proxy Server Request"} <= {span.name for span in spans}


def named(spans: list[TraceSpan], name: str) -> list[TraceSpan]:
    return [span for span in spans if span.name == name]


def assert_one_tree(spans: list[TraceSpan], surface: str) -> TraceSpan:
    """Below the caller's span hang those of its host, below LiteLLM's ours, and nothing hangs in the air."""
    tops = [span for span, depth in in_tree(spans) if depth == 0]
    assert {span.parent_span_id for span in tops} == {CALLER}, [span.name for span in tops]
    # FastAPI traces, too, once LiteLLM has set a global tracer provider.
    assert {span.service for span in tops} == {"litellm"}
    (host,) = named(spans, "Received Proxy Server Request")
    (root,) = named(spans, f"farthing {surface}")
    assert (root.parent_span_id, root.kind) == (host.span_id, "Server")
    for span in spans:
        if span.service == "farthing" and span is not root:
            assert span.parent_span_id == root.span_id, span.name
            assert span.offset_ns + span.duration_ns <= root.offset_ns + root.duration_ns + 10**6, span.name
    assert SECRET not in json.dumps([str(span) for span in spans])
    return root


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("surface", list(PATHS))
def test_a_request_is_one_tree_on_every_surface(traced, surface, stream):
    trace_id, response = ask(traced, "ada", surface, f"Say hello to {SECRET} ({surface}).", stream=stream)
    assert response.status_code == 200, response.text
    spans = tree_of(traced, trace_id, has(f"farthing {surface}", "chat cheap", *STEPS))
    root = assert_one_tree(spans, surface)
    assert root.attributes["farthing.task"] == "ticket 7"
    assert float(root.attributes["farthing.overhead_s"]) > 0
    (charge,) = [span for span in spans if "farthing.charge.id" in span.attributes]
    assert charge.name == "chat cheap"
    order = ["grade", "context", "hold", "chat cheap", "check", "settle"]
    ours = [span.name.removeprefix("farthing ") for span in spans if span.parent_span_id == root.span_id]
    assert [name for name in ours if name in order] == order
    row = traced.gateway.charge(charge.attributes["farthing.charge.id"])
    assert (row["agent"], row["task"], row["department"]) == ("", "ticket 7", "research")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_climb_shows_what_failed_and_what_answered(traced, stream):
    turn = f"[case {CASES.index('refusal')}] Say hello to {SECRET} ({stream})."
    trace_id, response = ask(traced, "grace", "chat", turn, stream=stream)
    assert response.status_code == 200, response.text
    spans = tree_of(traced, trace_id, has("farthing chat", "chat cheap", "chat middling", "farthing check"))
    root = assert_one_tree(spans, "chat")
    (cheap,), (better,) = named(spans, "chat cheap"), named(spans, "chat middling")
    assert (cheap.status, cheap.attributes["error.type"]) == ("Error", "refusal")
    assert (better.status, better.attributes["farthing.climbed_from"]) == ("Unset", "local")
    checks = named(spans, "farthing check")
    assert (checks[0].status, checks[0].attributes["farthing.check.failure"]) == ("Error", "refusal")
    assert checks[-1].status == "Unset"
    assert [len(named(spans, f"farthing {step}")) for step in ("grade", "hold", "settle")] == [1, 2, 2]
    (climb,) = [event for event in root.events if event.name == "farthing.climb"]
    assert climb.attributes["farthing.tier"] == "fast"
    row = traced.gateway.charge(better.attributes["farthing.charge.id"])
    assert row["agent"] == "nightly", "the key's own entry says who calls"


def test_a_denial_is_a_tree_too_and_its_reason_is_counted(traced):
    trace_id, response = ask(traced, "blaise", "chat", f"Say hello to {SECRET}, denied.")
    assert response.status_code == 402, response.text
    spans = tree_of(traced, trace_id, has("farthing chat", "farthing hold"))
    root = assert_one_tree(spans, "chat")
    assert root.status == "Error"
    facts = {name: root.attributes[name] for name in ("error.type", "farthing.denial.reason")}
    assert facts == {"error.type": "insufficient_quota", "farthing.denial.reason": "credits"}
    assert root.attributes["http.response.status_code"] == "402"
    (hold, *_) = named(spans, "farthing hold")
    assert (hold.status, hold.attributes["error.type"]) == ("Error", "InsufficientCreditsError")
    assert not [span for span in spans if "farthing.charge.id" in span.attributes]
    scraped = httpx.get(f"http://127.0.0.1:{PORT}/metrics", timeout=10).text
    counted = re.search(r"^farthing_denials_total\{(.*)\} (\S+)$", scraped, re.MULTILINE)
    assert counted, scraped
    assert float(counted[2]) == 1
    assert 'farthing_denial_reason="credits"' in counted[1]
    assert 'farthing_account_department="marketing"' in counted[1]
    for name in ("gen_ai_client_token_usage", "gen_ai_client_operation_duration_seconds"):
        assert f"\n{name}_bucket{{" in scraped, name
    assert "\nfarthing_overhead_duration_seconds_bucket{" in scraped
    (climbs,) = re.findall(r"^farthing_climbs_total\{(.*)\} \S+$", scraped, re.MULTILINE)
    assert 'farthing_climb_from="local"' in climbs
    assert 'farthing_climb_to="fast"' in climbs
    assert "litellm_" not in scraped


def test_the_command_line_draws_the_trace_of_a_charge(traced, tmp_path):
    _, response = ask(traced, "ada", "chat", f"Say hello to {SECRET}, on paper.")
    charge = response.headers["x-farthing-charge"]
    traced.gateway.charge(charge)
    farthing = [str(Path(sys.executable).parent / "farthing"), "trace"]
    config = ["--config", str(traced.folder / "farthing.yaml")]
    page = tmp_path / "trace.html"
    environment = traced.gateway.stack.environment
    for more in (["--format", "html", "--output", str(page)], []):
        done = subprocess.run(
            [*farthing, charge, *config, *more], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
    assert "chat cheap" in page.read_text()
    assert "chat cheap" in done.stdout
    assert SECRET not in page.read_text() + done.stdout
    unknown = subprocess.run(
        [*farthing, "nothing", *config], env=environment, capture_output=True, text=True, timeout=60
    )
    assert unknown.returncode == 1
    assert "no span of 'nothing'" in unknown.stderr
