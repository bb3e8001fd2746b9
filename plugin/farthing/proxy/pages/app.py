"""The pages as one web application: routes, errors, and the headers that keep a browser strict."""

import logging
import time
from collections.abc import Callable, Hashable
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import anyio
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from farthing.credits import CreditStore, StoreError
from farthing.credits.calendar import Calendar
from farthing.proxy.pages.acts import Acts
from farthing.proxy.pages.errors import PageError, error_response
from farthing.proxy.pages.feed import Feeds, Read
from farthing.proxy.pages.figures import Figures
from farthing.proxy.pages.identity import Identify, Visitor
from farthing.settings import Settings

log = logging.getLogger("farthing")

_STATIC = Path(__file__).parent / "static"
_HEARTBEAT_S = 15
_SEND_TIMEOUT_S = 30.0
_GRACE_S = 2.0
_BODY_LIMIT = 16 * 1024

_HEADERS = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def application(
    settings: Settings,
    store: CreditStore,
    calendar: Calendar,
    identify: Identify,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """Return the pages over an open store. ``identify`` tells who asks; ``clock`` gives Unix seconds."""
    pages = _Pages(settings, store, calendar, identify, clock)
    return Starlette(
        routes=[
            Route("/", _page),
            Route("/static/dygraph.js", _chart_library),
            Mount("/static", StaticFiles(directory=_STATIC)),
            Route("/balance", pages.balance),
            Route("/balance/stream", pages.balance_stream),
            Route("/admin/overview", pages.overview),
            Route("/admin/stream", pages.overview_stream),
            Route("/admin/grants", pages.grant, methods=["POST"]),
            Route("/admin/sessions/{id}", pages.session, methods=["POST"]),
        ],
        exception_handlers={
            PageError: _refused,
            StoreError: _store_down,
            HTTPException: _http_error,
            Exception: _broken,
        },
        middleware=[Middleware(_StrictHeaders)],
    )


class _Pages:
    def __init__(
        self,
        settings: Settings,
        store: CreditStore,
        calendar: Calendar,
        identify: Identify,
        clock: Callable[[], float],
    ) -> None:
        self._identify, self._clock = identify, clock
        self._figures = Figures(settings, store, calendar)
        self._acts = Acts(settings, store, calendar, self._figures, clock)
        self._feeds = Feeds()

    async def balance(self, request: Request) -> Response:
        visitor = await self._visitor(request)
        return JSONResponse(await self._figures.balance(visitor, self._now_ms()))

    async def balance_stream(self, request: Request) -> Response:
        visitor = await self._visitor(request)

        async def read() -> dict[str, Any]:
            return await self._figures.balance(visitor, self._now_ms())

        return self._stream(visitor, "balance", read)

    async def overview(self, request: Request) -> Response:
        await self._admin(request)
        return JSONResponse(await self._figures.overview(self._now_ms()))

    async def overview_stream(self, request: Request) -> Response:
        await self._admin(request)

        async def read() -> dict[str, Any]:
            return await self._figures.overview(self._now_ms())

        return self._stream("overview", "overview", read)

    async def grant(self, request: Request) -> Response:
        admin = await self._admin(request)
        return JSONResponse(await self._acts.grant(await _body(request), admin.actor))

    async def session(self, request: Request) -> Response:
        admin = await self._admin(request)
        return JSONResponse(
            await self._acts.session(request.path_params["id"], await _body(request), admin.actor)
        )

    def _stream(self, shared: Hashable, event: str, read: Read) -> Response:
        # Set when the server is asked to stop: it waits for its open answers.
        stop = anyio.Event()
        return EventSourceResponse(
            self._feeds.follow(shared, event, read, stop),
            ping=_HEARTBEAT_S,
            sep="\n",
            send_timeout=_SEND_TIMEOUT_S,
            shutdown_event=stop,
            shutdown_grace_period=_GRACE_S,
        )

    async def _visitor(self, request: Request) -> Visitor:
        # A browser names the site that asks. LiteLLM answers all sites, these pages only their own.
        if request.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            raise PageError(403, "Another site may not read or change balances.")
        return await self._identify(request)

    async def _admin(self, request: Request) -> Visitor:
        visitor = await self._visitor(request)
        if not visitor.admin:
            raise PageError(403, "Only an admin may do this: ask for `admin: true` on your key.")
        return visitor

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


async def _page(_: Request) -> Response:
    return FileResponse(_STATIC / "index.html")


async def _chart_library(request: Request) -> Response:
    folder = _dygraphs()
    if folder is None:
        return error_response(404, "The chart needs a library: pip install 'farthing[page]'.")
    return await StaticFiles(directory=folder).get_response("dygraph-combined.js", request.scope)


@cache
def _dygraphs() -> Path | None:
    """Return the folder of dygraphs' script, found without importing the package: that may bring pandas."""
    try:
        listed = files("dygraphs") or []
    except PackageNotFoundError:
        return None
    return next(
        (Path(str(file.locate())).parent for file in listed if file.name == "dygraph-combined.js"), None
    )


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > _BODY_LIMIT:
            raise PageError(413, f"The request is larger than {_BODY_LIMIT >> 10} KiB.")
        parts.append(part)
    return b"".join(parts)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, PageError)
    return error_response(error.status, error.message)


async def _store_down(_: Request, error: Exception) -> Response:
    log.warning("farthing: the balance page cannot read the credit store: %s", error)
    return error_response(503, "The balances cannot be read just now. Try again later.")


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return error_response(error.status_code, f"{error.detail}.")


async def _broken(_: Request, error: Exception) -> Response:
    return error_response(500, "This could not be done. The gateway's log says why.")


class _StrictHeaders:
    """Adds the headers to every answer; what is no file of the page is not kept by anybody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                kept = "etag" in headers  # a file of the page: asked for again, and sent if it has changed
                headers["cache-control"] = "no-cache" if kept else "no-store"
            await send(message)

        await self._app(scope, receive, strict)
