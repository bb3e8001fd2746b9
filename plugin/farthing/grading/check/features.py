"""What the learned check looks at: a question of quantities, and the working that answers it.

All of it is about the answer's own consistency with the question (are the sums true, are the numbers
used, does it end in one answer of the kind asked for) and about how hard the question is, not about
topics.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from farthing.grading.check import wording
from farthing.grading.check.arithmetic import NUMBER, Statement, numbers, statements

ASK_CHARS, ANSWER_CHARS = 2_000, 20_000
"""A longer ask or answer is not of the kind that the check was trained on."""
MAX_GIVEN, MAX_SUMS = 40, 80
"""More numbers in the ask, or sums in the answer, are no word problem; they would also take long."""
_MANY = 200
"""Numbers of the working that are kept in mind while it is followed."""

NAMES = (
    "false_sums",
    "not_operands",
    "operand_repeats",
    "unused_numbers",
    "steps_per_number",
    "final_from_sum",
    "final_elsewhere",
    "final_in_ask",
    "fraction_of_thing",
    "final_rounded",
    "final_small",
    "final_size",
    "asked_words_missing",
    "long_decimals",
    "hedges",
    "unknowns",
    "answer_words",
    "answer_to_ask",
    "ask_words",
    "comparisons",
    "conditions",
)
"""Names of the features, in the order of a row."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A question and its answer, read. ``ask`` and ``lower`` (the answer) are in lower case."""

    ask: str
    answer: str
    lower: str
    given: list[float]
    said: list[float]
    sums: list[Statement]
    words: int
    final: float

    @property
    def distinct(self) -> set[float]:
        return set(self.given)

    @property
    def operands(self) -> list[float]:
        return [operand for statement in self.sums for operand in statement.operands]


def row(ask: str, answer: str) -> list[float] | None:
    """Return the features of ``answer`` to ``ask``, as NAMES; None where there is nothing to go on.

    There is something to go on if a short English question of quantities, in words and with at least two
    numbers, is answered by working with at least one number.
    """
    if len(ask) > ASK_CHARS or len(answer) > ANSWER_CHARS:
        return None
    lower = ask.lower()
    given = numbers(ask) + _numbers_in_words(lower)
    if not 2 <= len(given) <= MAX_GIVEN or not wording.QUESTION.search(lower):
        return None
    if wording.NOT_A_WORD_PROBLEM.search(ask) or wording.CODE.search(answer):
        return None
    said, sums, words = numbers(answer), statements(answer), _count(wording.WORDS, answer)
    if not said or len(sums) > MAX_SUMS or (not sums and words < 8):
        return None
    case = _Case(lower, answer, answer.lower(), given, said, sums, words, _final(answer, said))
    found = _of_sums(case) | _of_the_end(case) | _of_what_is_asked(case) | _of_wording(case)
    return [found[name] for name in NAMES]


def _of_sums(case: _Case) -> dict[str, float]:
    """Are the sums true, and do they use what is given and what came before?"""
    sums, given, operands = case.sums, case.distinct, case.operands
    false = sum(not statement.true for statement in sums)
    used = set(case.said[:_MANY]) | set(_numbers_in_words(case.lower))
    unused = sum(not _among(number, used) for number in given)
    calculated = {*operands, *(operand * 100 for operand in operands)}
    return {
        "false_sums": false / max(1, len(sums)),
        "not_operands": sum(not _among(n, calculated) for n in given) / len(given) if sums else 0.0,
        "operand_repeats": 1 - len(set(operands)) / len(operands) if operands else 0.0,
        "unused_numbers": unused / len(given),
        "steps_per_number": math.log((len(sums) + 1) / (len(case.given) + 1)),
    }


def _of_the_end(case: _Case) -> dict[str, float]:
    """Does it come to an end, and to which number?"""
    final, results = case.final, [statement.right for statement in case.sums]
    whole = float(final).is_integer()
    counted = bool(wording.HOW_MANY.search(case.ask)) and not wording.MEASURED.search(case.ask)
    largest = max(map(abs, case.given))
    return {
        "final_from_sum": float(bool(results) and _close(final, results[-1])),
        "final_elsewhere": float(bool(results) and not _among(final, set(results))),
        "final_in_ask": float(final in case.distinct),
        "fraction_of_thing": float(counted and not whole),
        "final_rounded": float(not counted and not whole),
        "final_small": float(abs(final) < 2),
        "final_size": max(-4.0, min(4.0, math.log((abs(final) + 0.1) / (largest + 0.1)))),
    }


def _of_what_is_asked(case: _Case) -> dict[str, float]:
    """Does it end in what the question asks for?"""
    question = _asked(case.ask)
    wanted = set(wording.WORDS.findall(question)) - wording.COMMON
    ending = set(wording.WORDS.findall(case.lower[-250:]))
    return {
        "asked_words_missing": len(wanted - ending) / len(wanted) if wanted else 0.0,
    }


def _of_wording(case: _Case) -> dict[str, float]:
    ask_words = _count(wording.WORDS, case.ask)
    return {
        "long_decimals": min(3.0, float(_count(wording.DECIMALS, case.answer))),
        "hedges": math.log1p(_count(wording.HEDGES, case.lower)),
        "unknowns": math.log1p(_count(wording.UNKNOWNS, case.answer)),
        "answer_words": math.log1p(case.words),
        "answer_to_ask": math.log((case.words + 5) / (ask_words + 5)),
        "ask_words": math.log1p(ask_words),
        "comparisons": math.log1p(_count(wording.COMPARES, case.ask)),
        "conditions": math.log1p(_count(wording.CONDITIONS, case.ask)),
    }


def _asked(ask: str) -> str:
    """Return the sentence that asks."""
    sentences = [part for part in wording.SENTENCES.split(ask) if part.strip()]
    return next((part for part in reversed(sentences) if wording.QUESTION.search(part)), ask[-200:])


def _final(answer: str, said: list[float]) -> float:
    """Return the number that the answer ends in."""
    found = NUMBER.findall(answer.rsplit("####", 1)[-1][-2_000:])
    return numbers(found[-1])[0] if found else said[-1]


def _numbers_in_words(lower: str) -> list[float]:
    return [wording.IN_WORDS[word] for word in wording.WORDS.findall(lower) if word in wording.IN_WORDS]


def _count(pattern: re.Pattern[str], text: str) -> int:
    return len(pattern.findall(text))


def _among(number: float, others: Iterable[float]) -> bool:
    return any(number == other or _close(number, other) for other in others)


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= 0.006 * max(abs(a), abs(b))
