"""Any request body, of any surface, as a list of turns in common words.

Accepts OpenAI chat ``messages``, Anthropic ``messages`` + ``system``, Responses ``input`` +
``instructions`` and the legacy ``prompt``. What it does not know it skips; it never raises on a shape,
and its time is bounded: by depth, by parts and by items, whatever the size of the text.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["user", "assistant", "system", "tool"]

WINDOW = 4096
"""Characters kept of each end of a long text: an ask stands before or after what it is about."""
MAX_DEPTH = 8
MAX_PARTS = 8_000
"""Content parts and tool calls read per request, about 10 ms; further ones are not looked at."""
HEAD_ITEMS, TAIL_ITEMS = 100, 1_900
"""Of a longer history only these first and last items are read."""

_ROLES: dict[str, Role] = {
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
_FIELDLESS = (str, bytes, int, float, list, tuple, type)
_TEXT_KEYS = ("text", "refusal", "thinking")
_IMAGES = {"image", "image_url", "input_image", "image_file", "video", "video_url", "input_video"}
_AUDIO = {"audio", "input_audio", "audio_url"}
_FILES = {"file", "input_file", "document"}


@dataclass(slots=True)
class Turn:
    """One item of the conversation. ``chars`` counts everything in it; ``pieces`` is its own text."""

    role: Role = "user"
    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    images: int = 0
    audio: int = 0
    documents: int = 0
    tool_calls: int = 0
    tool_results: int = 0
    tool_errors: int = 0

    @property
    def own_chars(self) -> int:
        """The length of the turn's own text, tool results left out."""
        return sum(map(len, self.pieces))

    @property
    def text(self) -> str:
        """The turn's own text: whole if short, else its head and its tail."""
        return windowed(self.pieces)


def windowed(pieces: Sequence[str]) -> str:
    """Join ``pieces`` by newlines, keeping at most WINDOW characters of each end."""
    if sum(map(len, pieces)) <= 2 * WINDOW:
        return "\n".join(pieces)
    head = "\n".join(_ends(pieces, from_end=False))
    tail = "\n".join(reversed(list(_ends(list(reversed(pieces)), from_end=True))))
    return f"{head}\n{tail}"


def _ends(pieces: Sequence[str], from_end: bool) -> Iterator[str]:
    left = WINDOW
    for piece in pieces:
        if left <= 0:
            return
        yield piece[-left:] if from_end else piece[:left]
        left -= len(piece)


def get(item: object, name: str) -> object:
    """Return a field of a mapping or of a client library's object; None if it has none."""
    if type(item) is dict or isinstance(item, Mapping):  # the first is quick
        return item.get(name)
    if item is None or isinstance(item, _FIELDLESS):
        return None
    try:
        return getattr(item, name, None)
    except Exception:  # a property of somebody else's object: no shape of theirs may fail a request
        return None


def turns_of(payload: Mapping[str, object]) -> list[Turn]:
    """Return the turns of a request body, oldest first, its system text among them."""
    reader = _Reader()
    turns = [
        reader.turn({"role": "system", "content": payload.get(name)})
        for name in ("system", "instructions")
        if payload.get(name)
    ]
    for name in ("messages", "input", "prompt"):
        value = payload.get(name)
        if isinstance(value, str) and value:
            turns.append(reader.turn(value))
        elif isinstance(value, list | tuple) and value:
            # The ask stands last: it is read first, before the parts that may be read are used up.
            turns.extend(reversed([reader.turn(item) for item in reversed(_bounded(value))]))
        elif isinstance(value, Mapping) and value:
            turns.append(reader.turn(value))
        else:
            continue
        break  # a body speaks one surface; LiteLLM's copies of it under other names are not read twice
    return turns


def _bounded(items: Sequence[object]) -> Sequence[object]:
    if len(items) <= HEAD_ITEMS + TAIL_ITEMS:
        return items
    return [*items[:HEAD_ITEMS], *items[-TAIL_ITEMS:]]


