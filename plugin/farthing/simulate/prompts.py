"""Prompts of your own in place of assumptions: graded by the real grader, counted by the tokenizer."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from farthing.cost import input_estimate
from farthing.grading import grade_lines
from farthing.grading.grade import Grader
from farthing.simulate.errors import SimulationError
from farthing.simulate.mix import Mix

GRADES = ("LOW", "MEDIUM", "HIGH")


@dataclass(frozen=True, slots=True)
class Prompts:
    """What was found: how many prompts got which grade, and their tokens in the middle."""

    grades: dict[str, int]
    median_tokens: int

    @property
    def count(self) -> int:
        """How many prompts were graded."""
        return sum(self.grades.values())


def read(lines: Iterable[str], grader: Grader) -> Prompts:
    """Grade JSON lines as `farthing grade` takes them. Raises SimulationError at the first bad one."""
    grades: Counter[str] = Counter()
    tokens: list[int] = []
    kept = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    for (number, line), told in zip(kept, grade_lines((line for _, line in kept), grader), strict=True):
        found = json.loads(told)
        if "error" in found:
            raise SimulationError(f"--prompts, line {number}: {found['error']}")
        grades[found["grade"]] += 1
        tokens.append(max(1, input_estimate(json.loads(line))))
    if not tokens:
        raise SimulationError("--prompts holds no prompt; give JSON lines as `farthing grade` takes them")
    return Prompts({grade: grades[grade] for grade in GRADES}, round(median(tokens)))


def apply(mix: Mix, prompts: Prompts) -> Mix:
    """Return the mix with the prompts' grades and input in every kind of work."""
    values = mix.model_dump()
    for work in values["work"].values():
        work["grades"] = dict(prompts.grades)
        work["input"] = prompts.median_tokens
    return Mix.model_validate(values)
