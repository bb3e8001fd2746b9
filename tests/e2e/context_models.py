"""A fake of three kinds of endpoint that remembers what it was sent, refuses what is not valid, and writes
summaries well or badly, as it is told.

POST /behave ``{"summary": "good" | "slow" | "failing" | "lying" | "cut_off"}`` says how the model ``writer``
does its work; GET /seen returns the bodies of all requests since the last DELETE /seen. A Claude's thinking
blocks are refused unless they come back as they were signed.
Run: python -m tests.e2e.context_models PORT
"""

import asyncio
import json
import re
import sys
from hashlib import sha256
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.e2e import scripted_models
from tests.e2e.scripted_models import GOOD, USAGE, last_turn
from tests.unit.context_samples import check_valid

SEEN: list[dict[str, Any]] = []
BEHAVIOUR = {"summary": "good"}
SLOW_S = 12.0


def refused(surface: str, body: dict[str, Any]) -> Response | None:
    """Remember a request; return why a provider would not take it."""
    SEEN.append({"surface": surface, **body})
    try:
        if not isinstance(body.get("input"), str):
            check_valid(surface, body)
    except AssertionError as error:
        return JSONResponse({"error": {"message": f"invalid: {error}", "type": "invalid"}}, status_code=400)
    return None


async def chat(request: Request) -> Response:
    body = await request.json()
    if body["model"] == "writer":
        SEEN.append({"surface": "chat", **body})
        return await summary(body)
    return refused("chat", body) or await scripted_models.chat(request)


async def responses(request: Request) -> Response:
    return refused("responses", await request.json()) or await scripted_models.responses(request)


async def summary(body: dict[str, Any]) -> Response:
    """Keep every word with a digit in it, and what stands before it."""
    how = BEHAVIOUR["summary"]
    if how == "slow":
        await asyncio.sleep(SLOW_S)
    if how == "failing":
        return JSONResponse({"error": {"message": "out of order"}}, status_code=500)
    transcript = last_turn(body)
    facts = list(dict.fromkeys(re.findall(r"PO-\d+|\d+\.\d\d EUR|\d{4}-\d\d-\d\d", transcript)))
    text = "Goal: book orders. Facts: " + "; ".join(facts) + "."
    if how == "lying":
        text = text.replace("PO-1", "PO-7", 1)
    reason = "length" if how == "cut_off" else "stop"
    usage = {"prompt_tokens": 400, "completion_tokens": 60, "total_tokens": 460}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    answer = {"id": "summary", "created": 1, "object": "chat.completion", "model": "writer"}
    return JSONResponse(answer | {"choices": [choice], "usage": usage})


def signed(thought: str) -> str:
    return sha256(f"secret {thought}".encode()).hexdigest()


async def messages(request: Request) -> Response:
    body = await request.json()
    if answer := refused("messages", body):
        return answer
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "thinking" and block["signature"] != signed(block["thinking"]):
                error = {"type": "invalid_request_error", "message": "thinking blocks cannot be modified"}
                return JSONResponse({"type": "error", "error": error}, status_code=400)
    thought = f"Thought number {len(body['messages'])}."
    blocks: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": thought, "signature": signed(thought)},
        {"type": "text", "text": GOOD},
    ]
    last = body["messages"][-1]["content"]
    asks = isinstance(last, str) or any(block["type"] == "text" for block in last)
    if body.get("tools") and asks:
        call = {"type": "tool_use", "id": f"toolu_{len(SEEN)}", "name": "look_up", "input": {"at": len(SEEN)}}
        blocks[1:] = [call]
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": "tool_use" if blocks[-1]["type"] == "tool_use" else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": USAGE[0], "output_tokens": USAGE[1]},
    }
    if body.get("stream"):
        return StreamingResponse(events(whole), media_type="text/event-stream")
    return JSONResponse(whole)


async def events(whole: dict[str, Any]) -> Any:
    def event(kind: str, **more: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind} | more)}\n\n"

    yield event("message_start", message=whole | {"content": [], "stop_reason": None})
    for place, block in enumerate(whole["content"]):
        if block["type"] == "tool_use":
            name, kind, text = "partial_json", "input_json_delta", json.dumps(block["input"])
            start = block | {"input": {}}
        else:
            name = block["type"]
            kind, text = f"{name}_delta", block[name]
            start = {"type": name, name: ""}
        yield event("content_block_start", index=place, content_block=start)
        yield event("content_block_delta", index=place, delta={"type": kind, name: text})
        if "signature" in block:
            delta = {"type": "signature_delta", "signature": block["signature"]}
            yield event("content_block_delta", index=place, delta=delta)
        yield event("content_block_stop", index=place)
    end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=end, usage=whole["usage"])
    yield event("message_stop")


async def behave(request: Request) -> Response:
    BEHAVIOUR.update(await request.json())
    return JSONResponse(BEHAVIOUR)


async def seen(request: Request) -> Response:
    if request.method == "DELETE":
        SEEN.clear()
    return JSONResponse(SEEN)


app = Starlette(
    routes=[
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/responses", responses, methods=["POST"]),
        Route("/v1/messages", messages, methods=["POST"]),
        Route("/behave", behave, methods=["POST"]),
        Route("/seen", seen, methods=["GET", "DELETE"]),
        Route("/ready", scripted_models.ready),
    ],
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
