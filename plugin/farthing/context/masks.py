"""The masks of the sessions of a process: made once for each bulky tool result, off the way of a request."""

from collections.abc import Sequence
from dataclasses import dataclass

from farthing.context.conversation import Entry, ToolResult
from farthing.context.fold import Owner, reference_of
from farthing.context.latest import Latest
from farthing.context.layout import Masks
from farthing.context.masking import mask

_ON_THE_WAY = 16_384
"""Characters of tool results that may be masked while a request waits (some 2 ms)."""
_KEPT = 4_000


@dataclass(frozen=True, slots=True)
class Made:
    """The masks of some entries, and by reference the originals of all that is bulky in them."""

    masks: Masks
    originals: dict[str, str]


class Masking:
    """Makes masks and remembers them. Safe to use from several threads."""

    def __init__(self, over_tokens: int) -> None:
        """Tool results longer than ``over_tokens`` are bulky."""
        self._over_tokens = over_tokens
        self._known: Latest[tuple[Owner, str], str] = Latest(_KEPT)

    def at_hand(self, owner: Owner, entries: Sequence[Entry]) -> Masks | None:
        """Return the masks of ``entries``; None if too many have to be made for a request to wait."""
        bulky = list(self._bulky(entries))
        unknown = [
            result.text
            for _, result in bulky
            if self._known.get((owner, reference_of(owner, result.text))) is None
        ]
        return self.make(owner, entries).masks if sum(map(len, unknown)) <= _ON_THE_WAY else None

    def make(self, owner: Owner, entries: Sequence[Entry]) -> Made:
        """Return the masks of ``entries``. What is pinned, or would hardly be shorter, has none."""
        masks: dict[int, dict[int, str]] = {}
        originals: dict[str, str] = {}
        for entry, result in self._bulky(entries):
            reference = reference_of(owner, result.text)
            text = self._known.get((owner, reference))
            if text is None:
                text = self._known.put((owner, reference), mask(result.text, reference) or "")
            originals[reference] = result.text
            if text:
                masks.setdefault(entry.index, {})[result.block] = text
        return Made(masks, originals)

    def _bulky(self, entries: Sequence[Entry]) -> list[tuple[Entry, ToolResult]]:
        return [
            (entry, result)
            for entry in entries
            if not entry.pinned
            for result in entry.results
            if result.tokens > self._over_tokens
        ]
