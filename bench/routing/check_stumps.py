"""Boosted stumps with an offset per answer and monotone features: the model of the learned answer check.

Newton boosting of the logistic loss (Friedman 2001; Chen and Guestrin 2016) over quantile cuts. The
offset takes up how good a model is as a whole, so that the stumps learn what tells its right answers
from its wrong ones, and not whose answers they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from farthing.grading.check.features import NAMES

CUTS = 24
"""Most cuts per feature."""


@dataclass(frozen=True)
class Stumps:
    """Log odds added by each feature: ``values[i]`` up to ``cuts[i]``; and their calibration."""

    shapes: dict[str, tuple[list[float], list[float]]]
    base: float = 0.0
    slope: float = 1.0
    intercept: float = 0.0

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Return log odds before calibration."""
        total = np.full(len(rows), self.base)
        for name, (cuts, values) in self.shapes.items():
            total += np.array(values)[np.searchsorted(cuts, rows[:, NAMES.index(name)], side="left")]
        return total

    def probability(self, rows: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities of being right."""
        return 1 / (1 + np.exp(-(self.slope * self.score(rows) + self.intercept)))


def fit(
    rows: np.ndarray,
    right: np.ndarray,
    weight: np.ndarray,
    offset: np.ndarray,
    signs: Mapping[str, int],
    rounds: int = 400,
    rate: float = 0.1,
    ridge: float = 20.0,
) -> Stumps:
    """Fit ``rounds`` stumps. ``signs``: +1 or -1 for features that may only help or only hurt.

    ``ridge`` is the weight of evidence that each leaf must outweigh.
    """
    cuts = [_cuts(rows[:, j]) for j in range(rows.shape[1])]
    below = np.concatenate([rows[:, [j]] <= cuts[j] for j in range(rows.shape[1])], axis=1).astype(float)
    feature = np.concatenate([np.full(len(cuts[j]), j) for j in range(rows.shape[1])])
    sign = np.array([signs.get(NAMES[j], 0) for j in feature])
    low, high = np.zeros(len(feature)), np.zeros(len(feature))
    score = offset.astype(float).copy()
    for _ in range(rounds):
        p = 1 / (1 + np.exp(-score))
        gradient, curve = weight * (right - p), weight * p * (1 - p)
        g_low, h_low = gradient @ below, curve @ below
        g_high, h_high = gradient.sum() - g_low, curve.sum() - h_low
        v_low, v_high = g_low / (h_low + ridge), g_high / (h_high + ridge)
        gain = g_low * v_low + g_high * v_high
        gain[(sign != 0) & (sign * (v_high - v_low) < 0)] = -np.inf
        best = int(np.argmax(gain))
        low[best] += rate * v_low[best]
        high[best] += rate * v_high[best]
        score += rate * np.where(below[:, best] > 0, v_low[best], v_high[best])
    return Stumps(_shapes(feature, np.concatenate(cuts), low, high))


def _cuts(column: np.ndarray) -> np.ndarray:
    values = np.unique(column)
    if len(values) > CUTS:
        values = np.unique(np.quantile(column, np.linspace(0, 1, CUTS + 2)))
    return np.round((values[1:] + values[:-1]) / 2, 6)


def _shapes(
    feature: np.ndarray, cuts: np.ndarray, low: np.ndarray, high: np.ndarray
) -> dict[str, tuple[list[float], list[float]]]:
    shapes = {}
    for j in np.unique(feature):
        used = (feature == j) & ((low != 0) | (high != 0))
        if used.any():
            steps = [low[used].sum(), *(high[used] - low[used])]
            shapes[NAMES[j]] = (
                [float(cut) for cut in cuts[used]],
                [round(float(value), 5) for value in np.cumsum(steps)],
            )
    return shapes
