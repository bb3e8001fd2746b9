"""Money as integer nano-dollars (10⁻⁹ USD), and its one way in and out of decimal text.

No float ever holds money: a sum of floats drifts, a sum of integers does not.
"""

from decimal import ROUND_HALF_EVEN, Decimal

NANO_PER_USD = 1_000_000_000


def nano_from_usd(usd: Decimal | str | int) -> int:
    """Return an amount in USD as integer nano-dollars, rounded half to even.

    Raises ``decimal.InvalidOperation`` if ``usd`` is text that is no number.
    """
    return int((Decimal(usd) * NANO_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def usd_text(nano: int) -> str:
    """Return nano-dollars as exact decimal USD text with nine decimals, such as ``0.001250000``."""
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    return f"{sign}{nano // NANO_PER_USD}.{nano % NANO_PER_USD:09d}"


def credits_text(nano: int, nano_per_credit: int) -> str:
    """Return nano-dollars in credits at a rate of ``nano_per_credit``, with three decimals."""
    return f"{Decimal(nano) / Decimal(nano_per_credit):.3f}"
