"""Parts that fail (ledger, local tier, proxy, grader): requests go on where they can, and money adds up."""

import re
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import httpx

from farthing.demo import workload
from farthing.demo.stack import free_port
from tests.e2e.conftest import USERS, second_proxy
from tests.e2e.test_money import BODIES, CHAT
from tests.e2e.test_surfaces import EASY, HARD


def test_ledger_killed_half_way_through_the_demo_traffic_ends_reconciled(gateway):
    """The demo's own traffic; the ledger dies a quarter of the way through and is back at three quarters."""
    stack, lanes = gateway.stack, workload.script()
    people = {"ada": "ada", "grace": "grace", "blaise": "blaise", "linus": "grace", "margaret": "ada"}
    keys = {name: next(key for key in USERS if key.user == user) for name, user in people.items()}
    total, seen, during = sum(map(len, lanes)), count(1), []

    def tell(answer):
        n = next(seen)
        if n == total // 4:
            stack.ledger.kill()
        elif n == total * 3 // 4:
            stack.ledger.start()
        elif total // 4 < n < total * 3 // 4:
            during.append(answer)

    answers = workload.run(lanes, keys, gateway.url, tell)
    stack.ledger.wait_ready()
    assert sum(answer.status == 200 for answer in answers) == total - 3, "requests go on without the ledger"
    assert sum(answer.status == 402 for answer in answers) == 3
    for answer in [answer for answer in during if answer.status == 200][:5]:
        assert gateway.charge(answer.facts["charge"], within_s=60)
    report = gateway.books()
    assert report.outbox_left == 0
    assert report.reconciled


def test_local_tier_down_the_next_tier_answers_and_it_is_recorded(gateway, tmp_path):
    def break_local(config):
        (local,) = [m for m in config["model_list"] if m["model_name"] == "local"]
        local["litellm_params"]["api_base"] = f"http://127.0.0.1:{free_port()}/v1"

    part, url = second_proxy(gateway, tmp_path, break_local)
    try:
        part.wait_ready()
        headers = {"authorization": f"Bearer {gateway.secret('ada')}"}
        easy = {
            CHAT: {"model": "auto", "messages": EASY, "max_tokens": 8},
            "/v1/responses": {"model": "auto", "input": EASY[0]["content"], "max_output_tokens": 16},
            "/v1/messages": {"model": "auto", "messages": EASY, "max_tokens": 8},
        }
        for path, body in easy.items():
            response = httpx.post(f"{url}{path}", json=body, headers=headers, timeout=60)
            assert response.status_code == 200, (path, response.text)
            assert response.headers["x-farthing-grade"] == "LOW"
            assert response.headers["x-farthing-tier"] == "fast"
            charge = gateway.charge(response.headers["x-farthing-charge"])
            assert (charge["grade"], charge["tier"], charge["climbed_from"]) == ("LOW", "fast", "local")
        poor = {"authorization": f"Bearer {gateway.secret('blaise')}"}
        refused = httpx.post(f"{url}{CHAT}", json=easy[CHAT], headers=poor, timeout=60)
        assert refused.status_code == 402, "a fallback is paid for like any other call"
        assert refused.json()["error"]["type"] == "insufficient_quota"
        assert "The local tier is down" in refused.json()["error"]["message"]
        assert gateway.balance("ada").held == 0
    finally:
        part.stop()


def test_a_grader_that_breaks_grades_medium_and_says_so(gateway, tmp_path):
    (tmp_path / "broken.py").write_text(
        "from farthing.proxy import plugin\n"
        "class Broken:\n"
        "    async def grade(self, *arguments):\n"
        "        raise KeyError('a bug')\n"
        "plugin._farthing.meter._pipeline = Broken()\n"
        "classifier = plugin.classifier\n"
    )

    def break_grader(config):
        (auto,) = [m for m in config["model_list"] if m["model_name"] == "auto"]
        auto["litellm_params"]["complexity_router_config"]["classifier_plugin"] = "broken.classifier"

    part, url = second_proxy(gateway, tmp_path, break_grader)
    try:
        part.wait_ready()
        headers = {"authorization": f"Bearer {gateway.secret('ada')}"}
        body = {"model": "auto", "messages": EASY, "max_tokens": 8}
        response = httpx.post(f"{url}{CHAT}", json=body, headers=headers, timeout=60)
        assert response.status_code == 200
        assert response.headers["x-farthing-grade"] == "MEDIUM"
        assert response.headers["x-farthing-tier"] == "fast"
        charge = gateway.charge(response.headers["x-farthing-charge"])
        assert charge["grade_source"] == "fallback"
        deadline = time.monotonic() + 20
        sql = "SELECT Events.Name AS events FROM otel_traces WHERE TraceId = {id:String}"
        while not any(
            "farthing.grade.failed" in row["events"] for row in gateway.rows(sql, id=charge["trace_id"])
        ):
            assert time.monotonic() < deadline, "the span event did not arrive"
            time.sleep(0.3)
    finally:
        part.stop()


def test_a_proxy_killed_in_mid_traffic_loses_no_charge(gateway):
    stack = gateway.stack
    answered = [gateway.post("ada", CHAT, BODIES[CHAT]) for _ in range(3)]
    stack.proxy.kill()
    stack.proxy.start()
    stack.proxy.wait_ready()
    for response in answered:
        assert gateway.charge(response.headers["x-farthing-charge"], within_s=60)["outcome"] == "ok"
    assert gateway.post("ada", CHAT, BODIES[CHAT]).status_code == 200
    assert gateway.books().reconciled


def test_a_malformed_farthing_yaml_stops_the_start_and_names_field_value_and_fix(gateway, tmp_path):
    (tmp_path / "farthing.yaml").write_text("credits:\n  usd_per_credit: minus one\n")
    environment = {**gateway.stack.environment, "FARTHING_CONFIG": str(tmp_path / "farthing.yaml")}
    litellm = str(Path(sys.executable).parent / "litellm")
    done = subprocess.run(
        [litellm, "--config", str(gateway.stack.folder / "litellm.yaml"), "--port", str(free_port())],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert re.search(r"credits\.usd_per_credit = 'minus one': .*decimal", said)


def test_a_trace_joins_the_callers_and_holds_no_prompt(gateway):
    trace_id, parent = "5f" * 16, "6a" * 8
    secret_word = "zanzibarium"
    body = {"model": "auto", "messages": [*HARD, {"role": "user", "content": f"Explain {secret_word}."}]}
    response = gateway.post("ada", CHAT, {**body, "max_tokens": 8}, traceparent=f"00-{trace_id}-{parent}-01")
    assert response.status_code == 200
    charge = gateway.charge(response.headers["x-farthing-charge"])
    assert charge["trace_id"] == trace_id
    deadline = time.monotonic() + 20
    while True:
        spans = gateway.rows("SELECT * FROM otel_traces WHERE TraceId = {id:String}", id=trace_id)
        names = {span["SpanName"] for span in spans}
        if {"farthing chat", "farthing grade", "farthing hold", "farthing settle"} <= names:
            break
        assert time.monotonic() < deadline, names
        time.sleep(0.3)
    (root,) = [span for span in spans if span["SpanName"] == "farthing chat"]
    assert root["ParentSpanId"] == parent
    children = [span for span in spans if span["SpanName"] != "farthing chat"]
    assert {span["ParentSpanId"] for span in children} == {root["SpanId"]}
    assert secret_word not in str(spans)
    assert gateway.secret("ada") not in str(spans)
    for log in (gateway.stack.folder / "logs").glob("*.log"):
        assert secret_word not in log.read_text(errors="replace"), log
