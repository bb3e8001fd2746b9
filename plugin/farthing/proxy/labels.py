"""What a call is labelled with: the agent that made it and the task it was made for.

Reports group by them. They come from the client, so they never change who pays.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from farthing.settings import Key

MOST_CHARS = 128
MOST_AGENTS = 10_000
OTHERS = "(other agents)"
_BUCKETS = ("metadata", "litellm_metadata")


class Agents:
    """Knows the agents that clients have named, so many a key.

    Daily sums are kept by agent. A client that made up a name for each call would make them as long as the
    charges themselves: what it names beyond `MOST_AGENTS` is `OTHERS`. The count begins anew with the
    process.
    """

    def __init__(self) -> None:
        self._named: defaultdict[str, set[str]] = defaultdict(set)

    def of(
        self, key: Key | None, key_hash: str, payload: Mapping[str, Any], headers: Mapping[str, str]
    ) -> str:
        """Return the agent of the key's own entry; without one, what the client calls it, or nothing."""
        if key and key.agent:
            return _clean(key.agent)
        agent, named = _said("agent", payload, headers), self._named[key_hash]
        if agent and agent not in named:
            if len(named) >= MOST_AGENTS:
                return OTHERS
            named.add(agent)
        return agent


def task_of(payload: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return what the client calls the task (``metadata.farthing_task`` or ``x-farthing-task``)."""
    return _said("task", payload, headers)


def _said(label: str, payload: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    return next(filter(None, map(_clean, _sayings(label, payload, headers))), "")


def _sayings(label: str, payload: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[object]:
    yield headers.get(f"x-farthing-{label}")
    for bucket in _BUCKETS:
        said = payload.get(bucket)
        if isinstance(said, Mapping):
            yield said.get(f"farthing_{label}")


def _clean(label: object) -> str:
    """Return a label as it is kept: no control characters or half characters, a bounded length."""
    if not isinstance(label, str):
        return ""
    # Bounded before it is walked through: it may be a megabyte.
    shown = (character for character in label[: 8 * MOST_CHARS] if unicodedata.category(character)[0] != "C")
    return "".join(shown).strip()[:MOST_CHARS].rstrip()
