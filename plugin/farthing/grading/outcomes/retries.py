"""A user's retry: the same ask of the same session again, soon after an answer that did not please."""

from collections import OrderedDict
from dataclasses import dataclass, replace

from farthing.grading.grade import GradeName
from farthing.grading.outcomes.book import digest
from farthing.grading.task import Task


@dataclass(frozen=True, slots=True)
class RetryOf:
    """What was asked again: intent and grade of the answer that did not please, and seconds since."""

    intent: str
    grade: GradeName
    after_s: float


@dataclass(frozen=True, slots=True)
class _Asked:
    intent: str
    grade: GradeName
    at: float
    turns: int
    chars: int


class RetryWatch:
    """Notices retries, in bounded memory.

    Sooner than ``at_least_s`` nobody has read an answer: a client repeats a failed call, or samples several
    answers. Later than ``within_s`` the user has probably come back for something else.
    """

    def __init__(
        self,
        *,
        at_least_s: float = 2.0,
        within_s: float = 300.0,
        sessions: int = 10_000,
        asks_per_session: int = 4,
    ) -> None:
        """Raises ValueError unless 0 <= at_least_s < within_s and the bounds are positive."""
        if not 0 <= at_least_s < within_s or sessions < 1 or asks_per_session < 1:
            raise ValueError("need 0 <= at_least_s < within_s, sessions >= 1 and asks_per_session >= 1")
        self._at_least_s, self._within_s = at_least_s, within_s
        self._most_sessions, self._most_asks = sessions, asks_per_session
        self._sessions: OrderedDict[str, OrderedDict[bytes, _Asked]] = OrderedDict()

    def seen(self, session_id: str, intent: str, task: Task, grade: GradeName, now: float) -> RetryOf | None:
        """Note that ``task`` was asked, with its intent and grade; return what it retries, if anything.

        ``session_id`` must tell accounts apart; ``now`` is in seconds and does not fall. It is a retry only
        if the very same words are asked again, as the same request or later in its conversation. Their
        intent may have changed by then: what failed to please is the earlier one. The steps of an agent
        loop (``loop_steps``) are no retries, nor are "go on" and its like (``continued``), which praise as
        often as they complain.
        """
        asks = self._sessions.setdefault(session_id, OrderedDict())
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > self._most_sessions:
            self._sessions.popitem(last=False)
        key = digest(task.ask)
        earlier = asks.get(key)
        asked = _Asked(intent, grade, now, task.turns, task.total_chars)
        if task.loop_steps and earlier:
            # Turns and size stay those of the request that began the loop.
            asked = replace(earlier, intent=intent, grade=grade, at=now)
        asks[key] = asked
        asks.move_to_end(key)
        if len(asks) > self._most_asks:
            asks.popitem(last=False)
        if earlier is None or task.loop_steps or task.continued or not task.ask.strip():
            return None
        if not self._at_least_s <= now - earlier.at <= self._within_s:
            return None
        same_request = (asked.turns, asked.chars) == (earlier.turns, earlier.chars)
        asked_again = asked.turns > earlier.turns and asked.chars > earlier.chars
        if not (same_request or asked_again):
            return None
        return RetryOf(earlier.intent, earlier.grade, now - earlier.at)
