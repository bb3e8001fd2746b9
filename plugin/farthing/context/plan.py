"""What one request is sent as: planned on its way, noted once it was answered."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from farthing.context.conversation import Conversation
from farthing.context.fold import Fold, Owner
from farthing.context.layout import Atom, Layout, Masks
from farthing.cost import ModelPrice
from farthing.telemetry.charge import ContextUse


@dataclass(frozen=True, slots=True)
class Served:
    """The model about to be called. ``name`` keeps what was sent to it apart from what others were sent.

    ``window``: input tokens it can take, None: unknown. ``marks_cache``: it caches only what a request marks
    (Anthropic).
    """

    name: str
    price: ModelPrice
    window: int | None
    marks_cache: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """What a model was sent last in a session. ``cold``: in how many requests in a row its cache knew nothing
    of what it could have known. ``at_ms``: UTC; ``gap_ms``: since the request before, 0 for the first."""

    at_ms: int
    atoms: tuple[Atom, ...]
    cold: int = 0
    gap_ms: int = 0
    fold: str = ""
    """The key of the fold that it went out as; empty: the full history."""

    def text(self) -> str:
        """Return it as text, for the session's memory."""
        return json.dumps([self.at_ms, self.cold, self.gap_ms, self.fold, self.atoms], separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str | None) -> "Sent | None":
        """Return what a text says, None for no or another text."""
        try:
            at_ms, cold, gap_ms, fold, atoms = json.loads(text or "null")
            return cls(
                int(at_ms), tuple((str(a), int(b)) for a, b in atoms), int(cold), int(gap_ms), str(fold)
            )
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a request goes out. ``payload`` is what is sent, ``original`` what the client sent;
    ``layout`` and ``whole`` are the pieces of the one and the other."""

    owner: Owner
    branch: str
    """How the conversation begins: a session may hold several, side by side."""
    served: Served
    conversation: Conversation
    original: Mapping[str, Any]
    payload: Mapping[str, Any]
    fold: Fold | None
    masks: Masks
    layout: Layout
    whole: Layout
    use: ContextUse
    reason: str
    last: Sent | None
    now_ms: int
    epoch: int
    """The memory's, as it was read (see `memory.Session`)."""

    @property
    def sent_as(self) -> str:
        """The name of what this model was sent in this conversation."""
        return f"{self.served.name} {self.branch}"

    @property
    def shortened(self) -> bool:
        """True if less goes out than the client sent."""
        return self.payload is not self.original and self.fold is not None
