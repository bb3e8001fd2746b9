"""A fast fake of an OpenAI-compatible endpoint, for measuring what stands before it. Labelled: a fake.

It answers at once with a fixed text and usage, streamed or not, so that a difference in latency is the
proxy's. Run: python -m bench.fake_endpoint PORT
"""

import json
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

USAGE = {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28}
WORDS = ["A ", "fixed ", "answer ", "of ", "a ", "fake ", "endpoint", "."]


def _chunk(model: str, choices: list[dict[str, object]], **more: object) -> str:
    body = {"id": "fake", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices}
    return f"data: {json.dumps(body | more)}\n\n"


async def chat(request: Request) -> Response:
    body = await request.json()
    model = body["model"]
    if not body.get("stream"):
        message = {"role": "assistant", "content": "".join(WORDS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse(
            {
                "id": "fake",
                "object": "chat.completion",
                "created": 1,
                "model": model,
                "choices": [choice],
                "usage": USAGE,
            }
        )

    async def events():
        for word in WORDS:
            yield _chunk(model, [{"index": 0, "delta": {"content": word}, "finish_reason": None}])
        yield _chunk(model, [{"index": 0, "delta": {}, "finish_reason": "stop"}])
        if (body.get("stream_options") or {}).get("include_usage"):
            yield _chunk(model, [], usage=USAGE)
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def ready(request: Request) -> Response:
    return JSONResponse({"fake": True})


app = Starlette(
    routes=[Route("/v1/chat/completions", chat, methods=["POST"]), Route("/ready", ready)],
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
