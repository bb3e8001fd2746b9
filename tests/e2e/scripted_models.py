"""A fake of an OpenAI-compatible endpoint with scripted answers, for failures no real model gives on demand.

The last user turn names the answer by its number, as in ``[case 2]``: what the turn says is checked too, so
it must not speak of refusals. The model ``cheap`` gives that answer; the others answer well, but for
``middling``, which fails too if the turn says ``[twice]`` and takes three seconds if it says
``[slow climb]``. Asked to judge a task, it says HIGH, but takes
four seconds if the task says ``[tired judge]``. Serves chat completions and responses, streamed or not.
Run: python -m tests.e2e.scripted_models PORT
"""

import asyncio
import json
import re
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

GOOD = "Here is a good answer, as it was asked for."
LOOP = "The answer is the answer. " * 60
SUMS = (
    "She buys 4 boxes of 6 apples, which is 4 * 6 = 27 apples. She gives away 5, so 27 - 5 = 19 are left. "
    "Then 19 / 2 = 8.5 for each child. The answer is 8.5 apples."
)
JUDGES = "The grade of this task"
"""Words of the judge's request."""
USAGE = (100, 20)
"""Tokens of every request and of every answer."""

Answer = dict[str, Any]


BAD: dict[str, Answer] = {
    "empty": {"text": ""},
    "refusal": {"text": "I'm sorry, but I can't help with that."},
    "cut_off": {"text": "The three things that you should know are", "finish": "length"},
    "invalid_json": {"text": '{"city": "Paris", "people": '},
    "schema": {"text": '{"city": 7}'},
    "unknown_tool": {"tool": ("launch_rocket", "{}")},
    "tool_arguments": {"tool": ("get_weather", '{"place": 7}')},
    "format": {"text": "Well, that depends on many things, and on how one looks at them."},
    "repetition": {"text": LOOP},
    "low_probability": {"text": "Perhaps so, or perhaps it is the other way round.", "logprob": -4.0},
    "doubtful": {"text": SUMS},
}
CASES = list(BAD)


def good_answer(body: dict[str, Any], turn: str) -> Answer:
    """What a better model says; ``[echo]`` has it repeat what it was told."""
    if "[echo]" in turn:
        return {"text": turn}
    if "yes or no" in turn:
        return {"text": "Yes"}
    if body.get("tools"):
        return {"tool": ("get_weather", '{"place": "Paris"}')}
    if body.get("response_format") or (body.get("text") or {}).get("format"):
        return {"text": '{"city": "Paris"}'}
    return {"text": GOOD}


def last_turn(body: dict[str, Any]) -> str:
    """The text of the last user turn of a chat or responses body."""
    items = body.get("messages") or body.get("input") or []
    if isinstance(items, str):
        return items
    content = next((item["content"] for item in reversed(items) if item.get("role") == "user"), "")
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def scripted(body: dict[str, Any]) -> Answer:
    """The answer of the model that ``body`` names."""
    turn = last_turn(body)
    case = re.search(r"\[case (\d+)\]", turn)
    fails = body["model"] == "cheap" or (body["model"] == "middling" and "[twice]" in turn)
    return BAD[CASES[int(case[1])]] if case and fails else good_answer(body, turn)


async def hesitate(body: dict[str, Any]) -> None:
    """Take the time that the turn asks of a better model."""
    await asyncio.sleep(3 if body["model"] == "middling" and "[slow climb]" in last_turn(body) else 0)


def pieces(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


# Chat completions


def chat_message(answer: Answer) -> Answer:
    if "tool" not in answer:
        return {"role": "assistant", "content": answer["text"]}
    name, arguments = answer["tool"]
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
        "index": 0,
    }
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def finish(answer: Answer) -> str:
    return answer.get("finish") or ("tool_calls" if "tool" in answer else "stop")


def logprobs(text: str, answer: Answer) -> Answer | None:
    if "logprob" not in answer:
        return None
    more = {"logprob": answer["logprob"], "bytes": None, "top_logprobs": []}
    return {"content": [{"token": piece, **more} for piece in pieces(text)]}


