"""Rows out of a SQLite file that SQLite itself can no longer read, page by page.

Reads the file format (sqlite.org/fileformat2.html) of every page in the file and in its write-ahead log
that looks like a leaf of a table; indexes, interior pages, the header and the schema are not needed. What
it yields may be old or deleted versions of rows: the caller must be able to tell a row that is whole.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"SQLite format 3\0"
_WAL_MAGIC = (0x377F0682, 0x377F0683)
_LEAF = 0x0D
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_LONGEST_CHAIN = 65_536

Value = None | int | float | bytes
"""A column's value; text is bytes too."""


@dataclass(frozen=True, slots=True)
class _Frame:
    page: int
    commit: bool
    data: bytes


def rows(path: Path) -> Iterator[list[Value]]:
    """Yield the columns of every row that can be decoded in the file at ``path`` and its log, newest last.

    Unreadable bytes yield nothing and raise nothing, but for OSError.
    """
    file = path.read_bytes() if path.exists() else b""
    log = Path(f"{path}-wal")
    frames = list(_frames(log.read_bytes())) if log.exists() else []
    size = _page_size(file, frames)
    newest = {frame.page: frame.data for frame in frames}

    def page(number: int) -> bytes:
        return newest.get(number) or file[(number - 1) * size : number * size]

    for number in range(1, len(file) // size + 2):
        yield from _leaf(file[(number - 1) * size : number * size], 100 if number == 1 else 0, size, page)
    for frame in frames:
        yield from _leaf(frame.data, 100 if frame.page == 1 else 0, size, page)


def log_is_broken(path: Path) -> bool:
    """Return whether the log beside ``path`` holds committed pages at or behind a damaged one.

    SQLite stops reading at the first page whose checksum fails, and says nothing: right for the torn end
    that a power cut leaves, but a flipped bit further up would take everything behind it along.
    """
    log = Path(f"{path}-wal")
    data = log.read_bytes() if log.exists() else b""
    if len(data) < 32:
        return False
    magic, _, size = struct.unpack_from(">III", data)
    if magic not in _WAL_MAGIC or not 512 <= size <= 65_536 or size % 8:
        return any(frame.commit for frame in _frames(data))
    order = ">" if magic & 1 else "<"
    salts, step, at = data[16:24], 24 + size, 32
    sums = _checksum(data[:24], (0, 0), order)
    intact = sums == struct.unpack_from(">II", data, 24)
    while intact and at + step <= len(data) and data[at + 8 : at + 16] == salts:
        sums = _checksum(data[at + 24 : at + step], _checksum(data[at : at + 8], sums, order), order)
        intact = sums == struct.unpack_from(">II", data, at + 16)
        at += step if intact else 0
    # Pages of an older log, which a newer one has not written over yet, have other salts.
    return any(
        data[behind + 8 : behind + 16] == salts and data[behind + 4 : behind + 8] != bytes(4)
        for behind in range(at, len(data) - step + 1, step)
    )


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, two in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second


def _frames(log: bytes) -> Iterator[_Frame]:
    if len(log) < 32:
        return
    (size,) = struct.unpack_from(">I", log, 8)
    if not 512 <= size <= 65_536 or size & (size - 1):
        size = 4096
    for at in range(32, len(log) - size - 23, 24 + size):
        number, commit = struct.unpack_from(">II", log, at)
        if 0 < number < 2**31:
            yield _Frame(number, commit > 0, log[at + 24 : at + 24 + size])


def _page_size(file: bytes, frames: list[_Frame]) -> int:
    if frames:
        return len(frames[0].data)
    if file.startswith(MAGIC):
        found = struct.unpack_from(">H", file, 16)[0]
        found = 65_536 if found == 1 else found
        if found >= 512 and not found & (found - 1):
            return int(found)
    return 4096


def _leaf(page: bytes, header: int, usable: int, get: Callable[[int], bytes]) -> Iterator[list[Value]]:
    if len(page) < header + 8 or page[header] != _LEAF:
        return
    (cells,) = struct.unpack_from(">H", page, header + 3)
    for index in range(min(cells, (len(page) - header - 8) // 2)):
        try:
            (at,) = struct.unpack_from(">H", page, header + 8 + 2 * index)
            yield _record(_payload(page, at, usable, get))
        except (struct.error, IndexError, ValueError):
            continue


def _payload(page: bytes, at: int, usable: int, get: Callable[[int], bytes]) -> bytes:
    length, at = _varint(page, at)
    _, at = _varint(page, at)
    most = usable - 35
    if length <= most:
        return _exactly(page[at : at + length], length)
    least = (usable - 12) * 32 // 255 - 23
    here = least + (length - least) % (usable - 4)
    here = here if here <= most else least
    parts = [_exactly(page[at : at + here], here)]
    (follows,) = struct.unpack_from(">I", page, at + here)
    left = length - here
    for _ in range(_LONGEST_CHAIN):
        if left <= 0:
            break
        data = get(follows)
        (follows,) = struct.unpack_from(">I", data)
        parts.append(_exactly(data[4 : 4 + left], min(left, usable - 4)))
        left -= len(parts[-1])
    return _exactly(b"".join(parts), length)


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ValueError("cut short")
    return data


def _record(data: bytes) -> list[Value]:
    length, at = _varint(data, 0)
    kinds: list[int] = []
    while at < length:
        kind, at = _varint(data, at)
        kinds.append(kind)
    found: list[Value] = []
    for kind in kinds:
        value, at = _value(kind, data, at)
        found.append(value)
    return found


def _value(kind: int, data: bytes, at: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    if kind == 7:
        return struct.unpack(">d", _exactly(data[at : at + 8], 8))[0], at + 8
    if kind >= 12:
        width = (kind - 12) // 2
        return _exactly(data[at : at + width], width), at + width
    width = _INTEGERS[kind] if kind in _INTEGERS else _reserved()
    return int.from_bytes(_exactly(data[at : at + width], width), "big", signed=True), at + width


def _reserved() -> int:
    raise ValueError("no such kind of value")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for step in range(8):
        byte = data[at + step]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + step + 1
    return value << 8 | data[at + 8], at + 9
