"""The learned grader: reads a task, scores it, and says where the score is unsure."""

from dataclasses import dataclass
from pathlib import Path

from farthing.embedding import Embedder, Vector
from farthing.grading.grade import Grade
from farthing.grading.learned.artifact import FORMAT, Artifact, read
from farthing.grading.learned.calibration import Cuts
from farthing.grading.learned.features import Reader
from farthing.grading.learned.reasons import reason_of
from farthing.grading.task import Task

UNSURE = 0.05
"""A score this near to a cut is unsure: there a judge may be worth its price."""

_FIRST = Task(
    "Which is larger?\nA) 2 * 3\nB) 7\nExplain why, and then list both.", tools=1, tool_texts=("add",)
)


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the learned grader thinks of a task. ``vector`` is the unit vector of what it asks."""

    score: float
    unsure: bool
    reason: str
    vector: Vector


class LearnedGrader:
    """Grades by the learned score and the cuts of one quality."""

    def __init__(self, artifact: Artifact, embedder: Embedder, quality: float = 0.99) -> None:
        """Raises ValueError for a quality outside 0…1."""
        self._model = artifact.model
        self._calibration = artifact.calibration
        self._reader = Reader(embedder)
        self._cuts = self.cuts(quality)
        self.embedder = embedder
        self.about = artifact.about
        self.version = f"{FORMAT}-{artifact.digest}"
        """Artifact version and content hash: part of the key of what is cached by score."""

    @classmethod
    def load(cls, path: Path | None = None, *, quality: float = 0.99) -> "LearnedGrader":
        """Load the artifact at ``path`` (None: the shipped one) and the embeddings.

        Raises ArtifactError if the artifact is missing, damaged or of another version, and
        FileNotFoundError if the embeddings' wheel is not installed.
        """
        grader = cls(read(path), Embedder.load(), quality)
        grader.assess(_FIRST)  # what is touched for the first time costs milliseconds: here, not in a request
        return grader

    def cuts(self, quality: float) -> Cuts:
        """Return the cuts for ``quality``: the share (0…1) of the strong tier's quality to keep."""
        return self._calibration.cuts(quality)

    def assess(self, task: Task, cuts: Cuts | None = None) -> Assessment:
        """Return the assessment of ``task``; ``unsure`` is against ``cuts`` (None: the grader's own)."""
        cuts = cuts or self._cuts
        score, parts, vector = self._score(task)
        needs = _senses(task)
        reason = reason_of(parts, task)
        if needs and score < cuts.medium_from:
            # A capability, not a difficulty: the local tier cannot see. Order among them is kept.
            score = cuts.medium_from + 0.5 * (cuts.high_from - cuts.medium_from) * score / cuts.medium_from
            reason = f"{reason}; {needs}: at least MEDIUM"
        unsure = min(abs(score - cuts.medium_from), abs(score - cuts.high_from)) < UNSURE
        return Assessment(score, unsure, reason, vector)

    def grade(self, task: Task, quality: float | None = None) -> Grade:
        """Return the grade of ``task`` at ``quality`` (None: the grader's own)."""
        cuts = self._cuts if quality is None else self.cuts(quality)
        found = self.assess(task, cuts)
        return Grade(cuts.name(found.score), found.score, found.reason, "learned")

    def _score(self, task: Task) -> tuple[float, dict[str, float], Vector]:
        if not (task.ask.strip() or task.images or task.audio or task.documents or task.tool_results):
            return 0.0, {}, self.embedder.embed("")
        reading = self._reader.read(task)
        parts = self._model.parts(reading)
        total = self._model.total(parts)
        return self._model.score(total), parts, reading.vector


def _senses(task: Task) -> str:
    for count, need in (
        (task.images, "an image needs vision"),
        (task.audio, "audio needs hearing"),
        (task.documents, "an attached file needs reading"),
    ):
        if count:
            return need
    return ""
