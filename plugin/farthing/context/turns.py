"""What of a history belongs together, and where it may therefore be cut."""

from collections.abc import Sequence
from dataclasses import dataclass

from farthing.context.items import Item, NotUnderstoodError, Surface


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns of a history. ``at`` and ``cuts`` are ``turns_at`` and ``cuts`` of `Conversation`.

    ``kept``, for each item: it stays even where what surrounds it is taken away.
    """

    at: tuple[int, ...]
    cuts: tuple[int, ...]
    kept: tuple[bool, ...]


def turns_of(items: Sequence[Item], pinned: Sequence[bool], surface: Surface) -> Turns:
    """Return the turns of a history. Raises `NotUnderstoodError` for a result that nothing called for.

    ``pinned`` are the client's marks. Beside them the ask that the model is at work on is kept, word for
    word: within a long tool loop it would else be folded with the loop's first steps.
    """
    ties, dangling = _ties(items)
    asks = [index for index, item in enumerate(items) if item.kind == "user"]
    pure = [index for index in asks if not items[index].closes]
    seeds = [index for index, mark in enumerate(pinned) if mark]
    kept = _tied_to([*seeds, *asks[-1:], *pure[-1:]], ties)
    return Turns(
        _turns_at(items),
        _cuts(items, ties, dangling, pure[-1] if pure else -1, surface),
        tuple(index in kept for index in range(len(items))),
    )


def _turns_at(items: Sequence[Item]) -> tuple[int, ...]:
    at = [0]
    before = ""
    for item in items:
        at.append(at[-1] + (item.kind == "assistant" != before))
        before = item.kind
    return tuple(at)


def _ties(items: Sequence[Item]) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the pairs of items that must not be separated, and the items whose calls have no result.

    An id that is used again, as some local models do, means the latest call of it.
    """
    ties: list[tuple[int, int]] = []
    dangling: list[int] = []
    waiting: dict[str, int] = {}
    answered: dict[str, int] = {}
    for index, item in enumerate(items):
        if index and item.kind == "assistant" == items[index - 1].kind:
            ties.append((index - 1, index))
        for call_id in item.opens:
            if call_id in waiting:
                dangling.append(waiting[call_id])
            waiting[call_id] = index
        for call_id in item.closes:
            if call_id in waiting:
                answered[call_id] = waiting.pop(call_id)
            elif call_id not in answered:
                raise NotUnderstoodError("a result that nothing called for")
            ties.append((answered[call_id], index))
    return ties, [*dangling, *waiting.values()]


def _tied_to(seeds: Sequence[int], ties: Sequence[tuple[int, int]]) -> set[int]:
    others: dict[int, list[int]] = {}
    for one, other in ties:
        others.setdefault(one, []).append(other)
        others.setdefault(other, []).append(one)
    found: set[int] = set()
    todo = list(seeds)
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += others.get(index, ())
    return found


def _cuts(
    items: Sequence[Item],
    ties: Sequence[tuple[int, int]],
    dangling: Sequence[int],
    ask: int,
    surface: Surface,
) -> tuple[int, ...]:
    """Return the cuts: after a model's turn and all its results, never between an ask and its answer.

    ``ask``: where the latest loop begins. What a model thought in a loop that goes on must be sent back
    whole (Anthropic; LiteLLM's chat alike), so such a loop is not cut behind a thought. OpenAI wants a call
    together with the reasoning item it came from: a step without one may belong to that of the step before.
    """
    reach = list(range(len(items)))
    for one, other in ties:
        reach[one] = max(reach[one], other)
    for index in dangling:
        reach[index] = len(items)
    cuts = []
    until = 0
    answered = thought = False
    for place, item in enumerate(items[:-1]):
        until = max(until, reach[place])
        if item.kind == "user" and not item.closes:
            answered = thought = False
        elif item.kind != "system":
            answered = True
            thought = thought or item.reasons
        after = items[place + 1]
        if surface == "responses":
            torn = thought and after.kind == "assistant" and not after.reasons
        else:
            torn = thought and place >= ask
        if answered and until <= place and not torn:
            cuts.append(place + 1)
    return tuple(cuts)
