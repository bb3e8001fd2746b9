"""Bodies as they travel: Content-Encoding both ways, and ClickHouse's native compressed blocks in."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import lz4.block  # type: ignore[import-untyped]
import lz4.frame  # type: ignore[import-untyped]

from farthing.ledger.errors import TooLargeError

BODY_LIMIT = 64 * 1024 * 1024
"""Largest request body, bytes, as it travels."""
UNPACKED_LIMIT = 256 * 1024 * 1024
"""Largest request body, bytes, after decompression."""

_CHECKSUM, _HEADER = 16, 9
_PIECE = 1024 * 1024


class EncodingError(Exception):
    """A body is not what its encoding says, or the encoding is not known here."""


def _zstd() -> Any:
    """Return the zstd module (standard library from 3.14, else the backport), or None without one."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            return None
    return zstd


def _members(data: bytes, make: Any, limit: int) -> bytes:
    """Decompress concatenated frames (clients write one for each block), never past ``limit``."""
    out: list[bytes] = []
    size = 0
    while data:
        frame = make()
        while True:
            piece = frame.decompress(data, limit - size + 1)
            size += len(piece)
            if size > limit:
                raise TooLargeError
            out.append(piece)
            data = b""
            if frame.eof:
                data = frame.unused_data or b""
                break
            if frame.needs_input or not piece:
                raise EncodingError("the compressed body ends too early")
    return b"".join(out)


class _Zlib:
    """zlib's decompressor with the attributes that lz4's and zstd's have."""

    def __init__(self, wbits: int) -> None:
        self._zlib = zlib.decompressobj(wbits)
        self.needs_input = False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = not self._zlib.eof and not self._zlib.unconsumed_tail and not out
        return out

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data


def unpack(data: bytes, encoding: str, limit: int = UNPACKED_LIMIT) -> bytes:
    """Undo a Content-Encoding (gzip, deflate, lz4 frame, zstd; empty or identity: none).

    Raises EncodingError if it is unknown or the data is broken, TooLargeError past ``limit`` bytes.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return data
    zstd = _zstd() if name == "zstd" else None
    makers: dict[str, Any] = {
        "gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
        "x-gzip": lambda: _Zlib(zlib.MAX_WBITS | 16),
        "deflate": lambda: _Zlib(zlib.MAX_WBITS),
        "lz4": lz4.frame.LZ4FrameDecompressor,
        **({"zstd": zstd.ZstdDecompressor} if zstd else {}),
    }
    if name not in makers:
        raise EncodingError(f"Content-Encoding {encoding!r} is not supported; use gzip, lz4 or none")
    broken = (zlib.error, RuntimeError, EOFError, ValueError, *((zstd.ZstdError,) if zstd else ()))
    try:
        return _members(data, makers[name], limit)
    except broken as error:
        raise EncodingError(f"the body is not valid {name}: {error}") from None


def unpack_blocks(data: bytes, limit: int = UNPACKED_LIMIT) -> bytes:
    """Undo ``decompress=1``: ClickHouse's native compressed blocks (LZ4, zstd or stored).

    A block is a 16-byte checksum, a method byte, the sizes packed (with this header) and unpacked,
    and the data. The checksum (an old CityHash) is not verified: LZ4 itself and TCP stand guard here.
    Raises EncodingError or TooLargeError.
    """
    out: list[bytes] = []
    at = size = 0
    while at < len(data):
        head = data[at + _CHECKSUM : at + _CHECKSUM + _HEADER]
        if len(head) < _HEADER:
            raise EncodingError("a compressed block is cut short")
        method, packed, unpacked = struct.unpack("<BII", head)
        body = data[at + _CHECKSUM + _HEADER : at + _CHECKSUM + packed]
        if packed < _HEADER or len(body) != packed - _HEADER:
            raise EncodingError("a compressed block is cut short")
        size += unpacked
        if size > limit:
            raise TooLargeError
        out.append(_block(method, body, unpacked))
        at += _CHECKSUM + packed
    return b"".join(out)


def _block(method: int, body: bytes, unpacked: int) -> bytes:
    if method == 0x02:
        plain = body
    elif method == 0x82:
        try:
            plain = lz4.block.decompress(body, uncompressed_size=unpacked)
        except lz4.block.LZ4BlockError as error:
            raise EncodingError(f"a compressed block is broken: {error}") from None
    elif method == 0x90:
        plain = unpack(body, "zstd", unpacked)
    else:
        raise EncodingError(f"compression method 0x{method:02x} is not supported; use LZ4")
    if len(plain) != unpacked:
        raise EncodingError("a compressed block is not as long as it says")
    return plain


def choose(accepted: str) -> str:
    """Return the best encoding of an answer that the Accept-Encoding header allows; empty for none."""
    offered = {
        part.partition(";")[0].strip().lower()
        for part in accepted.split(",")
        if part.replace(" ", "").lower().partition(";q=")[2] not in ("0", "0.0")
    }
    if "lz4" in offered:
        return "lz4"
    if "zstd" in offered and _zstd() is not None:
        return "zstd"
    return next((name for name in ("gzip", "deflate") if name in offered), "")


def pack(body: bytes, encoding: str) -> Iterator[bytes]:
    """Yield ``body`` in pieces, encoded as `choose` named it."""
    view = memoryview(body)
    pieces = (bytes(view[at : at + _PIECE]) for at in range(0, len(view), _PIECE))
    if not encoding:
        yield from pieces
        return
    if encoding == "lz4":
        frame = lz4.frame.LZ4FrameCompressor()
        yield frame.begin()
        for piece in pieces:
            yield frame.compress(piece)
        yield frame.flush()
        return
    if encoding == "zstd":
        compressor: Any = _zstd().ZstdCompressor(level=1)
    else:
        compressor = zlib.compressobj(1, wbits=zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
