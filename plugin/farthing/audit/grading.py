"""How past calls are graded: by the learned grader that routes, with its own doubts and its own odds."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from farthing.audit.calls import Recorded
from farthing.audit.errors import AuditError
from farthing.grading import GradeName, Task
from farthing.grading.grade import GRADES
from farthing.grading.learned import ArtifactError, LearnedGrader
from farthing.grading.learned.grader import UNSURE

_DECIDED = {"judge", "outcome"}
"""Sources that settle what the score left open; the score recorded beside them is still the learned one."""
_LEARNED = {"learned", "cache"} | _DECIDED


@dataclass(frozen=True, slots=True)
class Judged:
    """A grade and the doubts about it.

    ``perhaps`` is the higher grade that it might as well be, the score lying just below that cut; ``grade``
    itself where there is no such doubt. ``fails`` is the probability, as calibrated, that the cheaper answer
    fails and the call climbs.
    """

    grade: GradeName
    perhaps: GradeName
    fails: Fraction = Fraction(0)


class Assessor(Protocol):
    """Grades past tasks at one dial setting."""

    realm: str
    """The grader's version and dial: part of an intent's key."""
    method: str
    """Who grades and how, for the report's reader."""

    def judge(self, task: Task) -> Judged:
        """Return the grade of a task whose prompt is at hand."""

    def recorded(self, record: Recorded, grade: GradeName) -> Judged:
        """Return the grade that the gateway recorded, ``grade``, with what is known of it."""


class LearnedAssessor:
    """The learned grader and its calibration."""

    def __init__(self, grader: LearnedGrader, quality: float, *, regrade: bool = False) -> None:
        """``quality`` is the dial (0…1). ``regrade``: recorded scores are cut anew at it."""
        self._grader, self._cuts, self._regrade = grader, grader.cuts(quality), regrade
        self.realm = f"{grader.version}\0{quality}"
        self.method = f"the learned grader {grader.version}, quality {quality:g}"

    def judge(self, task: Task) -> Judged:
        """Return the learned grade."""
        score = self._grader.assess(task, self._cuts).score
        grade = self._cuts.name(score)
        return Judged(grade, self._perhaps(score, grade), Fraction(score))

    def recorded(self, record: Recorded, grade: GradeName) -> Judged:
        """Return the recorded grade; one that the score alone gave is cut anew if so asked.

        Of another grader's grades nothing is certain: this calibration knows nothing of their scores.
        """
        if record.source not in _LEARNED or not 0 <= record.score <= 1:
            return Judged(grade, "HIGH")
        fails = Fraction(record.score)
        if record.source in _DECIDED:
            return Judged(grade, grade, fails)
        grade = self._cuts.name(record.score) if self._regrade else grade
        return Judged(grade, max(grade, self._perhaps(record.score, grade), key=GRADES.index), fails)

    def _perhaps(self, score: float, grade: GradeName) -> GradeName:
        if score < self._cuts.high_from < score + UNSURE:
            return "HIGH"
        return "MEDIUM" if score < self._cuts.medium_from < score + UNSURE else grade


def assessor(quality: float, *, regrade: bool = False) -> Assessor:
    """Return the grader of an audit at a dial setting. Raises AuditError if it is not installed whole."""
    try:
        return LearnedAssessor(LearnedGrader.load(quality=quality), quality, regrade=regrade)
    except (ArtifactError, FileNotFoundError) as error:
        raise AuditError(str(error)) from None
