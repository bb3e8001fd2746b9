"""What the endpoints refuse, as the JSON that a client reads: ``{"error": {"message", "type"}}``."""

from starlette.responses import JSONResponse

_TYPES = {
    400: "invalid_request_error",
    401: "auth_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    503: "store_error",
}


class PageError(Exception):
    """A request that was refused: ``status`` is HTTP's, ``message`` tells the reader why and what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class SignInError(PageError):
    """The request carries no key, or one that the gateway does not know."""

    def __init__(self, message: str) -> None:
        super().__init__(401, message)


def error_response(status: int, message: str) -> JSONResponse:
    """Return the JSON of an error; a status without a type of its own is an ``api_error``."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error": {"message": message, "type": kind}}, status, headers)
