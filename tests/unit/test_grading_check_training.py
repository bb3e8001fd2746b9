"""How the learned check is fitted, on made-up figures."""

import numpy as np

from bench.routing.check_stumps import fit
from farthing.grading.check.features import NAMES

FALSE_SUMS, HEDGES = NAMES.index("false_sums"), NAMES.index("hedges")


def made_up(seed: int, base: float) -> tuple[np.ndarray, np.ndarray]:
    """Answers that false sums make wrong; without any, they are right at the rate ``base``."""
    random = np.random.default_rng(seed)
    rows = np.zeros((600, len(NAMES)))
    rows[:, FALSE_SUMS] = random.random(600) < 0.3
    rows[:, HEDGES] = random.random(600) < 0.5
    right = random.random(600) < base * np.where(rows[:, FALSE_SUMS] > 0, 0.3, 1.0)
    return rows, right


def test_the_fit_finds_what_tells_and_is_the_same_every_time() -> None:
    rows, right = made_up(1, 0.9)
    ones, zeros = np.ones(600), np.zeros(600)
    model = fit(rows, right, ones, zeros, {})
    assert model == fit(rows, right, ones, zeros, {})
    cuts, values = model.shapes["false_sums"]
    assert cuts == [0.5]
    assert values[0] - values[1] > 1
    low, high = model.shapes.get("hedges", ([], [0.0, 0.0]))[1]
    assert abs(low - high) < 0.3


def test_a_feature_that_may_only_hurt_never_helps() -> None:
    rows, right = made_up(2, 0.9)
    model = fit(rows, ~right, np.ones(600), np.zeros(600), {"false_sums": -1})
    assert "false_sums" not in model.shapes or np.ptp(model.shapes["false_sums"][1]) == 0


def test_the_offset_takes_up_how_good_a_model_is() -> None:
    """The weaker model hedges always, the better one never: hedging tells the model, not the answer."""
    rows, right = map(np.concatenate, zip(made_up(3, 0.9), made_up(4, 0.5), strict=True))
    rows[:, HEDGES] = np.repeat([0.0, 1.0], 600)
    rates = np.repeat([right[:600].mean(), right[600:].mean()], 600)
    with_offset = fit(rows, right, np.ones(1200), np.log(rates / (1 - rates)), {})
    without = fit(rows, right, np.ones(1200), np.zeros(1200), {})
    told, left = (np.ptp(model.shapes.get("hedges", ([], [0.0]))[1]) for model in (without, with_offset))
    assert told > 1
    assert left < 0.4 * told
