"""JSON texts read and held against a schema, in bounded time, whatever the text and the schema are.

A client's schema is untrusted: nothing it names is fetched, its patterns run with a time-out, and its
size and the steps of checking are limited. Past a limit the check has no opinion.
"""

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import regex  # type: ignore[import-untyped]
from jsonschema import Draft7Validator, Draft202012Validator, ValidationError  # type: ignore[import-untyped]
from jsonschema.validators import extend  # type: ignore[import-untyped]
from referencing import Registry

MAX_CHARS = 4_000_000
"""A longer text is not read."""
MAX_SCHEMA_NODES, MAX_SCHEMA_DEPTH = 5_000, 64
MAX_STEPS = 10_000
"""Keywords looked at in one check: about 30 ms."""
MAX_SECONDS = 0.05
MAX_PATTERN, PATTERN_SECONDS = 500, 0.01
"""The longest pattern that is run, in characters, and the longest it may take."""
MAX_UNIQUE = 100
"""Longer arrays are not searched for duplicates."""


class _Spent(Exception):
    """The check has used up its steps or its time."""


@dataclass(slots=True)
class _Budget:
    deadline: float
    steps: int = MAX_STEPS

    def spend(self, steps: int = 1) -> None:
        self.steps -= steps
        if self.steps < 0 or perf_counter() > self.deadline:
            raise _Spent


_budget: ContextVar[_Budget] = ContextVar("budget")


def read_json(text: str) -> tuple[Literal["json", "not_json", "unknown"], Any]:
    """Return what ``text`` is, and its value if it is JSON. NaN and infinities are not JSON.

    JSON nested too deeply to be read (about a thousand levels) counts as not JSON: no common client
    reads it either. ``unknown``: longer than MAX_CHARS, or with a number beyond reading.
    """
    if len(text) > MAX_CHARS:
        return "unknown", None
    try:
        return "json", json.loads(text, parse_constant=_no_constant)
    except (json.JSONDecodeError, RecursionError, _Constant):
        return "not_json", None
    except ValueError:  # an integer of more digits than Python converts
        return "unknown", None


def mismatch(value: object, schema: object) -> str:
    """Return the schema keyword that ``value`` breaks; empty if it breaks none that could be checked.

    Draft 2020-12, or draft 7 where ``$schema`` says so; ``format`` is not checked. A schema that is too
    large, broken, or refers to something outside itself gives no opinion.
    """
    if not isinstance(schema, dict | bool):
        return ""
    named = schema.get("$schema") if isinstance(schema, dict) else None
    kind = _Draft7 if isinstance(named, str) and "draft-0" in named else _Draft202012
    token = _budget.set(_Budget(perf_counter() + MAX_SECONDS))
    try:
        checker = kind(_Copier().copy(schema), registry=Registry())
        error = next(iter(checker.iter_errors(value)), None)
    except Exception:  # a broken schema, an unresolvable reference, deep nesting, a limit reached
        return ""
    finally:
        _budget.reset(token)
    return "" if error is None else str(error.validator or "false schema")


class _Constant(ValueError):
    pass


def _no_constant(name: str) -> object:
    raise _Constant(name)


class _Copier:
    """Copies a schema within limits, without ``$schema``: a part that names a draft of its own would be
    checked by the library's own, unbounded class."""

    def __init__(self) -> None:
        self._left = MAX_SCHEMA_NODES

    def copy(self, item: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > MAX_SCHEMA_DEPTH:
            raise _Spent
        if isinstance(item, dict):
            return {
                str(name): self.copy(value, depth + 1)
                for name, value in item.items()
                if not (name == "$schema" and isinstance(value, str))
            }
        if isinstance(item, list | tuple):
            return [self.copy(value, depth + 1) for value in item]
        return item


_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


def _counted(keyword: _Keyword) -> _Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _budget.get().spend(1 + (len(value) if isinstance(value, dict | list) else 0))
        yield from keyword(validator, value, instance, schema) or ()

    return check


def _found(pattern: object, text: str) -> bool:
    """Search as JSON Schema does; a pattern that cannot be run or takes too long ends the check."""
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
        raise _Spent
    return regex.search(pattern, text[:10_000], timeout=PATTERN_SECONDS) is not None


def _pattern(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _found(value, instance):
        yield ValidationError("does not match the pattern")


def _pattern_properties(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, subschema in value.items():
            for name, item in instance.items():
                _budget.get().spend()
                if _found(pattern, name):
                    yield from validator.descend(item, subschema, path=name, schema_path=pattern)


def _additional(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, item in instance.items():
        _budget.get().spend()
        if name in known or any(_found(pattern, name) for pattern in patterns):
            continue
        if value is False:
            yield ValidationError("has a property that is not allowed")
        elif isinstance(value, dict):
            yield from validator.descend(item, value, path=name)


def _unique(keyword: _Keyword) -> _Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, list) and len(instance) <= MAX_UNIQUE:
            yield from keyword(validator, value, instance, schema) or ()

    return check


def _no_opinion(validator: Any, value: Any, instance: Any, schema: Any) -> None:
    """Stands for keywords that walk the schema by Python's own, unbounded patterns."""


def _bounded(base: Any) -> Any:
    keywords = dict(base.VALIDATORS) | {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional,
        "unevaluatedProperties": _no_opinion,
        "unevaluatedItems": _no_opinion,
        "uniqueItems": _unique(base.VALIDATORS["uniqueItems"]),
    }
    return extend(base, {name: _counted(keyword) for name, keyword in keywords.items()})


_Draft7, _Draft202012 = _bounded(Draft7Validator), _bounded(Draft202012Validator)
