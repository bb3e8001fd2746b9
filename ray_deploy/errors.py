"""Errors as OpenAI error objects, which the Anthropic client can read too."""

import json

from starlette.responses import Response


def error_body(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str
) -> bytes:
    """Return an error object.

    The outer ``type`` is what Anthropic's clients look for; OpenAI's ignore it.
    """
    error = {"message": message, "type": kind, "param": param, "code": code}
    return json.dumps({"type": "error", "error": error}).encode()


def error_response(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    param: str | None = None,
    code: str,
) -> Response:
    """Return ``error_body`` as an HTTP answer."""
    body = error_body(message, kind=kind, param=param, code=code)
    return Response(body, status, media_type="application/json")


class Refused(Exception):
    """The request cannot be served; ``response`` says why to the client."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str) -> None:
        super().__init__(message)
        self.response = error_response(status, message, param=param, code=code)
