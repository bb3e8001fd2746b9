"""How the items of each surface are read, a module each. What a module does not know it does not guess."""

from collections.abc import Callable, Mapping
from typing import Any

from farthing.context.items import Count, Item, Surface
from farthing.context.surfaces import chat, messages, responses

ITEMS: dict[Surface, str] = {"chat": "messages", "responses": "input", "messages": "messages"}
"""Where a request body of each surface holds its history."""

READ: dict[Surface, Callable[[Mapping[str, Any], Count], Item]] = {
    "chat": chat.read,
    "responses": responses.read,
    "messages": messages.read,
}
"""What reads an item of each surface. Raises `NotUnderstoodError`."""
