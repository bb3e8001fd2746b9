"""A model's price, and the arithmetic of it: exact integers, rounded once per component.

A rate is an integer of 10⁻¹⁵ nano-dollars (10⁻²⁴ USD) per token, so that list prices such as
1.25e-06 USD, and prices a thousand million times finer, are held exactly.
"""

from dataclasses import dataclass, field
from typing import Literal

from farthing.telemetry import Cost, Usage

RATES_PER_NANO = 10**15
"""Units of a rate in one nano-dollar."""
UNLIMITED = 2**31 - 1
"""What `affordable_output` answers where output is free."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices per token of one range of input sizes, in 10⁻¹⁵ nano-dollars."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    """Input written to a cache that lives one hour (Anthropic)."""
    reasoning: int

    @property
    def dearest_output(self) -> int:
        """The most an output token may cost."""
        return max(self.output, self.reasoning)

    def dearest_input(self, one_hour_cache: bool) -> int:
        """The most an input token may cost, a cache write's premium included."""
        rates = (self.input, self.cache_read, self.cache_write)
        return max(*rates, self.cache_write_1h) if one_hour_cache else max(rates)


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """What a model costs per token.

    ``tiers`` are ``(from_tokens, rates)``, ascending from 0: the whole call is priced at the last tier
    whose ``from_tokens`` its input reaches. ``version`` names the data the price was taken from and goes
    on each charge. ``source`` says who is paid. The limits are None where unknown.
    """

    model: str
    tiers: tuple[tuple[int, Rates], ...]
    provider: str = ""
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    source: Literal["provider", "local"] = "provider"
    version: str = ""
    _whole: bool = field(init=False, repr=False, compare=False, default=True)

    def __post_init__(self) -> None:
        rates = [
            rate
            for _, tier in self.tiers
            for rate in (
                tier.input,
                tier.output,
                tier.cache_read,
                tier.cache_write,
                tier.cache_write_1h,
                tier.reasoning,
            )
        ]
        object.__setattr__(self, "_whole", all(rate % RATES_PER_NANO == 0 for rate in rates))

    def rates_at(self, input_tokens: int) -> Rates:
        """Return the rates of a call with this many input tokens."""
        return [rates for start, rates in self.tiers if start <= max(0, input_tokens)][-1]

    def rates_up_to(self, input_tokens: int) -> list[Rates]:
        """Return the rates of every tier that a call of at most this many input tokens may fall in."""
        return [rates for start, rates in self.tiers if start <= max(0, input_tokens)]


def half_even(numerator: int, denominator: int) -> int:
    """Return the quotient of two integers (``numerator`` not negative), rounded half to even."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))


def cost(price: ModelPrice, usage: Usage) -> Cost:
    """Return what ``usage`` costs, in nano-dollars, each component rounded half to even once."""
    read, write = max(0, usage.cache_read), max(0, usage.cache_write)
    uncached = max(0, usage.input_tokens - read - write)
    long_write = min(max(0, usage.cache_write_1h), write)
    reasoning = min(max(0, usage.reasoning), max(0, usage.output_tokens))
    spoken = max(0, usage.output_tokens) - reasoning
    rates = price.rates_at(max(usage.input_tokens, read + write))
    return Cost(
        input=half_even(uncached * rates.input, RATES_PER_NANO),
        output=half_even(spoken * rates.output + reasoning * rates.reasoning, RATES_PER_NANO),
        cache_read=half_even(read * rates.cache_read, RATES_PER_NANO),
        cache_write=half_even(
            (write - long_write) * rates.cache_write + long_write * rates.cache_write_1h, RATES_PER_NANO
        ),
    )


def worst_case(
    price: ModelPrice, input_tokens: int, max_output_tokens: int, *, one_hour_cache: bool = True
) -> int:
    """Return the most, in nano-dollars, that a call within these bounds (tokens) can cost, rounded up.

    Every input token is taken at the dearest rate that may apply (uncached, cached, written to a cache),
    in the dearest tier that the input may reach. ``one_hour_cache=False``: the caller knows that the
    request writes to no one-hour cache.
    """
    used = max(0, input_tokens), max(0, max_output_tokens)
    asked = _input_worst(price, used[0], one_hour_cache) + used[1] * _output_rate(price, used[0])
    return -(-(asked + _slack(price, *used)) // RATES_PER_NANO)


def affordable_output(
    price: ModelPrice, input_tokens: int, amount: int, *, one_hour_cache: bool = True
) -> int:
    """Return the largest output (tokens) whose `worst_case` fits in ``amount`` nano-dollars.

    0 if not even the input fits; UNLIMITED if output is free and the input fits.
    """
    used = max(0, input_tokens)
    left = amount * RATES_PER_NANO - _input_worst(price, used, one_hour_cache) - _slack(price, used, 1)
    rate = _output_rate(price, used)
    if left < 0:
        return 0
    return min(left // rate, UNLIMITED) if rate else UNLIMITED


def _input_worst(price: ModelPrice, input_tokens: int, one_hour_cache: bool) -> int:
    reachable = price.rates_up_to(input_tokens)
    return input_tokens * max(rates.dearest_input(one_hour_cache) for rates in reachable)


def _output_rate(price: ModelPrice, input_tokens: int) -> int:
    return max(rates.dearest_output for rates in price.rates_up_to(input_tokens))


def _slack(price: ModelPrice, input_tokens: int, output_tokens: int) -> int:
    """Half a nano-dollar for every component that rounding may lift: three of input, one of output.

    Nothing where all rates are whole nano-dollars, as they are for most models: nothing is rounded.
    """
    if price._whole:
        return 0
    return (min(input_tokens, 3) + min(output_tokens, 1)) * (RATES_PER_NANO // 2)
