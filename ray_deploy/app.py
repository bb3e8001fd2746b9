"""The Ray Serve application: an ASGI ingress in front of one engine per replica."""

import hmac
import time
from typing import Any

import httpx
from fastapi import FastAPI
from ray import serve
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ray_deploy import calls
from ray_deploy.engine import MAX_ONGOING, LlamaCpp
from ray_deploy.errors import Refused, error_response
from ray_deploy.relay import Relay
from ray_deploy.settings import Settings

api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


@api.exception_handler(Refused)
async def _refused(request: Request, error: Refused) -> Response:
    return error.response


@api.exception_handler(HTTPException)
async def _no_such_route(request: Request, error: HTTPException) -> Response:
    message = f"{request.method} {request.url.path}: {error.detail}."
    return error_response(error.status_code, message, code="not_found")


def _close_side_door() -> None:
    """Keep Serve from opening a replica's gRPC port for other deployments.

    It would listen on every address and unpickle, unasked, what anybody sends. This application has one
    deployment, so nothing calls it. Serve has no setting for it; it opens the port after our ``__init__``.
    """
    from ray.serve._private import replica

    replica.add_port_to_grpc_server = lambda server, address: 0


@serve.deployment(name="engine")
@serve.ingress(api)
class SovereignTier:
    """One replica: an engine, and the HTTP surfaces that lead to it."""

    def __init__(self, settings: Settings) -> None:
        _close_side_door()
        self._settings = settings
        self._engine = LlamaCpp(settings)
        self._relay = Relay(self._engine.endpoint)
        self._created = int(time.time())

    async def check_health(self) -> None:
        """Raise when the engine does not answer; Ray Serve then replaces this replica."""
        await self._relay.slots()

    @api.get("/health")
    async def health(self) -> Response:
        """Say that the process lives."""
        return JSONResponse({"status": "ok"})

    @api.get("/ready")
    async def ready(self) -> Response:
        """Say that the engine answers, and how many of this replica's slots are busy."""
        try:
            slots, busy = await self._relay.slots()
        except httpx.HTTPError:
            return error_response(
                503, "The engine does not answer.", kind="server_error", code="engine_unavailable"
            )
        return JSONResponse({"status": "ready", "slots": slots, "busy": busy})

    @api.get("/v1/models")
    async def models(self, request: Request) -> Response:
        """List every served name."""
        self._check_key(request)
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self._settings.names]})

    @api.get("/v1/models/{name:path}")
    async def model(self, name: str, request: Request) -> Response:
        """Show one served name."""
        self._check_key(request)
        if name not in self._settings.names:
            raise Refused(
                404, f"The model {name!r} does not exist here.", param="model", code="model_not_found"
            )
        return JSONResponse(self._model(name))

    @api.post(calls.CHAT)
    async def chat_completions(self, request: Request) -> Response:
        """OpenAI chat completions."""
        return await self._answer(calls.CHAT, request)

    @api.post(calls.COMPLETIONS)
    async def completions(self, request: Request) -> Response:
        """OpenAI text completions."""
        return await self._answer(calls.COMPLETIONS, request)

    @api.post(calls.RESPONSES)
    async def responses(self, request: Request) -> Response:
        """OpenAI responses."""
        return await self._answer(calls.RESPONSES, request)

    @api.post(calls.MESSAGES)
    async def messages(self, request: Request) -> Response:
        """Anthropic messages."""
        return await self._answer(calls.MESSAGES, request)

    async def _answer(self, surface: str, request: Request) -> Response:
        self._check_key(request)
        call = calls.read_call(
            surface,
            await request.body(),
            names=self._settings.names,
            max_output=self._settings.max_output,
            markers=self._engine.endpoint.tool_markers,
        )
        return await self._relay.answer(call)

    def _check_key(self, request: Request) -> None:
        # Anthropic's clients send x-api-key, all others a bearer token.
        sent = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix(
            "Bearer "
        )
        if self._settings.api_key and not hmac.compare_digest(sent.encode(), self._settings.api_key.encode()):
            raise Refused(401, "The API key is missing or wrong.", code="invalid_api_key")

    def _model(self, name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "sovereign-tier"}


def application(settings: Settings) -> serve.Application:
    """Return the Serve application of these settings."""
    tier: Any = SovereignTier  # its decorators have made a Deployment of it, which mypy cannot see
    deployment = tier.options(
        num_replicas=settings.replicas,
        max_ongoing_requests=MAX_ONGOING,
        graceful_shutdown_timeout_s=settings.drain_s,
        graceful_shutdown_wait_loop_s=0.2,
        # A logical CPU of the local cluster; the engine's real threads are settings.threads_per_replica.
        ray_actor_options={"num_cpus": 1},
    )
    return deployment.bind(settings)
