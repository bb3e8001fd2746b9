"""A fake of a model's endpoint that does what its user turn says, for models that look things up on cue.

The last user turn is a JSON list of answers, one for each time that it is asked in this turn. An answer is a
list of parts: ``{"say": …}``, ``{"think": …}``, ``{"call": name, "with": arguments}``, ``{"wait": seconds}``,
and ``{"tell": names}``, which says as JSON what it was sent: ``told``, what the tools returned in this turn,
``tools`` and ``choice``, and ``signed``, how much signed reasoning of this turn came back. A part with a
``by`` is left out by other models. Serves chat completions, responses and Anthropic's messages, streamed or
not.
Run: python -m tests.e2e.recalling_models PORT
"""

import asyncio
import json
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

USAGE = (100, 20)
"""Tokens of every request and of every answer."""

Part = dict[str, Any]


def text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [])


def script(body: dict[str, Any]) -> tuple[list[Part], int]:
    """Return the parts of the answer that ``body`` asks for, and which one of its turn it is."""
    items = body.get("messages") or body.get("input") or []
    items = [{"role": "user", "content": items}] if isinstance(items, str) else items
    turns = [n for n, item in enumerate(items) if item.get("role") == "user" and text_of(item["content"])]
    answers, since = json.loads(text_of(items[turns[-1]]["content"])), items[turns[-1] + 1 :]
    told = [item["content"] for item in since if item.get("role") == "tool"]
    told += [item["output"] for item in since if item.get("type") == "function_call_output"]
    for item in since:
        if item.get("role") == "user":
            told += [text_of(part["content"]) for part in item["content"]]
    asked = 0
    outputs = ("tool", "user") if "messages" in body else ("function_call_output",)
    for before, item in zip([{}, *since], [*since, {}], strict=True):
        kind, after = before.get("role") or before.get("type"), item.get("role") or item.get("type")
        asked += kind in outputs and after not in outputs
    names = [tool.get("name") or tool["function"]["name"] for tool in body.get("tools") or []]
    choice = body.get("tool_choice")
    choice = choice.get("type") if isinstance(choice, dict) else choice
    sent = {"told": told, "tools": names, "choice": choice, "signed": str(since).count("sig-")}
    answer = answers[min(asked, len(answers) - 1)]
    parts = [part for part in answer if part.get("by", body["model"]) == body["model"]]
    return [
        {"say": json.dumps({name: sent[name] for name in part["tell"]})} if "tell" in part else part
        for part in parts
    ], asked


async def waits(parts: list[Part]) -> None:
    await asyncio.sleep(sum(part.get("wait", 0) for part in parts))


def pieces(text: str) -> list[str]:
    return [text[at : at + 7] for at in range(0, len(text), 7)]


# Chat completions


