"""From out-of-fold scores and the tiers' outcomes to the dial's table: quality to keep, and the cuts."""

from collections.abc import Sequence

import numpy as np

from bench.routing.data import Floats, Source
from farthing.grading.learned.calibration import Calibration

QUALITIES = (0.80, 0.85, 0.90, 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 1.0)
EVERYDAY = 0.8
"""Share of everyday calls (our own prompts) in the pool; the public sources, alike, share the rest."""


AGED = ("arc_challenge", "winogrande")
"""Their small models are of Llama 2's generation: mixtral alone stands for a local tier of today."""
MIX = {0.0: 0.45, 0.2: 0.28, 0.45: 0.17, 0.7: 0.08, 1.0: 0.02}
"""How everyday calls are spread over the levels of our own prompts: our assumption."""
GUARDED = 0.99
"""Up to this quality no wording alone reaches HIGH."""


def assumed(levels: Floats) -> tuple[Floats, Floats, Floats]:
    """Return what the tiers are assumed to get right of our own prompts, by the level that we judged."""
    return 1 - 0.8 * levels**3, 1 - 0.6 * np.maximum(0.0, levels - 0.7), np.ones(len(levels))


def pool(scored: Sequence[tuple[Source, Floats]]) -> tuple[Floats, Floats, Floats]:
    """Return scores, outcomes (rows x tiers) and weights of sources scored out of fold."""
    public = sum(source.levels is None for source, _ in scored)
    scores, outcomes, weights = [], [], []
    for source, score in scored:
        if source.levels is None:
            local = source.local
            if source.name in AGED:
                local = next(iter(source.pairs.values()))[0]
            tiers, share = (local, source.fast, source.strong), (1 - EVERYDAY) / public
            spread = np.ones(len(score))
        else:
            tiers, share = assumed(source.levels), EVERYDAY
            counts = {level: int((source.levels == level).sum()) for level in MIX}
            spread = np.array([MIX[level] / counts[level] for level in source.levels]) * len(score)
        scores.append(score)
        outcomes.append(np.stack(tiers, axis=1))
        weights.append(share / len(score) * spread)
    return np.concatenate(scores), np.vstack(outcomes), np.concatenate(weights)


def calibrate(scored: Sequence[tuple[Source, Floats]], wording: float) -> Calibration:
    """Return, for each quality, the cuts that keep it on the pool of ``scored``.

    A score may go to a tier if the loss expected there (strong tier right, this tier wrong) is within one
    tolerance, the same for both cuts; the tolerance is the largest that keeps the quality on the pool.
    Up to GUARDED the cut of HIGH lies above ``wording``, the highest score that wording alone can reach, so
    that no phrase buys the strong tier.
    """
    scores, outcomes, weights = pool(scored)
    x = np.log(scores / (1 - scores))
    losses = [_loss(x, np.clip(outcomes[:, 2] - outcomes[:, tier], 0, 1), weights) for tier in (0, 1)]
    strong = float(weights @ outcomes[:, 2])
    rows: list[tuple[float, float, float]] = []
    for wanted in QUALITIES:
        tolerance = 0.5
        while tolerance > 1e-4:
            cuts = [_at(a, b, tolerance) for a, b in losses]
            cuts[1] = max(*cuts, wording if wanted <= GUARDED else 0.0)
            tier = (scores >= cuts[0]).astype(int) + (scores >= cuts[1])
            if weights @ outcomes[np.arange(len(tier)), tier] >= wanted * strong:
                break
            tolerance *= 0.98
        last = rows[-1][1:] if rows else (1.0, 1.0)
        rows.append((wanted, min(last[0], cuts[0]), min(last[1], cuts[1])))
    return Calibration(rows)


def _loss(x: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """Fit the expected loss as a rising logistic curve of the score's logit."""
    a, b = 0.5, -1.0
    for _ in range(100):
        p = 1 / (1 + np.exp(-(a * x + b)))
        r, h = weight * (y - p), weight * p * (1 - p) + 1e-12
        grad = np.array([(r * x).sum(), r.sum()])
        hess = np.array([[(h * x * x).sum(), (h * x).sum()], [(h * x).sum(), h.sum()]]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(hess, grad)
        a, b = max(0.05, a + step[0]), b + step[1]
    return float(a), float(b)


def _at(a: float, b: float, loss: float) -> float:
    return float(1 / (1 + np.exp(-(np.log(loss / (1 - loss)) - b) / a)))
