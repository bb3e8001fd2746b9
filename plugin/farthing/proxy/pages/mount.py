"""Puts the pages into the proxy's web application."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

PREFIX = "/farthing"
_NAMES = {"farthing", "farthing-pages"}


def mount(app: Any, pages: Starlette) -> None:
    """Serve ``pages`` under ``/farthing`` of a Starlette or FastAPI application, before its other routes.

    They come first since LiteLLM has routes that take any path. Mounting again replaces what was mounted.
    """
    routes = [route for route in app.router.routes if getattr(route, "name", "") not in _NAMES]
    app.router.routes[:] = [
        Route(PREFIX, _to_the_page, name="farthing", include_in_schema=False),
        Mount(PREFIX, app=pages, name="farthing-pages"),
        *routes,
    ]


async def _to_the_page(request: Request) -> Response:
    # Relative, so that it also holds behind a proxy that serves this one under a path of its own.
    return RedirectResponse(f"{PREFIX.removeprefix('/')}/", 307)
