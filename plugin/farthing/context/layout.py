"""What a request's input is made of, piece by piece, and what of it a provider's cache knows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from farthing.context.block import render
from farthing.context.conversation import Conversation
from farthing.context.fold import Fold
from farthing.context.latest import Latest
from farthing.cost import count_text

_COUNTED: Latest[str, int] = Latest(4_096)

Atom = tuple[str, int]
"""A piece of the input: what it is (equal for equal pieces in equal places), and its tokens."""
Masks = Mapping[int, Mapping[int, str]]
"""By entry, by ``ToolResult.block``, the text that stands in for a tool result."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The pieces of one way to send a history, from the first."""

    atoms: tuple[Atom, ...]

    @property
    def tokens(self) -> int:
        """All input tokens."""
        return sum(tokens for _, tokens in self.atoms)

    def same(self, sent: Iterable[Atom]) -> int:
        """Return the tokens at the beginning that ``sent`` began with, too: a warm cache knows them."""
        tokens = 0
        for ours, theirs in zip(self.atoms, sent, strict=False):
            if ours[0] != theirs[0]:
                break
            tokens += ours[1]
        return tokens


def whole_of(conversation: Conversation) -> Layout:
    """Return the layout of a history that goes out as it is."""
    lead = (f"lead {conversation.lead_tokens}", conversation.lead_tokens)
    return Layout((lead, *((entry.prefix.hex()[:16], entry.tokens) for entry in conversation.entries)))


def shortened(
    whole: Layout,
    conversation: Conversation,
    fold: Fold,
    masks: Masks,
    snippets: Mapping[int, str],
) -> Layout:
    """Return the layout of a history that goes out as ``fold`` says; ``whole`` is that of all of it.

    ``snippets``: by entry, what is put before its words.
    """
    atoms = [whole.atoms[0]]
    if fold.segments:
        # A block grows at its end: what two of them have in common at their beginning, a cache knows.
        texts = [render(fold.segments[:upto]) for upto in range(1, len(fold.segments) + 1)]
        ends = [0, *map(count, texts)]
        atoms += [(f"block {_short(text)}", ends[at + 1] - ends[at]) for at, text in enumerate(texts)]
    for entry in conversation.entries[: fold.entries]:
        if entry.pinned or entry.kind == "system":
            atoms.append(whole.atoms[1 + entry.index])
    before = len(atoms) - fold.entries
    atoms += whole.atoms[1 + fold.entries :]
    for index, by_block in masks.items():
        results = conversation.entries[index].results
        less = sum(r.tokens - count(by_block[r.block]) for r in results if r.block in by_block)
        name, tokens = atoms[before + index]
        atoms[before + index] = f"{name} masked", tokens - less
    for index, text in snippets.items():
        name, tokens = atoms[before + index]
        atoms[before + index] = f"{name} {_short(text)}", tokens + count(text)
    return Layout(tuple(atoms))


def count(text: str) -> int:
    """Return the tokens of a block, a mask or snippets, counted once. Only their number is remembered."""
    name = _short(text)
    tokens = _COUNTED.get(name)
    return _COUNTED.put(name, count_text(text)) if tokens is None else tokens


def _short(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
