"""The answer check: is a cheap answer usable, or must the next tier be asked?"""

from farthing.grading.check.answer import Answer, Finish, ToolCall, answers_from
from farthing.grading.check.checker import MIN_TOKEN_PROBABILITY, check_answer, check_prefix
from farthing.grading.check.learned import ArtifactError, LearnedCheck
from farthing.grading.check.verdict import Failure, Verdict

__all__ = [
    "MIN_TOKEN_PROBABILITY",
    "Answer",
    "ArtifactError",
    "Failure",
    "Finish",
    "LearnedCheck",
    "ToolCall",
    "Verdict",
    "answers_from",
    "check_answer",
    "check_prefix",
]