class _Reader:
    """Reads items into turns; the parts it may still look at are counted over the whole request."""

    def __init__(self) -> None:
        self._left = MAX_PARTS

    def turn(self, item: object) -> Turn:
        turn = Turn()
        kind, role = get(item, "type"), get(item, "role")
        if isinstance(role, str):
            turn.role = _ROLES.get(role.lower(), "user")
        if not isinstance(kind, str) or kind == "message" or isinstance(role, str):
            self._message(turn, item)
        elif kind.endswith("_call_output") or kind.endswith("tool_result"):
            turn.role = "tool"
            self._result(turn, get(item, "output") or get(item, "content"), item, 0)
        elif kind.endswith(("_call", "_use")):
            turn.role = "assistant"
            self._call(turn, item)
        elif kind in {"reasoning", "compaction", "item_reference", "mcp_list_tools"}:
            turn.role = "assistant"
            for name in ("summary", "content"):
                self._content(turn, get(item, name), 0)
        else:
            self._content(turn, item, 0)
        return turn

    def _message(self, turn: Turn, item: object) -> None:
        content = get(item, "content")
        if turn.role == "tool":
            self._result(turn, content, item, 0)
            return
        if isinstance(item, str | list | tuple):
            content = item
        self._content(turn, content, 0)
        self._text(turn, get(item, "refusal"))
        calls = get(item, "tool_calls")
        if isinstance(calls, list | tuple):
            calls = calls[: self._left]
            self._left -= len(calls)
            for call in calls:
                self._call(turn, get(call, "function") or call)
        if get(item, "function_call"):
            self._call(turn, get(item, "function_call"))

    def _content(self, turn: Turn, content: object, depth: int) -> None:
        if self._left <= 0 or depth > MAX_DEPTH or content is None:
            return
        self._left -= 1
        if isinstance(content, str):
            self._text(turn, content)
        elif isinstance(content, list | tuple):
            for part in content[: self._left]:
                self._content(turn, part, depth + 1)
        else:
            self._part(turn, content, depth)

    def _part(self, turn: Turn, part: object, depth: int) -> None:
        kind = get(part, "type")
        kind = kind if isinstance(kind, str) else ""
        if kind in _IMAGES:
            turn.images += 1
        elif kind in _AUDIO:
            turn.audio += 1
        elif kind in _FILES:
            self._file(turn, part, depth)
        elif kind.endswith("tool_result"):
            self._result(turn, get(part, "content"), part, depth)
        elif kind.endswith("_use"):
            self._call(turn, part)
        else:
            for name in _TEXT_KEYS:
                self._text(turn, get(part, name))
            self._content(turn, get(part, "content"), depth + 1)

    def _file(self, turn: Turn, part: object, depth: int) -> None:
        source = get(part, "source")
        kind = get(source, "type")
        if kind == "text":
            self._text(turn, get(source, "data"))
        elif kind == "content":
            self._content(turn, get(source, "content"), depth + 1)
        else:
            turn.documents += 1

    def _result(self, turn: Turn, content: object, item: object, depth: int) -> None:
        inner = Turn()
        self._content(inner, content, depth + 1)
        turn.tool_results += 1
        turn.chars += inner.chars
        turn.images += inner.images
        turn.audio += inner.audio
        turn.documents += inner.documents
        if get(item, "is_error") is True or get(item, "status") in ("failed", "incomplete"):
            turn.tool_errors += 1
        elif inner.pieces:
            start = inner.pieces[0][:200].lower()
            turn.tool_errors += "error" in start or "exception" in start or "traceback" in start

    @staticmethod
    def _call(turn: Turn, call: object) -> None:
        turn.tool_calls += 1
        arguments = get(call, "arguments") or get(call, "input")
        if isinstance(arguments, str):
            turn.chars += len(arguments)

    @staticmethod
    def _text(turn: Turn, text: object) -> None:
        if isinstance(text, str) and text:
            turn.pieces.append(text)
            turn.chars += len(text)
