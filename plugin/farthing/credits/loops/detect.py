"""Loops: an agent that does the same again and gets the same, found in the history and in the run's marks.

What shows progress is never a loop: another result, other arguments, a person's new words. So a person can
always lead a stopped conversation out of its loop by saying something new.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from farthing.credits.loops.fingerprint import digest
from farthing.credits.loops.history import Step, model_turns, steps_of

MOST_STEPS = 500
"""Steps of a history that are compared, at most: a limit above that is never reached."""
_PERIODS = range(1, 5)
_TELLING = 40
"""Characters from which on a result alone says what was done: "ok" does not."""
_MOST_NAMES = 4
_TOOL_NAME = re.compile(r"[\w.:/-]{1,64}", re.ASCII)

LoopKind = Literal["repeat", "poll", "cycle", "stall"]


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """How often is too often. 0 turns a rule off; 1 is no repetition and raises ValueError."""

    repeats: int = 5
    """The same tool calls with the same results, in a row."""
    polls: int = 20
    """The same tool calls in a row, whatever their results."""
    cycles: int = 4
    """Whole rounds of two to four such calls (A-B-A-B), with the same results."""
    stalls: int = 8
    """The same answer to the same words in a row, or the same step sent in a run."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if (limit := getattr(self, name)) < 0 or limit == 1:
                raise ValueError(f"loops.{name} must be 0 (off) or at least 2, not {limit}")


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop that was found."""

    kind: LoopKind
    count: int
    what: str
    """The names of its tools (the first few), as in ``read, write``; empty if there were none."""

    @property
    def reason(self) -> str:
        """What happened, as a clause in plain words; nothing of arguments, results or texts."""
        names = self.what.split(", ")
        tools = f"the tool{'s' * (len(names) > 1)} {', '.join(f'`{name}`' for name in names)}"
        called = f"{tools} {'were' if len(names) > 1 else 'was'} called {self.count} times in a row"
        match self.kind:
            case "repeat":
                return f"{called} with the same arguments and the same result"
            case "poll":
                return f"{called} with the same arguments"
            case "cycle":
                return f"the same calls of {tools} came round {self.count} times with the same results"
        after = f" after {tools}" if self.what else ""
        return f"the same step came {self.count} times{after} and brought nothing new"


def mark_of(payload: Mapping[str, object]) -> str:
    """Return the fingerprint, 16 hex digits, of what is new in this call. Raises nothing.

    That is its last results or words, together with the answer they follow and how many there were before.
    The same call sent again has the same mark, whatever its calls' ids and the times in its results.
    """
    step = next(steps_of(payload), None)
    if step is None:
        return digest(("nothing",))
    facts = [str(model_turns(payload)), step.said, *sorted(map(":".join, step.results))]
    if step.answered:
        return digest(["step", *sorted(step.did), *facts])
    if step.told < _TELLING:
        # In a stored conversation "ok" is the result of many calls, and a person's answer to many questions.
        previous = payload.get("previous_response_id")
        facts += [previous[:1000] if isinstance(previous, str) else "", *step.result_ids]
    return digest(["given", *facts])


def find_loop(payload: Mapping[str, object], marks: Sequence[str], limits: LoopLimits) -> Loop | None:
    """Return the loop that a request is in, if any. Raises nothing, and reads only the history's end.

    ``marks`` are those of the session's run, this call's own the last. They count for a call that brings
    tool results or continues a stored response: sent again, it is a loop. One that ends in a person's words
    may be sent again and again, as samples and health checks are; only the run's caps hold it.
    """
    history = _History(step for step in steps_of(payload) if step.answered and step.complete)
    for period in _PERIODS:
        if loop := _round_loop(history, period, limits):
            return loop
    newest = history.at(0)
    if newest and limits.polls and history.polls(limits.polls) >= limits.polls:
        return Loop("poll", limits.polls, _names([newest]))
    resent = sum(mark == marks[-1] for mark in marks) if marks else 0
    if limits.stalls and resent >= limits.stalls:
        last = next(steps_of(payload), None)
        if last and (last.results or payload.get("previous_response_id")):
            return Loop("stall", resent, _names([last]))
    return None


def _round_loop(history: "_History", period: int, limits: LoopLimits) -> Loop | None:
    steps = [step for at in range(period) if (step := history.at(at))]
    if len(steps) < period or (period > 1 and all(_same(steps[0], step) for step in steps)):
        return None
    kind: LoopKind = "repeat" if period == 1 else "cycle"
    limit = limits.repeats if period == 1 else limits.cycles
    if not all(step.tools for step in steps):
        kind, limit = "stall", limits.stalls
    if not limit or history.rounds(period, limit) < limit:
        return None
    return Loop(kind, limit, _names(steps))


class _History:
    """Steps, the newest first, read only as far as they are asked for."""

    def __init__(self, steps: Iterator[Step]) -> None:
        self._left = islice(steps, MOST_STEPS)
        self._read: list[Step] = []

    def at(self, index: int) -> Step | None:
        while len(self._read) <= index:
            step = next(self._left, None)
            if step is None:
                return None
            self._read.append(step)
        return self._read[index]

    def rounds(self, period: int, most: int) -> int:
        """How often the last ``period`` steps have come in a row, at most ``most``."""
        same = 0
        while same < (most - 1) * period:
            now, before = self.at(same), self.at(same + period)
            if not (now and before and _same(now, before)):
                break
            same += 1
        return same // period + 1

    def polls(self, most: int) -> int:
        """How often the last calls were made in a row, at most ``most``."""
        count, now = 1, self.at(0)
        while count < most and now and (before := self.at(count)) and _calls_again(now, before):
            count, now = count + 1, before
        return count


def _same(now: Step, before: Step) -> bool:
    return now.did == before.did and now.said == before.said and now.results == before.results


def _calls_again(now: Step, before: Step) -> bool:
    return bool(now.tools) and now.did == before.did and now.said == before.said


def _names(steps: Sequence[Step]) -> str:
    # A name is the client's own text: what is no plain name is not repeated.
    tools = sorted({tool for step in steps for tool in step.tools})
    plain = [tool if _TOOL_NAME.fullmatch(tool) else "unnamed" for tool in tools]
    return ", ".join(list(dict.fromkeys(plain))[:_MOST_NAMES])
