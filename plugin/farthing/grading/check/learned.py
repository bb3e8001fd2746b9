"""The learned check: how likely a worked answer to a question of quantities is right.

An additive model: each feature of `features.NAMES` adds a piecewise constant amount of log odds (boosted
stumps, Friedman 2001, summed per feature), calibrated by a logistic (Platt 1999). It is trained by
``python -m bench.routing.train_check`` and described, with its figures, in docs/answer-check.md.
"""

import json
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from farthing.grading.check.answer import Answer, without_thinking
from farthing.grading.check.features import NAMES, row
from farthing.grading.check.wanted import Wanted

FORMAT, VERSION = "farthing-answer-check", 1
ARTIFACT = "answer_check.json"
_MAX_BYTES = 1_000_000


class ArtifactError(RuntimeError):
    """The learned check's artifact is missing, broken, or made for another version."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What one feature adds: ``values[i]`` log odds up to ``cuts[i]``, the last value above them all."""

    feature: int
    cuts: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LearnedCheck:
    """A learned check. ``threshold``: the probability of being right below which an answer is doubted."""

    base: float
    shapes: tuple[Shape, ...]
    slope: float
    intercept: float
    threshold: float

    @classmethod
    def load(cls, path: Path | str | None = None) -> "LearnedCheck":
        """Load an artifact; the one that ships with Farthing if ``path`` is None.

        Raises ArtifactError if the file is missing, no artifact of this kind, or of another version.
        """
        place = str(path or f"farthing/grading/check/{ARTIFACT}")
        try:
            data = Path(path).read_bytes() if path else (files(__package__) / ARTIFACT).read_bytes()
        except OSError as error:
            raise ArtifactError(
                f"the answer check's artifact {place} cannot be read ({error.strerror or 'unknown error'});"
                " reinstall farthing, or train one: python -m bench.routing.train_check"
            ) from error
        try:
            if len(data) > _MAX_BYTES:
                raise ValueError("too large")
            content = json.loads(data)
            found = (content["format"], content["version"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ArtifactError(f"{place} is not an answer check's artifact, or is damaged") from error
        if found != (FORMAT, VERSION):
            raise ArtifactError(
                f"{place} is {found[0]} version {found[1]}; this farthing reads {FORMAT} version {VERSION}:"
                " train it anew with python -m bench.routing.train_check"
            )
        try:
            return _from_content(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{place} is damaged: {error}") from error

    def probability_right(self, wanted: Wanted, answer: Answer) -> float | None:
        """Return how likely ``answer`` to ``wanted`` is right, 0 to 1; None where there is nothing to go on.

        It has to go on a first question of quantities, without tools, that is answered by working. Bounded:
        about a millisecond.
        """
        if answer.tool_calls or answer.other or answer.finish == "length":
            return None
        if wanted.json or wanted.tools or wanted.tools_open or wanted.past.strip():
            return None
        features = row(wanted.ask, without_thinking(answer.text))
        return None if features is None else self.probability(features)

    def probability(self, features: Sequence[float]) -> float:
        """Return the calibrated probability for a row of features, in the order of `features.NAMES`."""
        score = self.base
        for shape in self.shapes:
            score += shape.values[bisect_left(shape.cuts, features[shape.feature])]
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, self.slope * score + self.intercept))))


def _from_content(content: Mapping[str, object]) -> LearnedCheck:
    if content["features"] != list(NAMES):
        raise ValueError("its features are not those of this version")
    shapes = content["shapes"]
    if not isinstance(shapes, dict):
        raise ValueError("its shapes are no object")
    calibration = content["calibration"]
    if not isinstance(calibration, dict):
        raise ValueError("its calibration is no object")
    return LearnedCheck(
        base=_number(content["base"]),
        shapes=tuple(_shape(name, shape) for name, shape in shapes.items()),
        slope=_number(calibration["slope"]),
        intercept=_number(calibration["intercept"]),
        threshold=_number(content["threshold"]),
    )


def _shape(name: str, shape: Mapping[str, Sequence[object]]) -> Shape:
    cuts = tuple(map(_number, shape["cuts"]))
    values = tuple(map(_number, shape["values"]))
    if len(values) != len(cuts) + 1 or list(cuts) != sorted(cuts):
        raise ValueError(f"the shape of {name} has {len(cuts)} cuts and {len(values)} values")
    return Shape(NAMES.index(name), cuts, values)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number is missing")
    return float(value)
