"""The end of a conversation, of any of the three surfaces, as steps: what a model did and what it got back.

Read backwards and only as far as somebody looks; any shape is accepted.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

from farthing.credits.loops.fingerprint import canonical, digest, ends, field, steady, text_of, without_digits

MOST_ITEMS = 2_000
"""Items of a history that are looked at, from its end."""
_MOST_OF_A_TURN = 128

Side = Literal["model", "given"]
_SIDES: dict[str, Side | None] = {"assistant": "model", "model": "model", "system": None, "developer": None}
_ARGUMENTS = ("arguments", "input", "action", "operation", "code", "queries")
_SILENT = ("_use", "_result", "_call", "_output", "_response", "thinking", "reasoning")


def items_of(payload: Mapping[str, object]) -> Sequence[object]:
    """Return the items of a request body's conversation, oldest first; a bare text is a user's turn."""
    for name in ("messages", "input", "prompt"):
        value = payload.get(name)
        if isinstance(value, str) and value:
            return [{"role": "user", "content": value}]
        if isinstance(value, list | tuple) and value:
            return value
    return ()


def side_of(item: object) -> Side | None:
    """Return whose an item is: the model's, or given to it; None for instructions and what is neither."""
    role = field(item, "role")
    if isinstance(role, str):
        return _SIDES.get(role.lower(), "given")
    if isinstance(item, str):
        return "given"
    kind = _kind(item)
    if kind.endswith(("_output", "_result", "_response")) or kind.startswith("input_"):
        return "given"
    return "model" if kind.endswith(("_call", "_use", "_request")) or kind == "reasoning" else None


def model_turns(payload: Mapping[str, object]) -> int:
    """Return how often the model has answered in this history; what it says and calls at once is one turn."""
    count, before = 0, None
    for item in items_of(payload)[-MOST_ITEMS:]:
        side = side_of(item)
        count += side == "model" != before
        before = side or before
    return count


class _Call(NamedTuple):
    id: object
    name: str
    key: str
    """The fingerprint of name and arguments."""


class Step:
    """One turn of the model and what it was given then: results, a person's words, or both.

    A call that begins a conversation, or continues a stored one, has a step without the model's turn.
    """

    def __init__(self, model: list[object], given: list[object]) -> None:
        self._model, self._given = model, given

    @property
    def answered(self) -> bool:
        """Whether the model's turn is there."""
        return bool(self._model)

    @property
    def complete(self) -> bool:
        """Whether anything was given after the model's turn."""
        return bool(self._given)

    @cached_property
    def _calls(self) -> list[_Call]:
        return [call for item in self._model for call in _calls_of(item)]

    @property
    def tools(self) -> list[str]:
        """The names of the tools that were called, each once."""
        return sorted({call.name for call in self._calls})

    @cached_property
    def did(self) -> frozenset[str]:
        """The fingerprints of the tool calls, equal ones once; without any, that of the answer's text."""
        if self._calls:
            return frozenset(call.key for call in self._calls)
        return frozenset({digest(["", *(steady(text_of(_spoken(item))) for item in self._model)])})

    @property
    def result_ids(self) -> list[str]:
        """The ids of the calls that there are results of."""
        return sorted(_result_id(result)[:200] for item in self._given for result in _results_of(item))

    @cached_property
    def _results(self) -> list[tuple[str, str]]:
        ids = {call.id: call.key for call in self._calls if isinstance(call.id, str)}
        names = {call.name: call.key for call in self._calls}
        found = []
        for result in (result for item in [*self._model, *self._given] for result in _results_of(item)):
            name = field(result, "name")
            key = ids.get(_result_id(result)) or (names.get(name, "") if isinstance(name, str) else "")
            content = field(result, "output")
            text = steady(text_of(field(result, "content") if content is None else content))
            found.append((key, f"failed {text}" if field(result, "is_error") is True else text))
        return found

    @cached_property
    def results(self) -> frozenset[tuple[str, str]]:
        """What the calls brought, as fingerprints of each call and its result. Times do not count."""
        return frozenset((key, digest((text,))) for key, text in self._results)

    @property
    def told(self) -> int:
        """The characters of the longest result; 0 without results."""
        return max((len(text) for _, text in self._results), default=0)

    @cached_property
    def said(self) -> str:
        """The fingerprint of a person's words; beside results their numbers do not count ("7 steps left")."""
        spoken = [text for item in self._given if (text := steady(text_of(_spoken(item))))]
        if not spoken:
            return ""
        return digest(map(without_digits, spoken) if self.result_ids else spoken)


def steps_of(payload: Mapping[str, object]) -> Iterator[Step]:
    """Yield the steps of a request's history, the newest first."""
    model: list[object] = []
    given: list[object] = []
    for item in reversed(items_of(payload)[-MOST_ITEMS:]):
        side = side_of(item)
        if side == "given" and model:
            yield Step(model, given)
            model, given = [], []
        turn = model if side == "model" else given
        if side and len(turn) < _MOST_OF_A_TURN:
            turn.append(item)
    if model or given:
        yield Step(model, given)


_RESULT_IDS = ("call_id", "tool_call_id", "tool_use_id")


def _result_id(result: object) -> str:
    return next((value for name in _RESULT_IDS if isinstance(value := field(result, name), str)), "")


def _kind(part: object) -> str:
    kind = field(part, "type")
    return kind if isinstance(kind, str) else ""


def _parts(item: object) -> Sequence[object]:
    content = field(item, "content")
    return ends(content, _MOST_OF_A_TURN) if isinstance(content, list | tuple) else ()


def _calls_of(item: object) -> Iterator[_Call]:
    if _kind(item).endswith(("_call", "_use")):
        identity = field(item, "call_id")
        yield _call(field(item, "id") if identity is None else identity, item)
    calls = field(item, "tool_calls")
    for call in ends(calls, _MOST_OF_A_TURN) if isinstance(calls, list | tuple) else ():
        yield _call(field(call, "id"), field(call, "function") or field(call, "custom") or call)
    legacy = field(item, "function_call")
    if legacy is not None:
        yield _call(None, legacy)
    for part in _parts(item):
        if _kind(part).endswith("_use"):
            yield _call(field(part, "id"), part)


def _call(identity: object, call: object) -> _Call:
    name = field(call, "name") or field(call, "type")
    name = name if isinstance(name, str) else ""
    arguments = next((value for key in _ARGUMENTS if (value := field(call, key)) is not None), None)
    return _Call(identity, name, digest((name[:1000], canonical(arguments))))


def _results_of(item: object) -> Iterator[object]:
    kind, role = _kind(item), field(item, "role")
    if role in ("tool", "function") or kind.endswith(("_output", "_result")):
        yield item
    elif kind.endswith("_call"):
        if field(item, "output") is not None:  # a tool that the provider ran
            yield item
    else:
        yield from (part for part in _parts(item) if _kind(part).endswith("_result"))


def _spoken(item: object) -> object:
    if isinstance(item, str):
        return item
    if field(item, "role") in ("tool", "function") or _kind(item).endswith(_SILENT):
        return None
    content = field(item, "content")
    if isinstance(content, list | tuple):
        return [part for part in ends(content, _MOST_OF_A_TURN) if not _kind(part).endswith(_SILENT)]
    return item if content is None and _kind(item) else content
