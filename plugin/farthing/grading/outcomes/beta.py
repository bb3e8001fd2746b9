"""The Beta distribution: how sure a number of good and bad outcomes makes us of a rate."""

import math

_TINY = 1e-300
_PRECISION = 1e-13
_MAX_STEPS = 500


def probability_below(rate: float, good: float, bad: float) -> float:
    """Return the probability that the true share of good outcomes lies below ``rate``.

    After ``good`` and ``bad`` outcomes (weights, not only whole numbers) and Laplace's uniform prior that
    share is distributed as Beta(1 + good, 1 + bad) (Gelman et al., Bayesian Data Analysis, 3rd ed., 2.1), so
    this is the regularised incomplete beta function I_rate(1 + good, 1 + bad). A quantile of the share lies
    below ``rate`` exactly if this exceeds the quantile's level, which saves inverting it.

    Raises ValueError unless 0 <= rate <= 1 and both counts are >= 0.
    """
    if not 0 <= rate <= 1 or not good >= 0 or not bad >= 0:
        raise ValueError(f"need 0 <= rate ({rate}) <= 1 and counts ({good}, {bad}) >= 0")
    if rate in (0.0, 1.0):
        return rate
    a, b = 1 + good, 1 + bad
    # The fraction converges fast up to about the mean; beyond it, DLMF 8.17.4: I_x(a, b) = 1 - I_1-x(b, a).
    if rate <= (a + 1) / (a + b + 2):
        return _incomplete_beta(rate, a, b)
    return 1 - _incomplete_beta(1 - rate, b, a)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b) by the continued fraction DLMF 8.17.22 (https://dlmf.nist.gov/8.17.v), Lentz's method.

    Within 1e-10 of exact for a and b up to 1000.
    """
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    c, d = 1.0, 1.0 / _away_from_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _MAX_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / _away_from_zero(1 + even * d)
        c = _away_from_zero(1 + even / c)
        fraction *= c * d
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _away_from_zero(1 + odd * d)
        c = _away_from_zero(1 + odd / c)
        fraction *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return math.exp(log_front) * fraction / a


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