async def chat(request: Request) -> Response:
    body = await request.json()
    parts, asked = script(body)
    await waits(parts)
    said = "".join(part.get("say", "") for part in parts)
    calls = [
        {
            "id": f"call_{asked}_{n}",
            "type": "function",
            "function": {"name": part["call"], "arguments": json.dumps(part["with"])},
            "index": n,
        }
        for n, part in enumerate(part for part in parts if "call" in part)
    ]
    finish = "tool_calls" if calls else "stop"
    usage = {"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1], "total_tokens": sum(USAGE)}
    base = {"id": f"chat-{asked}", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        message = {"role": "assistant", "content": said or None} | ({"tool_calls": calls} if calls else {})
        choice = {"index": 0, "message": message, "finish_reason": finish}
        return JSONResponse(base | {"object": "chat.completion", "choices": [choice], "usage": usage})

    async def events():
        def chunk(delta, finish=None, **more):
            choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if delta is not None else []
            whole = base | {"object": "chat.completion.chunk", "choices": choices} | more
            return f"data: {json.dumps(whole)}\n\n"

        yield chunk({"role": "assistant", "content": ""})
        for piece in pieces(said):
            yield chunk({"content": piece})
        for call in calls:
            function, arguments = call["function"], call["function"]["arguments"]
            yield chunk({"tool_calls": [call | {"function": function | {"arguments": ""}}]})
            for piece in pieces(arguments):
                yield chunk({"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]})
        yield chunk({}, finish)
        yield chunk(None, usage=usage)
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


# Responses


def output_item(part: Part, asked: int, n: int) -> Part:
    if "call" in part:
        return {
            "type": "function_call",
            "id": f"fc_{asked}_{n}",
            "call_id": f"call_{asked}_{n}",
            "name": part["call"],
            "arguments": json.dumps(part["with"]),
            "status": "completed",
        }
    if "think" in part:
        return {"type": "reasoning", "id": f"rs_{asked}_{n}", "summary": [], "encrypted_content": "sig-1"}
    text = {"type": "output_text", "text": part["say"], "annotations": []}
    return {
        "type": "message",
        "id": f"msg_{asked}_{n}",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }


async def responses(request: Request) -> Response:
    body = await request.json()
    parts, asked = script(body)
    await waits(parts)
    output = [
        output_item(part, asked, n) for n, part in enumerate(part for part in parts if "wait" not in part)
    ]
    whole = {
        "id": f"resp_{asked}",
        "object": "response",
        "created_at": 1,
        "model": body["model"],
        "status": "completed",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "usage": {
            "input_tokens": USAGE[0],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": USAGE[1],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sum(USAGE),
        },
    }
    if not body.get("stream"):
        return JSONResponse(whole)

    async def events():
        number = -1

        def event(kind, **more):
            nonlocal number
            number += 1
            return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number} | more)}\n\n"

        begun = whole | {"status": "in_progress", "output": [], "usage": None}
        yield event("response.created", response=begun)
        yield event("response.in_progress", response=begun)
        for place, item in enumerate(output):
            at = {"output_index": place, "item_id": item["id"]}
            empty = {"function_call": {"arguments": ""}, "message": {"content": []}}.get(item["type"], {})
            yield event("response.output_item.added", output_index=place, item=item | empty)
            if item["type"] == "function_call":
                for piece in pieces(item["arguments"]):
                    yield event("response.function_call_arguments.delta", delta=piece, **at)
                yield event("response.function_call_arguments.done", arguments=item["arguments"], **at)
            if item["type"] == "message":
                part = item["content"][0]
                yield event("response.content_part.added", content_index=0, part=part | {"text": ""}, **at)
                for piece in pieces(part["text"]):
                    yield event("response.output_text.delta", content_index=0, delta=piece, logprobs=[], **at)
                yield event(
                    "response.output_text.done", content_index=0, text=part["text"], logprobs=[], **at
                )
                yield event("response.content_part.done", content_index=0, part=part, **at)
            yield event("response.output_item.done", output_index=place, item=item)
        yield event("response.completed", response=whole)

    return StreamingResponse(events(), media_type="text/event-stream")


# Anthropic's messages


def block_of(part: Part, asked: int, n: int) -> Part:
    if "call" in part:
        return {"type": "tool_use", "id": f"toolu_{asked}_{n}", "name": part["call"], "input": part["with"]}
    if "think" in part:
        return {"type": "thinking", "thinking": part["think"], "signature": f"sig-{asked}"}
    return {"type": "text", "text": part["say"]}


async def messages(request: Request) -> Response:
    body = await request.json()
    parts, asked = script(body)
    await waits(parts)
    blocks = [block_of(part, asked, n) for n, part in enumerate(part for part in parts if "wait" not in part)]
    calls = any(block["type"] == "tool_use" for block in blocks)
    usage = {"input_tokens": USAGE[0], "output_tokens": USAGE[1]}
    whole = {
        "id": f"msg_{asked}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if not body.get("stream"):
        return JSONResponse(whole)

    async def events():
        def event(kind, **more):
            return f"event: {kind}\ndata: {json.dumps({'type': kind} | more)}\n\n"

        yield event("message_start", message=whole | {"content": [], "stop_reason": None})
        yield event("ping")
        for place, block in enumerate(blocks):
            names = {"tool_use": "input", "thinking": "thinking", "text": "text"}
            name = names[block["type"]]
            empty = {"input": {}} if name == "input" else {name: ""}
            start = {key: value for key, value in block.items() if key != "signature"} | empty
            yield event("content_block_start", index=place, content_block=start)
            text = json.dumps(block["input"]) if name == "input" else block[name]
            kind = {"input": "input_json", "thinking": "thinking", "text": "text"}[name]
            key = "partial_json" if name == "input" else name
            for piece in pieces(text):
                yield event("content_block_delta", index=place, delta={"type": f"{kind}_delta", key: piece})
            if "signature" in block:
                delta = {"type": "signature_delta", "signature": block["signature"]}
                yield event("content_block_delta", index=place, delta=delta)
            yield event("content_block_stop", index=place)
        delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        yield event("message_delta", delta=delta, usage=usage)
        yield event("message_stop")

    return StreamingResponse(events(), media_type="text/event-stream")


async def ready(request: Request) -> Response:
    return JSONResponse({"fake": True})


app = Starlette(
    routes=[
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/responses", responses, methods=["POST"]),
        Route("/v1/messages", messages, methods=["POST"]),
        Route("/ready", ready),
    ],
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
