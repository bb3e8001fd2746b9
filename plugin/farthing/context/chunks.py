"""A text cut into chunks on its natural boundaries: code and tables whole, JSON by records, prose by its
paragraphs.

Sizes are in UTF-8 bytes, of which a token has about four. Every chunk stands in the text just as it is. The
time taken is linear in the text's length, whatever the text.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

GOOD = 400
"""Up to this size neighbouring pieces become one chunk: small enough to be worth its tokens when quoted."""
LEAST = 120
"""A piece below this (a heading, "For example:") joins what follows it, up to `MOST`."""
MOST = 800
"""A paragraph up to this size is one chunk."""
CEILING = 3_200
"""Code and tables up to this size are one chunk."""
RECORD = 1_600
"""A JSON record up to this size is one chunk."""
_DEPTHS = 8

_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n\s*")
_LINE = re.compile(r"\n+")
_SENTENCE = re.compile(r"(?<=[.!?…])[\"')\]]{0,3}[ \t\n]+|(?<=[。！？])")
_JSON = re.compile(r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)|[\[\]{},]', re.DOTALL)

Span = tuple[int, int]
Boundary = Callable[[str, int, int], Iterable[int]]
"""Says where a piece of a text may be cut."""


def chunks(text: str) -> list[str]:
    """Return the chunks of ``text``, in order; none is blank."""
    if text.lstrip()[:1] in ("{", "["):
        spans = _split(text, 0, len(text), [*_records(text), *_PROSE[1:]], [RECORD])
    else:
        spans = _blocks(text) if _size(text) > GOOD else [(0, len(text))]
    found = (text[start:end].strip("\r\n").rstrip() for start, end in spans)
    return [chunk if "\n" in chunk else chunk.lstrip() for chunk in found if chunk]


def _at(pattern: re.Pattern[str]) -> Boundary:
    return lambda text, start, end: (found.end() for found in pattern.finditer(text, start, end))


_PROSE: tuple[Boundary, ...] = (_at(_PARAGRAPH), _at(_LINE), _at(_SENTENCE))


def _records(text: str) -> list[Boundary]:
    """The commas of what looks like JSON, by how deep they stand; it may as well be broken or cut off."""
    commas: list[list[int]] = [[] for _ in range(_DEPTHS)]
    depth = 0
    for found in _JSON.finditer(text):
        sign = found[0]
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        elif sign == "," and 0 < depth <= _DEPTHS:
            commas[depth - 1].append(found.end())
    return [_among(places) for places in commas if places]


def _among(places: Sequence[int]) -> Boundary:
    return lambda _, start, end: places[bisect_right(places, start) : bisect_right(places, end)]


def _blocks(text: str) -> list[Span]:
    """Fenced code and tables, each on its own; the prose between them."""
    spans: list[Span] = []
    start = at = 0
    inside = ""  # what the piece from ``start`` on is: a fence's mark, "|" for a table, "" for prose

    def close(end: int) -> None:
        if inside:
            spans.extend(_split(text, start, end, _PROSE[:2], [CEILING, CEILING]))
        else:
            spans.extend(_split(text, start, end, _PROSE, [GOOD]))

    for line in text.splitlines(keepends=True):
        end = at + len(line)
        fence = _FENCE.match(line)
        if inside and inside != "|":
            if fence and fence[1].startswith(inside) and not line[fence.end() :].strip():
                close(end)
                start, inside = end, ""
        else:
            now = fence[1] if fence else "|" if line.lstrip(" ").startswith("|") else ""
            if now != inside:
                close(at)
                start, inside = at, now
        at = end
    close(at)
    return list(_joined(text, spans))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _split(
    text: str, start: int, end: int, boundaries: Sequence[Boundary], limits: Sequence[int]
) -> list[Span]:
    """Cut by the first boundary what is longer than the first limit, its pieces by the next ones (the last
    limit then `MOST`), and join neighbouring pieces that are small."""
    limit = limits[0] if limits else MOST
    if _size(text[start:end]) <= limit:
        return [(start, end)] if start < end else []
    if not boundaries:
        return list(_hard(text, start, end))
    spans: list[Span] = []
    for first, last in _pieces(start, end, boundaries[0](text, start, end)):
        spans += _split(text, first, last, boundaries[1:], limits[1:])
    return list(_joined(text, spans))


def _pieces(start: int, end: int, cuts: Iterable[int]) -> Iterator[Span]:
    for cut in cuts:
        if start < cut < end:
            yield start, cut
            start = cut
    yield start, end


def _joined(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """Neighbouring pieces as one, as long as that is small; what is wanted whole stays whole."""
    begin = stop = size = 0
    for start, end in spans:
        more = _size(text[start:end])
        if size and size + more <= (MOST if size < LEAST else GOOD):
            stop, size = end, size + more
            continue
        if size:
            yield begin, stop
        begin, stop, size = start, end, more
    if size:
        yield begin, stop


def _hard(text: str, start: int, end: int) -> Iterator[Span]:
    """What has no boundary worth the name: at blanks, else where the size is reached."""
    while start < end:
        stop = min(end, start + MOST)
        while _size(text[start:stop]) > MOST:
            stop = start + (stop - start) // 2
        blank = text.rfind(" ", start + (stop - start) // 2, stop) if stop < end else -1
        stop = blank + 1 if blank >= 0 else stop
        yield start, stop
        start = stop
