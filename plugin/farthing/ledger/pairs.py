"""Attributes as the engine stores them: name and value as text, each with its length in front.

An attribute is looked up by the bytes it came in; only what was not seen before is taken apart.
"""

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from farthing.ledger.rows import as_text

Pair = tuple[bytes, bytes]

_TEXT, _INTEGER, _NAME, _VALUE = 0x0A, 0x18, 0x0A, 0x12
_LONGEST_KEPT = 256
_VALUES_OF_A_NAME = 4096
_KEPT = 131_072
_SHORT = [bytes((number,)) for number in range(0x80)]


class PairsByBytes(dict[bytes, Pair]):
    """Serialised KeyValue → (name, value). Looking up an attribute that is none raises ValueError.

    It stays below about 40 MB: long values are not kept, nor further values of a name that already has
    thousands (ids, amounts), which will hardly come again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[bytes, int] = {}

    def __missing__(self, raw: bytes) -> Pair:
        pair = _short_pair(raw) or _pair(raw)
        if len(raw) <= _LONGEST_KEPT:
            values = self._values.get(pair[0], 0)
            if values < _VALUES_OF_A_NAME:
                if len(self) >= _KEPT:
                    self.clear()
                    self._values.clear()
                self._values[pair[0]] = values + 1
                self[raw] = pair
        return pair


def text(value: str) -> bytes:
    """Return a text as the engine reads it: its length in bytes (LEB128), then its UTF-8."""
    raw = value.encode()
    size = len(raw)
    return (_SHORT[size] if size < 0x80 else length(size)) + raw


def length(number: int) -> bytes:
    """Return a whole number as LEB128."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _pair(raw: bytes) -> Pair:
    try:
        item = KeyValue.FromString(raw)
    except DecodeError as error:
        raise ValueError(f"an attribute cannot be read: {error}") from None
    return text(item.key), text(as_text(item.value))


def _short_pair(raw: bytes) -> Pair | None:
    """Read a short text or a small whole number under a short name, as nearly all are; None for others.

    Protobuf puts the same length in front of a text as the engine does, so both parts are cut out whole.
    """
    try:
        name_end = raw[1] + 2
        size = raw[name_end + 1]
        # Each length fills one byte, and the parts lie in the usual order and fill the whole.
        if (
            raw[0] != _NAME
            or raw[name_end] != _VALUE
            or name_end > 0x81
            or size > 0x7F
            or name_end + size + 2 != len(raw)
        ):
            return None
        kind = raw[name_end + 2]
        if kind == _TEXT and raw[name_end + 3] == size - 2:
            # What stands between name and value is ASCII, so both are UTF-8 if the whole is.
            if not raw.isascii():
                raw.decode()
            return raw[1:name_end], raw[name_end + 3 :]
        if kind == _INTEGER and size <= 6:
            raw[:name_end].decode()
            digits = b"%d" % _varint(raw[name_end + 3 :])
            return raw[1:name_end], _SHORT[len(digits)] + digits
    except (IndexError, UnicodeDecodeError, OverflowError):
        return None
    return None


def _varint(raw: bytes) -> int:
    number = shift = 0
    for byte in raw[:-1]:
        if byte < 0x80:
            raise OverflowError
        number |= (byte & 0x7F) << shift
        shift += 7
    if raw[-1] > 0x7F:
        raise OverflowError
    return number | raw[-1] << shift
