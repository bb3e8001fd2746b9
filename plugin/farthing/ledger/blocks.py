"""Answers in ClickHouse's native compressed blocks (``compress=1``), which Go clients ask for.

The layout of a block stands at `encoding.unpack_blocks`, which reads them. Clients verify the checksum of
what they read, so it has to be right: it is CityHash128 as of its version 1.0.2, which ClickHouse froze.
"""

import struct
from collections.abc import Iterator

import lz4.block  # type: ignore[import-untyped]

_PIECE = 1024 * 1024
_LZ4, _HEADER = 0x82, 9

_MASK = (1 << 64) - 1
_K0, _K1, _K2, _K3 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F, 0xC949D7C7509E6557
_MULTIPLIER = 0x9DDFEA08EB382D69


def pack_blocks(body: bytes) -> Iterator[bytes]:
    """Yield ``body`` as compressed blocks of at most 1 MiB unpacked; nothing for an empty body."""
    for at in range(0, len(body), _PIECE):
        piece = body[at : at + _PIECE]
        packed = lz4.block.compress(piece, store_size=False)
        block = struct.pack("<BII", _LZ4, _HEADER + len(packed), len(piece)) + packed
        yield struct.pack("<QQ", *city_hash_128(block)) + block


def city_hash_128(data: bytes) -> tuple[int, int]:
    """Return the low and the high half of CityHash128 1.0.2 (by Pike and Alakuijala, Google) of ``data``."""
    size = len(data)
    if size >= 16:
        low, high = struct.unpack_from("<QQ", data)
        return _seeded(data[16:], low ^ _K3, high)
    if size >= 8:
        return _seeded(b"", _word(data, 0) ^ size * _K0 & _MASK, _word(data, size - 8) ^ _K1)
    return _seeded(data, _K0, _K1)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _turn(value: int, by: int) -> int:
    value &= _MASK
    return (value >> by | value << 64 - by) & _MASK if by else value


def _mix(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _pair(low: int, high: int) -> int:
    """Fold 128 bits into 64."""
    low, high = low & _MASK, high & _MASK
    a = _mix((low ^ high) * _MULTIPLIER)
    return _mix((high ^ a) * _MULTIPLIER) * _MULTIPLIER & _MASK


def _weak(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """Stir 32 bytes into two seeds."""
    w, x, y, z = struct.unpack_from("<QQQQ", data, at)
    a += w
    b = _turn(a + b + z, 21)
    c = a
    a += x + y
    b += _turn(a, 44)
    return a + z & _MASK, b + c & _MASK


def _short(data: bytes) -> int:
    """Hash up to 16 bytes into 64 bits."""
    size = len(data)
    if size > 8:
        a, b = _word(data, 0), _word(data, size - 8)
        return _pair(a, _turn(b + size, size)) ^ b
    if size >= 4:
        first, last = (int.from_bytes(part, "little") for part in (data[:4], data[-4:]))
        return _pair(size + (first << 3), last)
    if size:
        y = data[0] + (data[size >> 1] << 8)
        z = size + (data[-1] << 2)
        return _mix(y * _K2 ^ z * _K3) * _K2 & _MASK
    return _K2


def _murmur(data: bytes, low: int, high: int) -> tuple[int, int]:
    """Hash fewer than 128 bytes."""
    size = len(data)
    a, b = low, high
    if size <= 16:
        a = _mix(a * _K1) * _K1 & _MASK
        c = b * _K1 + _short(data) & _MASK
        d = _mix(a + (_word(data, 0) if size >= 8 else c))
    else:
        c = _pair(_word(data, size - 8) + _K1, a)
        d = _pair(b + size, c + _word(data, size - 16))
        a = a + d & _MASK
        # The last stretch, of 1 to 16 bytes, has been taken in above.
        for at in range(0, size - 16, 16):
            a = (a ^ _mix(_word(data, at) * _K1) * _K1) * _K1 & _MASK
            b ^= a
            c = (c ^ _mix(_word(data, at + 8) * _K1) * _K1) * _K1 & _MASK
            d ^= c
    a, b = _pair(a, c), _pair(d, b)
    return a ^ b, _pair(b, a)


def _seeded(data: bytes, low: int, high: int) -> tuple[int, int]:
    size = len(data)
    if size < 128:
        return _murmur(data, low, high)
    x, y, z = low, high, size * _K1 & _MASK
    v0 = _turn(y ^ _K1, 49) * _K1 + _word(data, 0) & _MASK
    v1 = _turn(v0, 42) * _K1 + _word(data, 8) & _MASK
    w0 = _turn(y + z, 35) * _K1 + x & _MASK
    w1 = _turn(x + _word(data, 88), 53) * _K1 & _MASK
    whole = size // 128 * 128
    for at in range(0, whole, 64):
        x = _turn(x + y + v0 + _word(data, at + 16), 37) * _K1 & _MASK ^ w1
        y = _turn(y + v1 + _word(data, at + 48), 42) * _K1 & _MASK ^ v0
        z = _turn(z ^ w0, 33)
        v0, v1 = _weak(data, at, v1 * _K1, x + w0)
        w0, w1 = _weak(data, at + 32, z + w1, y)
        z, x = x, z
    y = y + _turn(w0, 37) * _K0 + z & _MASK
    x = x + _turn(v0 + z, 49) * _K0 & _MASK
    for behind in range(32, size - whole + 32, 32):
        at = size - behind
        y = _turn(y - x, 42) * _K0 + v1 & _MASK
        w0 = w0 + _word(data, at + 16) & _MASK
        x = _turn(x, 49) * _K0 + w0 & _MASK
        w0 = w0 + v0 & _MASK
        v0, v1 = _weak(data, at, v0, v1)
    x, y = _pair(x, v0), _pair(y, w0)
    return _pair(x + v1, w1) + y & _MASK, _pair(x + w1, y + v1)
