"""The key ring: LiteLLM's custom auth without a database. Keys live, hashed, in farthing.yaml.

LiteLLM enforces what this returns (the models a key may call) only with
``custom_auth_run_common_checks`` and ``enable_post_custom_auth_checks`` set, as `farthing init` writes.
"""

import hmac
import re
from typing import Any

from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth
from litellm.proxy.auth.auth_utils import get_request_route

from farthing.proxy.accounts import MARK, hash_key
from farthing.settings import Key, Settings

_OPEN_ROUTES = re.compile(
    r"^(/v1)?"
    r"(/chat/completions|/completions|/embeddings|/responses(/.*)?|/messages(/count_tokens)?"
    r"|/models(/.*)?|/model/info|/model_group/info)$"
)
"""The routes a key may use: those whose calls Farthing meters, and those that list models.
LiteLLM's pass-through routes reach a provider without the hooks that meter, so they stay shut."""


class KeyRing:
    """Authenticates keys against farthing.yaml."""

    def __init__(self, settings: Settings) -> None:
        self._keys: dict[str, Key] = {key.sha256: key for key in settings.keys}

    async def authenticate(self, request: Any, api_key: str | None) -> UserAPIKeyAuth:
        """Return the key's identity and rights. Raises ProxyException: 401 unknown key, 403 closed route."""
        secret = (api_key or "").removeprefix("Bearer ").strip()
        digest = hash_key(secret)
        key = self._keys.get(digest)
        if key is None:
            if _is_master(secret):
                return UserAPIKeyAuth(
                    api_key=digest,
                    user_role=LitellmUserRoles.PROXY_ADMIN,
                    parent_otel_span=_span_of(request),
                )
            raise ProxyException(
                message="This key is not on Farthing's key ring (keys in farthing.yaml). "
                "Send a known one as `Authorization: Bearer <key>`.",
                type="auth_error",
                param="api_key",
                code=401,
            )
        path = get_request_route(request)
        if not _OPEN_ROUTES.match(path):
            raise ProxyException(
                message=f"{path} is not open to keys: Farthing meters chat completions, responses, messages, "
                "completions and embeddings.",
                type="permission_error",
                param=None,
                code=403,
            )
        return UserAPIKeyAuth(
            api_key=digest,
            key_alias=f"{key.user}@{key.department}",
            user_id=key.user,
            team_id=key.department,
            team_alias=key.department,
            models=[] if "*" in key.models else key.models,
            metadata={MARK: digest, "cost_centre": key.cost_centre},
            parent_otel_span=_span_of(request),
        )


def _span_of(request: Any) -> Any:
    """Return LiteLLM's own span of a request, if it traces: of keys it checks itself it notes that alone."""
    return getattr(getattr(request, "state", None), "parent_otel_span", None)


def _is_master(secret: str) -> bool:
    from litellm.proxy.proxy_server import master_key

    return bool(master_key) and hmac.compare_digest(secret.encode(), str(master_key).encode())
