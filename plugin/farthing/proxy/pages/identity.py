"""Who looks at the pages: the account behind a key, as LiteLLM authenticates it."""

import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from farthing.credits import Payer
from farthing.proxy.accounts import account_of, ring_key
from farthing.proxy.pages.errors import PageError, SignInError
from farthing.settings import Settings

log = logging.getLogger("farthing")

_UNKNOWN = "This key is not known here, or is no longer valid. Use the key you call models with."
_READS_MODELS = "/v1/models"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who has signed in. ``name`` signs an admin's acts in the journal; empty: the payer's user."""

    payer: Payer
    admin: bool = False
    name: str = ""

    @property
    def actor(self) -> str:
        """The name that the journal keeps."""
        return self.name or self.payer.account.user


Identify = Callable[[Request], Awaitable[Visitor]]
"""Tells who sent a request. Raises SignInError."""


def litellm_identity(settings: Settings) -> Identify:
    """Return what asks LiteLLM whose key it is: Farthing's key ring, virtual keys, or another custom auth.

    Admins are the master key, keys of the ring with ``admin: true``, and LiteLLM's role PROXY_ADMIN.
    """

    async def identify(request: Request) -> Visitor:
        secret = _secret(request)
        auth = await _authenticate(request, secret)
        payer = Payer(account_of(auth, settings))
        if _is_master(secret):
            return Visitor(payer, admin=True, name="master key")
        key = ring_key(auth, settings)
        if key is not None:
            return Visitor(payer, admin=key.admin)
        role = getattr(auth.user_role, "value", auth.user_role)
        admin = role == "proxy_admin"
        return Visitor(payer, admin=admin, name=str(auth.user_id or "LiteLLM admin") if admin else "")

    return identify


def _secret(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise SignInError("Send your key as `Authorization: Bearer <key>`.")
    return secret.strip()


async def _authenticate(request: Request, secret: str) -> Any:
    from litellm.proxy.auth.user_api_key_auth import user_api_key_auth

    header = f"Bearer {secret}"
    try:
        return await user_api_key_auth(request=_as_model_list(request, header), api_key=header)
    except Exception as error:
        status = str(getattr(error, "code", None) or getattr(error, "status_code", ""))
        if status in {"400", "401", "403"}:
            raise SignInError(_UNKNOWN) from None
        # LiteLLM's own text may quote the key.
        log.warning("farthing: LiteLLM could not check a key for the balance page: %s", type(error).__name__)
        raise PageError(503, "Keys cannot be checked just now. Try again later.") from None


def _as_model_list(request: Request, authorization: str) -> Request:
    """Return the request as one that lists models, which every key may do.

    LiteLLM lets a user's key call no routes but those that it knows.
    """
    from litellm.proxy.proxy_server import general_settings

    carrier = str(general_settings.get("litellm_key_header_name") or "authorization").lower()
    scope = request.scope
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if name not in {b"authorization", b"content-type", b"content-length", carrier.encode()}
    ]
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": _READS_MODELS,
            "raw_path": _READS_MODELS.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [*kept, (carrier.encode(), authorization.encode("latin-1", "replace"))],
            "scheme": scope.get("scheme", "http"),
            "http_version": scope.get("http_version", "1.1"),
            "server": scope.get("server"),
            "client": scope.get("client"),
            "state": {},
        },
        _no_body,
    )


async def _no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def _is_master(secret: str) -> bool:
    from litellm.proxy.proxy_server import master_key

    return bool(master_key) and hmac.compare_digest(secret.encode(), str(master_key).encode())
