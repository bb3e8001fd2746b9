"""A long conversation on the real local model, which writes the summary, too."""

import time
import uuid
from contextlib import closing
from typing import Any

import httpx
import pytest

from farthing.context.fold import Owner
from farthing.context.memory import open_memory
from farthing.demo.workload import conversation
from farthing.proxy.accounts import hash_key
from farthing.proxy.sessions import session_of
from farthing.telemetry import Account
from tests.e2e.conftest import Gateway
from tests.e2e.scripted_proxy import PATHS


def body_of(surface: str, messages: list[dict[str, Any]], stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "fast", "stream": stream}
    lead, history = messages[0]["content"], messages[1:]
    if surface == "responses":
        kinds = {"user": "input_text", "assistant": "output_text"}
        items = [
            {
                "type": "message",
                "role": message["role"],
                "content": [{"type": kinds[message["role"]], "text": message["content"]}],
            }
            for message in history
        ]
        return body | {"instructions": lead, "input": items, "max_output_tokens": 8}
    if surface == "messages":
        return body | {"system": lead, "messages": history, "max_tokens": 8}
    return body | {"messages": messages, "max_tokens": 8}


@pytest.mark.parametrize(("surface", "stream"), [("chat", True), ("responses", False), ("messages", True)])
def test_the_local_model_summarises_ten_turns_and_turn_11_is_answered(
    gateway: Gateway, surface: str, stream: bool
) -> None:
    name = uuid.uuid4().hex
    headers = {"authorization": f"Bearer {gateway.secret('ada')}", "x-litellm-session-id": name}
    account = Account(hash_key(gateway.secret("ada")), "ada", "", "")
    session_id = session_of(account, {}, headers)[0]

    def ask(messages: list[dict[str, Any]]) -> None:
        body = body_of(surface, messages, stream)
        answer = httpx.post(f"{gateway.url}{PATHS[surface]}", json=body, headers=headers, timeout=120)
        assert answer.status_code == 200, answer.text

    def charges(kind: str, step: int = 0) -> list[dict[str, Any]]:
        rows = gateway.rows(
            "SELECT * FROM charges_final WHERE session_id = {id:String} ORDER BY started", id=session_id
        )
        return [row for row in rows if row["kind"] == kind and step in (0, row["session_step"])]

    # On one surface as long as it takes for a block to pay, though the cache is warm; on the others shorter.
    most = 2_000 if surface == "chat" else 190
    *ten, eleventh = [
        [message | {"content": message["content"][:most]} for message in request.body["messages"]]
        for request in conversation("ada", 11)
    ]
    for messages in ten:
        ask(messages)
    deadline = time.monotonic() + 120
    with closing(open_memory(gateway.stack.settings.context)) as memory:
        while not any(fold.turns == 7 for fold in memory.session(Owner("ada", session_id)).folds):
            assert time.monotonic() < deadline, "nothing was folded"
            time.sleep(0.2)
    ask(eleventh)
    while not (charges("inference", 11) and charges("summary")):
        assert time.monotonic() < deadline, "the charges did not come"
        time.sleep(0.2)
    (summary,) = charges("summary")
    assert (summary["user"], summary["tier"]) == ("ada", "local")
    (before,), (charge,) = charges("inference", 10), charges("inference", 11)
    if surface == "chat":
        assert charge["context_decision"] == "block"
        assert charge["context_tokens_after"] < charge["context_tokens_before"] * 0.7
        assert charge["input_tokens"] < before["input_tokens"], "as the model's own tokenizer counts"
    # Its digests and the summary's figures make the short ones hardly shorter: never longer is what holds.
    assert charge["context_tokens_after"] <= charge["context_tokens_before"]
