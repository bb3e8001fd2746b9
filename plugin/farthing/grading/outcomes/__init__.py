"""Learning from outcomes: what became of an intent's answers shifts its grade the next time."""

from farthing.grading.outcomes.book import Book, Outcomes, ShiftRules
from farthing.grading.outcomes.comparison import answers_agree
from farthing.grading.outcomes.evidence import WEIGHTS, Kind
from farthing.grading.outcomes.file import FileOutcomes
from farthing.grading.outcomes.retries import RetryOf, RetryWatch

__all__ = [
    "WEIGHTS",
    "Book",
    "FileOutcomes",
    "Kind",
    "Outcomes",
    "RetryOf",
    "RetryWatch",
    "ShiftRules",
    "answers_agree",
]
