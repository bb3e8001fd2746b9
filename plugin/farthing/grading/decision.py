"""The decision on a task: its grade, and what there is to tell about how it came about."""

from dataclasses import dataclass

from farthing.grading.grade import Grade


@dataclass(frozen=True, slots=True)
class Decision:
    """A grade and how it came about."""

    grade: Grade
    intent: str = ""
    """Key of the task's intent (hex digest); empty if it was not worked out."""
    layer: str = ""
    """What the intent cache said: ``exact``, ``near`` or ``miss``; empty without a cache."""
    saved_s: float = 0.0
    """Seconds that remembering the intent saved, as such tasks have lately taken to grade."""
    judge_failure: str = ""
    """Why the judge that was asked gave no grade, such as ``timeout``; empty if it did, or was not asked."""
