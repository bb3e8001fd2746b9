"""The grade of a task, and the one method that every grader has."""

from dataclasses import dataclass
from typing import Literal, Protocol

from farthing.grading.task import Task

GradeName = Literal["LOW", "MEDIUM", "HIGH"]
GRADES: tuple[GradeName, ...] = ("LOW", "MEDIUM", "HIGH")
"""The grades in order."""


@dataclass(frozen=True, slots=True)
class Grade:
    """How much model a task needs.

    ``score`` runs from 0 to 1 and rises with difficulty. ``reason`` is a short text for a person; it
    never quotes the prompt. ``source`` says who graded: ``learned``, ``judge``, ``cache``, ``outcome``, or
    ``fallback`` where grading failed.
    """

    grade: GradeName
    score: float
    reason: str
    source: str = "learned"


class Grader(Protocol):
    """Anything that grades a task."""

    def grade(self, task: Task) -> Grade:
        """Return the grade of ``task``, in bounded time."""
