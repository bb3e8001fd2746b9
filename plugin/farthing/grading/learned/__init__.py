"""The learned grader: measures of a task, a small model over them, and its calibrated cuts."""

from farthing.grading.learned.artifact import ArtifactError
from farthing.grading.learned.calibration import Cuts
from farthing.grading.learned.grader import Assessment, LearnedGrader

__all__ = ["ArtifactError", "Assessment", "Cuts", "LearnedGrader"]
