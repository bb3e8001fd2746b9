"""Who may use the embedded ledger: one user and password, compared in constant time."""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user name and password that a request carries."""

    user: str
    password: str


class Gate:
    """Knows the one user and password that are let in."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user.encode(), password.encode()

    def admits(self, credentials: Credentials | None) -> bool:
        """Return whether the credentials are right, in a time that does not tell how nearly they are."""
        if credentials is None:
            return False
        user = hmac.compare_digest(credentials.user.encode(errors="surrogateescape"), self._user)
        password = hmac.compare_digest(credentials.password.encode(errors="surrogateescape"), self._password)
        return user and password


def basic(headers: Mapping[str, str]) -> Credentials | None:
    """Return the credentials of an HTTP Basic Authorization header, or None."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError:  # not base64, or not UTF-8 in it
        return None
    return Credentials(user, password) if colon else None


def clickhouse(headers: Mapping[str, str], params: Mapping[str, str]) -> Credentials | None:
    """Return the credentials of a ClickHouse request: Basic, X-ClickHouse-User/-Key, or user/password."""
    if "authorization" in headers:
        return basic(headers)
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return Credentials(headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", ""))
    if "user" in params or "password" in params:
        return Credentials(params.get("user", "default"), params.get("password", ""))
    return None
