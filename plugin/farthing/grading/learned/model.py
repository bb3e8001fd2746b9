"""The learned model: a few weighted measures, a level of the vocabulary, and a forest for multiple choice."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log1p, tanh
from statistics import median

import numpy as np
from numpy.typing import NDArray

from farthing.grading.learned.features import INDEX, NAMES, Reading

Floats = NDArray[np.float64]

REACH = 3.0
"""No measure counts beyond this many of its scales from its usual value."""
SEGMENT_TOKENS = 24
"""The level of the vocabulary is the median over stretches of about this many tokens."""

CHOICE = 0.2
"""What a multiple choice adds: a question with options is an examination's, not small talk."""
CEILING = 0.4
"""Most that wording alone may add, in the units of the sum."""
LASTING: tuple[str, ...] = ("demand", "loop", "errors", "turns", "context", "system", "structured")
"""What no single phrase brings about."""
DOCUMENT, SOFT = -0.1, 0.05
ORDINARY = 0.07
"""A level of the vocabulary within this of the middle tells nothing."""

OPTIONS = np.array([name.startswith("option") or name == "combined_options" for name in NAMES])


def standard(values: Floats, usual: Floats, scale: Floats) -> Floats:
    """Return measures (a row, or rows) in scales from the usual; options tell only where there are some."""
    z = np.clip((values - usual) / scale, -REACH, REACH)
    return np.where(OPTIONS & (values[..., INDEX["options"], None] < 2), 0.0, z)


@dataclass(frozen=True, slots=True)
class Forest:
    """Regression trees as arrays, one row a tree; a leaf's children are itself.

    ``feature`` and ``threshold`` say where a node parts: ``values[feature] <= threshold`` goes left.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float32]
    roots: NDArray[np.int32]
    depth: int

    def predict(self, values: Floats) -> float:
        """Return the mean of the trees' values."""
        if not len(self.roots):
            return 0.0
        at = self.roots
        single = values.astype(np.float32)
        for _ in range(self.depth):
            goes = single[self.feature[at]] <= self.threshold[at]
            at = np.where(goes, self.left[at], self.right[at])
        return float(self.value[at].mean())


@dataclass(frozen=True, slots=True)
class Model:
    """The parameters. ``slope`` and ``offset`` turn the sum into a probability that the cheap tier fails.

    ``usual`` and ``scale`` are those of the measures, ``weights`` what each adds per scale; ``levels``
    holds one figure per token. ``short`` and ``long`` bound what the text of an ask may add.
    """

    usual: Floats
    scale: Floats
    weights: Floats
    levels: NDArray[np.float32]
    forest: Forest
    expert_limit: float
    slope: float
    offset: float

    def parts(self, reading: Reading) -> dict[str, float]:
        """Return what each measure adds to the sum, by name; ``vocabulary`` and ``options_expert`` last."""
        z = standard(reading.values, self.usual, self.scale)
        added = dict(zip(NAMES, (z * self.weights).tolist(), strict=True))
        added["vocabulary"] = 0.0 if reading.values[INDEX["tools"]] else self.vocabulary(reading.tokens)
        if reading.values[INDEX["options"]] >= 2:
            limit = self.expert_limit
            added["vocabulary"] = max(0.0, added["vocabulary"])  # everyday words make no riddle easy
            added["options_expert"] = CHOICE + limit * tanh(self.forest.predict(reading.values) / limit)
        return added

    def total(self, parts: Mapping[str, float]) -> float:
        """Return the sum of ``parts``: what the wording alone adds is held below CEILING, in its order.

        Beyond it leads only what one phrase cannot bring about: demands throughout the ask, and the state
        of the conversation. With a document around the question the sum stays above DOCUMENT.
        """
        lasting = sum(map(parts.__getitem__, LASTING))
        total = CEILING * tanh((sum(parts.values()) - lasting) / CEILING) + lasting
        if parts["context"] <= 0:
            return total
        # A question about a document rests on the document: smoothly at least this much.
        return DOCUMENT + SOFT * log1p(exp(min(50.0, (total - DOCUMENT) / SOFT)))

    def vocabulary(self, tokens: NDArray[np.int32]) -> float:
        """Return the level of the ask's words: the median over its stretches, so that no one decides."""
        if not len(tokens):
            return 0.0
        levels = self.levels[tokens]
        parts = max(1, len(levels) // SEGMENT_TOKENS)
        edges = np.linspace(0, len(levels), parts + 1).astype(np.int64)
        means = np.add.reduceat(levels, edges[:-1]) / np.diff(edges)
        level = float(median(means.tolist()))
        return level - max(-ORDINARY, min(ORDINARY, level))

    def score(self, total: float) -> float:
        """Return the score of a sum of parts: 0…1, strictly rising."""
        return 1 / (1 + exp(-max(-30.0, min(30.0, self.slope * total + self.offset))))
