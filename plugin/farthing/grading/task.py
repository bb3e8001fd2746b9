"""The task: what is graded. The user's own last turn, in the state its conversation has reached."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from farthing.grading.lexicon import CONTINUES, CONTINUING
from farthing.grading.shapes import Turn, get, turns_of

MAX_INHERIT = 16
"""How many short continuations ("ok, continue") are looked through for the ask they continue."""
_CONTINUATION_CHARS, _CONTINUATION_WORDS = 48, 6
_MAX_TOOLS = 256
_READ_TOOLS = 8
MAX_TOOL_CHARS = 300

_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


@dataclass(frozen=True, slots=True)
class Task:
    """One task to grade. All sizes are characters; all counts cover the whole request body.

    ``ask`` is the user's own last turn; of a long one, its head and its tail. In an agent loop it is
    the ask that started the loop; for a short continuation ("yes, go on") the turn it continues.
    """

    ask: str = ""
    ask_chars: int = 0
    continued: bool = False
    """True if the last turn is a continuation and ``ask`` was inherited from an earlier one."""
    turns: int = 0
    """Turns in which the user said something."""
    loop_steps: int = 0
    """Tool results since ``ask``."""
    loop_errors: int = 0
    """Tool results since ``ask`` that report an error."""
    tool_results: int = 0
    tools: int = 0
    tool_parameters: int = 0
    """Parameters of all tools offered."""
    tool_texts: tuple[str, ...] = ()
    """Name, description and parameter names of the first tools, at most MAX_TOOL_CHARS each."""
    images: int = 0
    audio: int = 0
    documents: int = 0
    """Attached files that are not plain text."""
    structured: bool = False
    """The answer must follow a format: JSON, or a schema."""
    system_chars: int = 0
    total_chars: int = 0


def task_from(payload: Mapping[str, object]) -> Task:
    """Return the task of a request body, of any surface and any shape. Raises nothing.

    Reads ``messages``, ``input`` or ``prompt``, ``system``, ``instructions``, ``tools``, ``functions``,
    ``response_format``, ``text``, ``output_format`` and ``output_config``.
    """
    turns = turns_of(payload)
    asks = [i for i, turn in enumerate(turns) if _speaks(turn)]
    at, continued = _graded(turns, asks)
    tools, parameters, texts = _tools(payload)
    since = turns[at + 1 :] if at is not None else turns
    ask = turns[at] if at is not None else _only_system(turns)
    return Task(
        ask=ask.text,
        ask_chars=ask.own_chars,
        continued=continued,
        turns=len(asks),
        loop_steps=sum(turn.tool_results for turn in since),
        loop_errors=sum(turn.tool_errors for turn in since),
        tool_results=sum(turn.tool_results for turn in turns),
        tools=tools,
        tool_parameters=parameters,
        tool_texts=texts,
        images=sum(turn.images for turn in turns),
        audio=sum(turn.audio for turn in turns),
        documents=sum(turn.documents for turn in turns),
        structured=_structured(payload),
        system_chars=sum(turn.chars for turn in turns if turn.role == "system"),
        total_chars=sum(turn.chars for turn in turns),
    )


def _speaks(turn: Turn) -> bool:
    if turn.role != "user":
        return False
    if any(not piece.isspace() for piece in turn.pieces):
        return True
    # Anthropic carries tool results in user turns: an image in one of those is not the user's.
    return turn.tool_results == 0 and bool(turn.images or turn.audio or turn.documents)


def _graded(turns: list[Turn], asks: list[int]) -> tuple[int | None, bool]:
    if not asks:
        return None, False
    for at in reversed(asks[-MAX_INHERIT:]):
        if not _continues(turns[at]):
            return at, at != asks[-1]
    return asks[-1], False


def _continues(turn: Turn) -> bool:
    if turn.own_chars > _CONTINUATION_CHARS or turn.images or turn.audio or turn.documents:
        return False
    text = turn.text.lower().replace("’", "'")
    words = _WORDS.findall(text)
    # "How do I continue a loop in C?" asks something of its own; "can you continue?" does not.
    if len(words) <= _CONTINUATION_WORDS and any(part in text for part in CONTINUING):
        return True
    return all(word in CONTINUES for word in words)


def _only_system(turns: list[Turn]) -> Turn:
    """With no user turn at all, the instructions themselves are the ask."""
    return next((turn for turn in reversed(turns) if turn.role == "system" and turn.pieces), Turn())


def _tools(payload: Mapping[str, object]) -> tuple[int, int, tuple[str, ...]]:
    count = parameters = 0
    texts: list[str] = []
    for name in ("tools", "functions"):
        tools = payload.get(name)
        if isinstance(tools, Mapping):
            tools = [tools]  # one tool, not in a list
        if not isinstance(tools, list | tuple):
            continue
        count += len(tools)
        for tool in tools[:_MAX_TOOLS]:
            function = get(tool, "function") or tool
            schema = get(function, "parameters") or get(function, "input_schema")
            properties = get(schema, "properties")
            properties = properties if isinstance(properties, Mapping) else {}
            parameters += len(properties)
            if len(texts) < _READ_TOOLS:
                texts.append(_tool_text(function, properties))
    return count, parameters, tuple(texts)


def _tool_text(function: object, properties: Mapping[str, object]) -> str:
    said = [get(function, "name"), get(function, "description"), *islice(properties, 16)]
    return " ".join(text[:MAX_TOOL_CHARS] for text in said if isinstance(text, str))[:MAX_TOOL_CHARS]


def _structured(payload: Mapping[str, object]) -> bool:
    formats = (
        payload.get("response_format"),
        payload.get("output_format"),
        get(payload.get("text"), "format"),
        get(payload.get("output_config"), "format"),
    )
    for wanted in formats:
        kind = get(wanted, "type")
        if isinstance(wanted, type) or (isinstance(kind, str) and kind.startswith("json")):
            return True
    return False
