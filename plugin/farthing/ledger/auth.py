"""Who may use the embedded ledger: its owner and its readers. Passwords are compared in constant time."""

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from farthing.settings import Reader


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user name and password that a request carries."""

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Guest:
    """Who was let in. Only the owner may write; a reader with a department sees that department alone."""

    owner: bool
    department: str | None = None


class Gate:
    """Knows the owner's user and password, and those of the readers."""

    def __init__(self, user: str, password: str, readers: Sequence[Reader] = ()) -> None:
        self._known = [(user.encode(), password.encode(), Guest(owner=True))]
        self._known += [
            (reader.user.encode(), reader.password.encode(), Guest(False, reader.department))
            for reader in readers
        ]

    def admits(self, credentials: Credentials | None) -> Guest | None:
        """Return who the credentials are of, in a time that does not tell how nearly they are right."""
        if credentials is None:
            return None
        found = None
        for known_user, known_password, guest in self._known:
            user = hmac.compare_digest(credentials.user.encode(errors="surrogateescape"), known_user)
            password = hmac.compare_digest(
                credentials.password.encode(errors="surrogateescape"), known_password
            )
            if user and password:
                found = guest
        return found


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
