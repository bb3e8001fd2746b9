"""Farthing's own segment of a block: the digest of some turns, and the figures that it had no room for."""

from collections.abc import Iterator, Sequence

from farthing.context.conversation import Entry
from farthing.context.digest import digest
from farthing.context.facts import untold
from farthing.cost import count_text

DIGEST_SHARE = 0.3
"""The digest's least part of the tokens; the bare figures, if there are many, take the rest.

Measured on agents' work (bench/context/tau.py): what later turns need of earlier results is ids, amounts and
dates more than what was said of them. With half of the tokens for the digest 95 % of these survive, with
three tenths 99 %.
"""
_HEAD = "Other figures"


def extract(entries: Sequence[Entry], max_tokens: int) -> str:
    """Return what stands for some entries, at most ``max_tokens`` long; empty if nothing is worth it.

    Nothing in it is invented: each word and figure is the source's. Deterministic.
    """
    given = list(_given(entries))
    least = int(DIGEST_SHARE * max_tokens)
    figures = count_text(f"{_HEAD}\n{untold(given, '', max_tokens - least)}\n")
    text = digest(entries, max(least, max_tokens - figures - figures // 8))
    left = max_tokens - count_text(f"{text}\n{_HEAD}\n") - 1
    figures_left = untold(given, text, left) if left > 0 else ""
    return "\n".join(filter(None, [text, figures_left and f"{_HEAD}\n{figures_left}"]))


def _given(entries: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    """Yield what users and tools said, with who said it: the model's own words are made of these."""
    names = {call.id: call.name for entry in entries for call in entry.calls}
    for entry in entries:
        if entry.pinned or entry.kind not in ("user", "tool"):
            continue
        if not entry.results:
            yield entry.kind, entry.text
        for result in entry.results:
            yield names.get(result.call_id) or "tool", result.text
