"""A fake cloud for the chaos run: labelled as one. Usage differs from call to call, and some calls go wrong.

Of its three models ``cheap`` sometimes gives no answer, so that calls climb, and every one sometimes fails.
Streams take their time, so that a kill finds some of them midway. Run: python -m bench.chaos.cloud PORT
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

_FAILS, _EMPTY = 0.02, 0.1
_WORDS = ("An", "answer", "of", "a", "cloud", "that", "is", "not", "one,", "made", "up", "for", "kills")


async def _chat(request: Request) -> Response:
    body = await request.json()
    model = body["model"]
    await asyncio.sleep(random.uniform(0, 0.05))
    if random.random() < _FAILS:
        return JSONResponse({"error": {"message": "fake failure", "type": "server_error"}}, 500)
    empty = model == "cheap" and random.random() < _EMPTY
    words = [] if empty else random.choices(_WORDS, k=random.randint(3, 40))
    prompt, completion = random.randint(5, 4000), len(words)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": random.randint(0, prompt)},
    }
    base = {"id": "fake", "created": 1, "model": model}
    if not body.get("stream"):
        message = {"role": "assistant", "content": " ".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse(base | {"object": "chat.completion", "choices": [choice], "usage": usage})

    async def events() -> AsyncIterator[str]:
        def chunk(choices: list[dict[str, Any]], **more: Any) -> str:
            piece = base | {"object": "chat.completion.chunk", "choices": choices} | more
            return f"data: {json.dumps(piece)}\n\n"

        for word in words:
            await asyncio.sleep(random.uniform(0, 0.02))
            yield chunk([{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}])
        yield chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        yield chunk([], usage=usage)
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def _ready(_: Request) -> Response:
    return JSONResponse({"fake": True})


app = Starlette(routes=[Route("/v1/chat/completions", _chat, methods=["POST"]), Route("/ready", _ready)])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
