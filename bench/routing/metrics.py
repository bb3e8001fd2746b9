"""The metrics of model routing: what a score is worth when it decides who gets the strong model."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def curve(score: Floats, gain: Floats, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """Return the share of calls sent to the strong model and the share of its gain that is kept.

    Calls go there by falling score; calls of one score go together, so that ties gain nothing.
    """
    weight = np.ones(len(score)) if weight is None else weight
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    share = np.cumsum(weight[order])[ends]
    kept = np.cumsum((weight * gain)[order])[ends]
    return np.insert(share / share[-1], 0, 0.0), np.insert(kept / kept[-1], 0, 0.0)


def apgr(score: Floats, gain: Floats, weight: Floats | None = None) -> float:
    """Return the average performance gap recovered (RouteLLM, arXiv 2406.18665): 0.5 is random."""
    share, kept = curve(score, gain, weight)
    return float(np.trapezoid(kept, share))


def interval(score: Floats, gain: Floats, seed: int = 0, rounds: int = 200) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of :func:`apgr`, over prompts."""
    generator = np.random.default_rng(seed)
    picks = generator.integers(0, len(score), (rounds, len(score)))
    values = [apgr(score[pick], gain[pick]) for pick in picks if gain[pick].sum() > 0]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def cpt(score: Floats, gain: Floats, wanted: float, weight: Floats | None = None) -> float:
    """Return the call-performance threshold: the least strong share that recovers ``wanted`` of the gap."""
    share, kept = curve(score, gain, weight)
    return float(np.interp(wanted, np.maximum.accumulate(kept), share))


def threshold(score: Floats, cheap: Floats, strong: Floats, quality: float, weight: Floats) -> float:
    """Return the highest score cut that keeps ``quality`` of the strong model's quality on these calls."""
    order = np.argsort(-score, kind="stable")
    kept = np.cumsum((weight * (strong - cheap))[order]) + (weight * cheap).sum()
    enough = np.flatnonzero(np.insert(kept, 0, (weight * cheap).sum()) >= quality * (weight * strong).sum())
    return float("inf") if enough[0] == 0 else float(score[order][enough[0] - 1])


def ece(predicted: Floats, happened: Floats, bins: int = 10) -> float:
    """Return the expected calibration error, over bins of equal count."""
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, bins)
    return float(
        sum(len(p) * abs(predicted[p].mean() - happened[p].mean()) for p in parts if len(p)) / len(predicted)
    )
