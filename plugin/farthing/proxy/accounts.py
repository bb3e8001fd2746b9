"""Who pays: the account of an authenticated key, whichever way the proxy authenticated it."""

import hashlib
from collections.abc import Mapping
from typing import Any

from farthing.settings import Key, Settings
from farthing.telemetry import GATEWAY, Account

MARK = "farthing_key"
"""Metadata entry by which the key ring marks the keys it vouches for."""


def hash_key(key: str) -> str:
    """Return the SHA-256 of a key in hex. Keys are long and random, so no salt is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


def account_of(auth: Any, settings: Settings) -> Account:
    """Return the account behind LiteLLM's authenticated key (``UserAPIKeyAuth``, or None inside the proxy).

    A key of the key ring carries its hash in its metadata. One of LiteLLM's own virtual keys maps its
    ``user_id`` and ``team_alias`` (else ``team_id``) to user and department, and ``cost_centre`` in its
    or its team's metadata to the cost centre. Nothing that a request carries is read.
    """
    if auth is None:
        return GATEWAY
    key = ring_key(auth, settings)
    if key is not None:
        return Account(key.sha256, key.user, key.department, key.cost_centre)
    metadata: Mapping[str, Any] = getattr(auth, "metadata", None) or {}
    user = getattr(auth, "user_id", None)
    token = getattr(auth, "token", None) or getattr(auth, "api_key", None) or ""
    if not user or _is_admin(auth):
        return GATEWAY
    team_metadata: Mapping[str, Any] = getattr(auth, "team_metadata", None) or {}
    department = getattr(auth, "team_alias", None) or getattr(auth, "team_id", None) or "unassigned"
    cost_centre = metadata.get("cost_centre") or team_metadata.get("cost_centre") or ""
    return Account(str(token), str(user), str(department), str(cost_centre))


def ring_key(auth: Any, settings: Settings) -> Key | None:
    """Return the key ring's entry of an authenticated key, or None.

    The mark alone proves nothing, since whoever makes virtual keys writes their metadata: it must be the
    hash of the very key that was authenticated.
    """
    marked = (getattr(auth, "metadata", None) or {}).get(MARK)
    if not marked or marked not in (getattr(auth, "api_key", None), getattr(auth, "token", None)):
        return None
    return next((key for key in settings.keys if key.sha256 == marked), None)


def _is_admin(auth: Any) -> bool:
    role = getattr(auth, "user_role", None)
    return getattr(role, "value", role) == "proxy_admin"
