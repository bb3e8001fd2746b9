"""How what is remembered lies on disk: names as keyed hashes, texts sealed with ``context.key``."""

import base64
import hmac
import re
import secrets
from collections.abc import Callable
from hashlib import blake2b, scrypt
from typing import Any

MIN_KEY_CHARS = 16
_NONCE_BYTES = 12
_DIGEST_BYTES = 16
_MADE = re.compile(r"[A-Za-z0-9_-]{43}=?")
_SALT = b"farthing context key"
"""The same everywhere: all processes must come to the same key, and a second file must be readable by it."""


def new_key() -> str:
    """Return a new key for ``context.key``: 32 random bytes as URL-safe base64."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode("ascii")


def check_key(key: str) -> str:
    """Return ``key`` if it will do as ``context.key``; empty will do: nothing is sealed then.

    Raises ValueError that says why it will not, without naming it.
    """
    if key and len(key.strip()) < MIN_KEY_CHARS:
        raise ValueError(
            f"must have at least {MIN_KEY_CHARS} characters; `farthing context key` makes a good one"
        )
    return key


def sealer_of(key: str) -> "Sealer":
    """Return what names and seals rows under ``key``; under an empty one it only guards against damage.

    A key of `new_key` is used as it is; any other text is stretched (scrypt, RFC 7914: about 50 ms once).
    Raises ValueError for one too short, and ModuleNotFoundError where ``cryptography`` is not installed.
    """
    key = check_key(key).strip()
    if not key:
        return Sealer()
    if _MADE.fullmatch(key):
        secret = base64.urlsafe_b64decode(f"{key[:43]}=")
    else:
        secret = scrypt(key.encode("utf-8", "surrogatepass"), salt=_SALT, n=2**14, r=8, p=1, dklen=32)
    return KeyedSealer(secret)


class Sealer:
    """Without a key: texts lie open, and a row that was damaged, or moved to another place, does not open.

    Names are hashes here too, but of what anybody may guess.
    """

    key_id = b""
    """Tells which key a row was written with, and nothing about it."""

    def __init__(self, naming: bytes = b"") -> None:
        self._naming = naming

    def name(self, kind: str, *parts: str | bytes) -> bytes:
        """Return the name (32 bytes) of what ``kind`` and ``parts`` say: HMAC-SHA256 under the key."""
        told = bytearray()
        for part in (kind, *parts):
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            told += len(data).to_bytes(8, "big") + data
        return hmac.digest(self._naming, told, "sha256")

    def seal(self, owner: bytes, row: bytes, content: bytes) -> bytes:
        """Return ``content`` as it is written, for the row named ``row`` of ``owner`` alone."""
        return self._digest(owner, row, content) + content

    def unseal(self, owner: bytes, row: object, sealed: object) -> bytes | None:
        """Return what was sealed for this very row, None for anything else that was found."""
        if not (isinstance(row, bytes) and isinstance(sealed, bytes)):
            return None
        content = sealed[_DIGEST_BYTES:]
        return content if sealed[:_DIGEST_BYTES] == self._digest(owner, row, content) else None

    def _digest(self, owner: bytes, row: bytes, content: bytes) -> bytes:
        made = blake2b(owner + row, digest_size=_DIGEST_BYTES)
        made.update(content)
        return made.digest()


class KeyedSealer(Sealer):
    """With a key: AES-256-GCM. Names tell users and texts to nobody who does not have the key.

    Each owner has a key of its own, derived from the secret. So a row does not open for another owner, and
    random nonces, good for some 2³² texts under one key (NIST SP 800-38D, 8.3), last for ever.
    """

    def __init__(self, secret: bytes) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher: Callable[[bytes], Any] = AESGCM
        self._refused = InvalidTag
        super().__init__(_derived(secret, b"names"))
        self._sealing = _derived(secret, b"texts")
        self.key_id = _derived(secret, b"key id")[:8]

    def seal(self, owner: bytes, row: bytes, content: bytes) -> bytes:
        """See `Sealer.seal`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed: bytes = self._of(owner).encrypt(nonce, content, owner + row)
        return nonce + sealed

    def unseal(self, owner: bytes, row: object, sealed: object) -> bytes | None:
        """See `Sealer.unseal`."""
        if not (isinstance(row, bytes) and isinstance(sealed, bytes)) or len(sealed) <= _NONCE_BYTES:
            return None
        try:
            content: bytes = self._of(owner).decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], owner + row
            )
        except self._refused:
            return None
        return content

    def _of(self, owner: bytes) -> Any:
        return self._cipher(_derived(self._sealing, owner))


def _derived(secret: bytes, purpose: bytes) -> bytes:
    """Return a key for one purpose: HKDF-Expand (RFC 5869) of one block."""
    return hmac.digest(secret, b"farthing " + purpose + b"\x01", "sha256")
