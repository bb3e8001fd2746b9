"""Passing a call on to the engine, and its answer back."""

import json
from collections.abc import AsyncIterator

import httpx
from starlette.responses import Response, StreamingResponse

from ray_deploy.calls import Call
from ray_deploy.engine import Endpoint
from ray_deploy.errors import error_response


class Renamer:
    """Replaces the engine's alias by the name that the client asked for, in a body or a stream of it.

    It looks for the alias as a whole JSON string. Answers cannot contain it: the alias is random and
    unknown to the model, and a quote inside a JSON string is escaped. Bytes are held back only up to
    the end of their line, so an event of a stream leaves when it is complete.
    """

    def __init__(self, alias: str, model: str) -> None:
        self._alias = json.dumps(alias).encode()
        self._model = json.dumps(model).encode()
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return the whole lines there are so far."""
        lines, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
        return (lines + newline).replace(self._alias, self._model)

    def end(self) -> bytes:
        """Return what is left after the last line."""
        rest, self._rest = self._rest, b""
        return rest.replace(self._alias, self._model)


class Relay:
    """Calls one engine over HTTP. Dropping an answer closes the connection, which frees the engine's slot."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        # No kept connections: the engine closes idle ones when it likes, and a call sent into a closing
        # one would be lost. No read timeout: a long prompt in a full engine may wait for minutes.
        self._client = httpx.AsyncClient(
            base_url=endpoint.url,
            headers={"authorization": f"Bearer {endpoint.key}", "accept-encoding": "identity"},
            timeout=httpx.Timeout(None, connect=5),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
        )

    async def slots(self) -> tuple[int, int]:
        """Return the engine's slots: all, and busy ones.

        Its compute loop answers this, so an answer means that it turns. Raises httpx.HTTPError.
        """
        answer = (await self._client.get("/slots", timeout=20)).raise_for_status().json()
        return len(answer), sum(1 for slot in answer if slot["is_processing"])

    async def answer(self, call: Call) -> Response:
        """Return the engine's answer to a call, status and stream included; 503 when it cannot be reached.

        Serve cancels this when the client leaves, which closes the connection. llama.cpp notices that at
        the next token of a stream; without a stream only after a second in which no answer of any slot
        ends or moves on, so there the output cap bounds what is computed for nobody.
        """
        request = self._client.build_request(
            "POST", call.surface, content=call.body, headers={"content-type": "application/json"}
        )
        try:
            upstream = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            message = f"The engine cannot be reached ({type(error).__name__})."
            return error_response(503, message, kind="server_error", code="engine_unavailable")
        media_type = upstream.headers.get("content-type", "application/json")
        renamer = Renamer(self._endpoint.alias, call.model)
        if media_type.startswith("text/event-stream"):
            return StreamingResponse(
                _stream(upstream, renamer),
                upstream.status_code,
                {"cache-control": "no-cache"},
                media_type=media_type,
            )
        try:
            body = renamer.feed(await upstream.aread()) + renamer.end()
        finally:
            await upstream.aclose()
        return Response(body, upstream.status_code, media_type=media_type)


async def _stream(upstream: httpx.Response, renamer: Renamer) -> AsyncIterator[bytes]:
    try:
        async for chunk in upstream.aiter_raw():
            if ready := renamer.feed(chunk):
                yield ready
        if rest := renamer.end():
            yield rest
    finally:
        await upstream.aclose()
