"""Tokens of texts, and digests of items, that are known again: a turn more costs no more than itself."""

import json
import marshal
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from pydantic import BaseModel

from farthing.context.items import TEXT_TYPES
from farthing.context.latest import Latest
from farthing.cost import count_text
from farthing.cost.request_text import TEMPLATE_TOKENS, RequestText, read_request

MARKS = ("cache_control", "farthing_pin")
"""What clients move about from turn to turn, and what does not change what an item says."""
_SAMPLE = 1024
_BYTES_PER_TOKEN = 4


class Counter:
    """Counts the tokens of one request's texts, as far as they are not known.

    ``exact`` turns False when a text had to be estimated.
    """

    def __init__(self, known: Latest[bytes, int], most_chars: int | None) -> None:
        """``most_chars``: how much new text is counted, None: all of it."""
        self._known, self._left = known, most_chars
        self.exact = True

    def __call__(self, text: str) -> int:
        """Return the tokens of a text."""
        if not text:
            return 0
        key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        tokens = self._known.get(key)
        if tokens is not None:
            return tokens
        if self._left is not None:
            if len(text) > self._left:
                self.exact = False
                return _estimated(text)
            self._left -= len(text)
        tokens = count_text(text)
        self._known.put(key, tokens)
        return tokens

    def of_item(self, item: Mapping[str, Any]) -> int:
        """Return the tokens of an item without marks, as `farthing.cost.input_estimate` counts them."""
        return self._of(read_request({"messages": (item,)}))

    def of_rest(self, payload: Mapping[str, Any], history: str) -> int:
        """Return the tokens of a request body without its ``history``: instructions, tools, formats.

        LiteLLM's copies of a history under other surfaces' names do not count either.
        """
        copies = {history, "messages", "input", "prompt"}
        return self._of(read_request({name: value for name, value in payload.items() if name not in copies}))

    def _of(self, read: RequestText) -> int:
        return read.overhead - TEMPLATE_TOKENS + sum(map(self, read.pieces))


def _estimated(text: str) -> int:
    sample = text[:_SAMPLE]
    size = len(sample.encode("utf-8", "surrogatepass"))
    return len(text) * size // (len(sample) * _BYTES_PER_TOKEN) + 1


def plain(item: object) -> tuple[Mapping[str, Any], bytes]:
    """Return an item as it would be in JSON, and bytes that no other item has.

    The bytes are of this very form of it: they are quick, and good for nothing but to know it again.
    Raises TypeError, ValueError or RecursionError for what is no JSON object.
    """
    if isinstance(item, dict):
        try:
            return item, marshal.dumps(item, 2)
        except ValueError:  # a client library's object in it, or it is nested without end
            pass
    text = json.dumps(item, default=_dumped)
    read = json.loads(text)
    if not isinstance(read, dict):
        raise TypeError("an item that is no object")
    return read, text.encode()


def _dumped(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    raise TypeError("a value that has no form in JSON")


def canonical(item: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the JSON text that is the same for items that say the same, and the item without marks.

    Marks do not count, nor does the order of keys; one part of plain text is the same as the text.
    """
    text = _sorted_json(item)
    # A quote within a text is escaped: what is found here is a key (or a text that is just this word).
    if any(f'"{mark}"' in text for mark in MARKS):
        item = without(item, MARKS)
        text = _sorted_json(item)
    return text, item


def _sorted_json(item: Mapping[str, Any]) -> str:
    content = item.get("content")
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        part = content[0]
        if part.keys() == {"type", "text"} and isinstance(part["type"], str) and part["type"] in TEXT_TYPES:
            item = {**item, "content": part["text"]}
    return json.dumps(item, sort_keys=True)


def without(value: Any, names: tuple[str, ...]) -> Any:
    """Return a value without some keys, at any depth; the very same object if there are none."""
    if isinstance(value, dict):
        kept = {name: without(inner, names) for name, inner in value.items() if name not in names}
        same = len(kept) == len(value) and all(kept[name] is inner for name, inner in value.items())
        return value if same else kept
    if isinstance(value, list | tuple):
        inners = [without(inner, names) for inner in value]
        return value if all(new is old for new, old in zip(inners, value, strict=True)) else inners
    return value