async def chat(request: Request) -> Response:
    body = await request.json()
    answer, model = scripted(body), body["model"]
    await hesitate(body)
    if JUDGES in last_turn(body):
        answer = {"text": '{"grade": "HIGH"}'}
        await asyncio.sleep(4 if "[tired judge]" in last_turn(body) else 0)
    usage = {"prompt_tokens": USAGE[0], "completion_tokens": USAGE[1], "total_tokens": sum(USAGE)}
    base = {"id": "scripted", "created": 1, "model": model}
    if not body.get("stream"):
        choice = {"index": 0, "message": chat_message(answer), "finish_reason": finish(answer)}
        choice["logprobs"] = logprobs(answer.get("text", ""), answer)
        return JSONResponse(base | {"object": "chat.completion", "choices": [choice], "usage": usage})

    async def events():
        def chunk(choices, **more):
            kind = "chat.completion.chunk"
            return f"data: {json.dumps(base | {'object': kind, 'choices': choices} | more)}\n\n"

        def delta(value, text="", reason=None):
            return [{"index": 0, "delta": value, "finish_reason": reason, "logprobs": logprobs(text, answer)}]

        yield chunk(delta({"role": "assistant", "content": ""}))
        if "tool" in answer:
            yield chunk(delta({"tool_calls": chat_message(answer)["tool_calls"]}))
        for piece in pieces(answer.get("text", "")):
            if "[slowly]" in last_turn(body):
                await asyncio.sleep(0.2)
            yield chunk(delta({"content": piece}, piece))
        yield chunk([{"index": 0, "delta": {}, "finish_reason": finish(answer)}])
        if (body.get("stream_options") or {}).get("include_usage"):
            yield chunk([], usage=usage)
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


# Responses


def responses_item(answer: Answer) -> Answer:
    if "tool" in answer:
        name, arguments = answer["tool"]
        return {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": name,
            "arguments": arguments,
            "status": "completed",
        }
    part = {"type": "output_text", "text": answer["text"], "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def responses_body(body: dict[str, Any], answer: Answer) -> Answer:
    cut = answer.get("finish") == "length"
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": body["model"],
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [responses_item(answer)],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": USAGE[0],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": USAGE[1],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sum(USAGE),
        },
    }


async def responses(request: Request) -> Response:
    body = await request.json()
    answer = scripted(body)
    await hesitate(body)
    whole = responses_body(body, answer)
    if not body.get("stream"):
        return JSONResponse(whole)

    async def events():
        number = 0

        def event(kind, **more):
            nonlocal number
            number += 1
            return f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': number} | more)}\n\n"

        begun = whole | {"status": "in_progress", "output": [], "usage": None}
        item = responses_item(answer)
        at = {"output_index": 0, "item_id": item["id"]}
        yield event("response.created", response=begun)
        empty = {"arguments": ""} if "tool" in answer else {"content": []}
        yield event(
            "response.output_item.added", output_index=0, item=item | empty | {"status": "in_progress"}
        )
        if "tool" in answer:
            yield event("response.function_call_arguments.delta", delta=item["arguments"], **at)
            yield event("response.function_call_arguments.done", arguments=item["arguments"], **at)
        else:
            part = {"type": "output_text", "text": "", "annotations": []}
            yield event("response.content_part.added", content_index=0, part=part, **at)
            for piece in pieces(answer["text"]):
                yield event("response.output_text.delta", content_index=0, delta=piece, logprobs=[], **at)
            yield event("response.output_text.done", content_index=0, text=answer["text"], logprobs=[], **at)
            yield event("response.content_part.done", content_index=0, part=item["content"][0], **at)
        yield event("response.output_item.done", output_index=0, item=item)
        yield event(
            "response.incomplete" if whole["incomplete_details"] else "response.completed", response=whole
        )

    return StreamingResponse(events(), media_type="text/event-stream")


async def ready(request: Request) -> Response:
    return JSONResponse({"fake": True})


app = Starlette(
    routes=[
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/responses", responses, methods=["POST"]),
        Route("/ready", ready),
    ],
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
