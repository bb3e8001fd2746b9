"""Fingerprints of what models and tools say: equal for what means the same, in work that is bounded.

They hold no text: a digest cannot be read back.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice

WINDOW = 4096
"""Characters of each end of a longer text that count, white space folded."""
_MOST_PARTS = 64
_MOST_VALUES = 2_000
_MOST_DEPTH = 16
_MOST_JSON = 65_536
_SAMPLES, _SAMPLE = 16, 64
_FIELDLESS = (str, bytes, int, float, list, tuple, type)

# Each starts with a digit that begins a number or a word.
_TIMES = re.compile(
    r"""[0-9](?<!\w.)(?:
        \d{3}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:\ ?(?:Z|UTC|GMT)|[+-]\d\d:?\d\d)?  # timestamp
      | \d?:\d\d:\d\d(?:[.,]\d+)?                       # clock
      | (?<=1)[5-9]\d{8}(?:\d{6}|\d{3}|\.\d+)?(?!\w)    # Unix time
      | (?<=0)x[0-9a-fA-F]{6,16}                        # address
      | \d*\.\d+\ ?(?:s|secs?|seconds?)\b               # measured, as in 0.31 s
      | \d*(?:\.\d+)?\ ?(?:[mµun]s|milliseconds?)\b
    )""",
    re.VERBOSE,
)
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_TRACED = re.compile(
    r"[RrTtCc](?<!\w.)(?:(?:equest|race|orrelation)[-_ ]?[Ii][Dd]\W{1,4}|eq_)[\w-]{6,}"  # request id: 9f31…
)
_DIGITS = re.compile(r"[0-9]+")


def field(item: object, name: str) -> object:
    """Return a field of a mapping or of a client library's object; None if it has none."""
    if type(item) is dict or isinstance(item, Mapping):  # the first is quick
        return item.get(name)
    if item is None or isinstance(item, _FIELDLESS):
        return None
    try:
        return getattr(item, name, None)
    except Exception:  # a property of somebody else's object: no shape of theirs may fail a request
        return None


def digest(parts: Iterable[str]) -> str:
    """Return 16 hex digits for a row of texts."""
    hashed = blake2b(digest_size=8)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:" % len(encoded))
        hashed.update(encoded)
    return hashed.hexdigest()


def ends(items: Sequence[object], most: int) -> Sequence[object]:
    """Return at most ``most`` items: all, or as many of each end."""
    return items if len(items) <= most else [*items[: most // 2], *items[-(most // 2) :]]


def text_of(content: object) -> str:
    """Return the text of a message's content, string or parts alike, white space folded.

    Of a long one the two ends count; of an image or a file its size and samples.
    """
    pieces = list(_pieces(content))
    if len(pieces) == 1:
        return _folded(pieces[0])
    return _folded("\n".join([_raw_ends(piece) for piece in pieces]))


def _raw_ends(text: str) -> str:
    # Twice the window: what remains of it once white space is folded.
    return text if len(text) <= 4 * WINDOW else f"{text[: 2 * WINDOW]}\n{text[-2 * WINDOW :]}"


def _folded(text: str) -> str:
    if len(text) > 4 * WINDOW:
        head = " ".join(text[: 2 * WINDOW].split())[:WINDOW]
        return f"{head}…{' '.join(text[-2 * WINDOW :].split())[-WINDOW:]}"
    text = " ".join(text.split())
    return text if len(text) <= 2 * WINDOW else f"{text[:WINDOW]}…{text[-WINDOW:]}"


def _pieces(content: object) -> Iterator[str]:
    stack, left = [content], _MOST_PARTS
    while stack and left:
        part = stack.pop()
        left -= 1
        if isinstance(part, str):
            yield part
        elif isinstance(part, list | tuple):
            stack.extend(reversed(ends(part, left)))
        elif part is not None:
            yield from _part(part, stack)


def _part(part: object, stack: list[object]) -> Iterator[str]:
    text, inner = field(part, "text"), field(part, "content")
    if isinstance(text, str):
        yield text
    elif inner is not None:
        stack.append(inner)
    elif field(part, "type") is None:
        yield canonical(part)
    else:
        yield _media(part)


def _media(part: object) -> str:
    # The same picture is one URL in one API, and bare data in another. Of another picture of the same size,
    # being compressed, nearly everything differs behind the first pixel that does.
    longest = max(_strings(part), key=len, default="")
    at = longest.find("base64,", 0, 200)
    start = at + len("base64,") if at >= 0 else 0
    stride = max(_SAMPLE, (len(longest) - start) // _SAMPLES)
    samples = [longest[i : i + _SAMPLE] for i in range(start, len(longest), stride)]
    return f"{len(longest) - start} {' '.join(samples)} {longest[-_SAMPLE:] if stride > _SAMPLE else ''}"


def _strings(value: object, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping) and depth < _MOST_DEPTH:
        for inner in islice(value.values(), _MOST_PARTS):
            yield from _strings(inner, depth + 1)


def steady(text: str) -> str:
    """Return ``text`` without what changes by itself: times, durations, addresses, ids of requests, UUIDs.

    Whole seconds, dates and all other numbers stay: "40 s left" and "page 3" tell of progress.
    """
    if not _DIGITS.search(text):
        return text
    text = _TIMES.sub("<time>", text)
    if text.count("-") >= 4:
        text = _UUID.sub("<id>", text)
    return _TRACED.sub("<id>", text)


def without_digits(text: str) -> str:
    """Return ``text`` with each run of digits masked: "7 steps left" is "6 steps left"."""
    return _DIGITS.sub("#", text)


def canonical(arguments: object) -> str:
    """Return a tool call's arguments, JSON text or values, so that equal ones are equal text.

    The order of keys, white space between values and the way a number is written do not count.
    """
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if len(arguments) <= _MOST_JSON else _folded(arguments)
        except (ValueError, RecursionError):  # free text, or JSON that is meant to hurt
            arguments = _folded(arguments)
    if arguments in (None, "", [], {}):
        return "{}"
    written: list[str] = []
    _write(arguments, written, 0)
    return "".join(written)


def _write(value: object, written: list[str], depth: int) -> None:
    if len(written) > _MOST_VALUES:
        return
    if isinstance(value, str):
        written.append(f"{len(value)}:{value if len(value) <= 2 * WINDOW else _folded(value)}")
    elif isinstance(value, float):
        written.append(repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value))
    elif value is None or isinstance(value, bool):
        written.append(repr(value))
    elif isinstance(value, int):
        written.append(repr(value) if value.bit_length() < 1024 else hex(value))
    elif depth >= _MOST_DEPTH:
        written.append("…")
    elif isinstance(value, Mapping):
        written.append("{")
        for name in sorted(name for name in islice(value, _MOST_VALUES) if isinstance(name, str)):
            written.append(f"{len(name)}:{name[:WINDOW]}=")
            _write(value[name], written, depth + 1)
        written.append("}")
    elif isinstance(value, list | tuple):
        written.append("[")
        for inner in islice(value, _MOST_VALUES):
            _write(inner, written, depth + 1)
            written.append(",")
        written.append("]")
    else:
        written.append(type(value).__name__)
