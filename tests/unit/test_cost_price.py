"""The arithmetic of prices: exact, never above the worst case, and invertible."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from farthing.cost import UNLIMITED, ModelPrice, Rates, affordable_output, cost, worst_case
from farthing.cost.price import RATES_PER_NANO, half_even
from farthing.telemetry import Cost, Usage

NANO = RATES_PER_NANO
rate = st.one_of(
    st.integers(0, 100_000).map(lambda nano: nano * NANO),
    st.integers(0, 10**20),
    st.sampled_from([0, NANO // 2, 3 * NANO // 2, 1]),
)
rates = st.builds(Rates, rate, rate, rate, rate, rate, rate)
tokens = st.integers(0, 2_000_000) | st.integers(0, 5)
cuts = st.lists(st.integers(1, 1_000_000) | st.integers(1, 5), unique=True, max_size=3).map(sorted)


@st.composite
def prices(draw: st.DrawFn) -> ModelPrice:
    starts = [0, *draw(cuts)]
    return ModelPrice("m", tuple((start, draw(rates)) for start in starts))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    size = draw(tokens)
    read = draw(st.integers(0, size))
    write = draw(st.integers(0, size - read))
    output = draw(tokens)
    return Usage(size, output, read, write, draw(st.integers(0, output)))


def flat(**changes: int) -> ModelPrice:
    base = {
        "input": 10,
        "output": 50,
        "cache_read": 1,
        "cache_write": 12,
        "cache_write_1h": 20,
        "reasoning": 50,
    }
    return ModelPrice(
        "m", ((0, Rates(**{name: value * NANO for name, value in {**base, **changes}.items()})),)
    )


def test_each_component_is_priced_by_itself() -> None:
    usage = Usage(input_tokens=1000, output_tokens=100, cache_read=300, cache_write=200, reasoning=40)
    assert cost(flat(), usage) == Cost(input=5000, output=5000, cache_read=300, cache_write=2400)
    assert cost(flat(reasoning=70), usage).output == 60 * 50 + 40 * 70
    assert cost(flat(), replace(usage, cache_write_1h=50)).cache_write == 150 * 12 + 50 * 20


def test_inconsistent_usage_is_never_negative() -> None:
    assert cost(flat(), Usage(10, -5, 30, 20, 9)) == Cost(input=0, output=0, cache_read=30, cache_write=240)
    assert cost(flat(), Usage(-1, 0)) == Cost(0, 0, 0, 0)


def test_beyond_a_threshold_the_whole_call_is_dearer() -> None:
    low, high = flat().tiers[0][1], flat(input=20, output=75).tiers[0][1]
    price = ModelPrice("m", ((0, low), (200_001, high)))
    assert cost(price, Usage(200_000, 10)).total == 200_000 * 10 + 10 * 50
    assert cost(price, Usage(200_001, 10)).total == 200_001 * 20 + 10 * 75
    assert worst_case(price, 200_000, 10, one_hour_cache=False) == 200_000 * 12 + 10 * 50
    assert worst_case(price, 200_001, 10, one_hour_cache=False) == 200_001 * 20 + 10 * 75


def test_worst_case_includes_the_premium_of_cache_writes() -> None:
    assert worst_case(flat(), 100, 10) == 100 * 20 + 10 * 50
    assert worst_case(flat(), 100, 10, one_hour_cache=False) == 100 * 12 + 10 * 50
    assert worst_case(flat(reasoning=80), 0, 10) == 800


def test_the_worst_case_covers_four_components_rounded_up() -> None:
    half = 7 * NANO // 2
    price = ModelPrice("m", ((0, Rates(half, half, half, half, half, half)),))
    bill = cost(price, Usage(input_tokens=3, output_tokens=1, cache_read=1, cache_write=1))
    assert (bill.total, 4 * half // NANO) == (16, 14)
    assert worst_case(price, 3, 1) == 16
    assert affordable_output(price, 3, 16) == 1
    assert affordable_output(price, 3, 15) == 0


def test_free_is_free_and_unlimited() -> None:
    free = ModelPrice("m", ((0, Rates(0, 0, 0, 0, 0, 0)),))
    assert worst_case(free, 10**6, 10**6) == 0
    assert affordable_output(free, 10**6, 0) == UNLIMITED


def test_what_does_not_fit_affords_nothing() -> None:
    assert affordable_output(flat(), 100, 1999) == 0
    assert affordable_output(flat(), 100, 2000) == 0
    assert affordable_output(flat(), 100, 2050) == 1


@pytest.mark.parametrize(
    ("n", "d", "expected"), [(5, 2, 2), (7, 2, 4), (3, 2, 2), (1, 2, 0), (8, 3, 3), (7, 3, 2)]
)
def test_half_even(n: int, d: int, expected: int) -> None:
    assert half_even(n, d) == expected


@given(prices(), usages())
def test_cost_is_exact_to_one_rounding_per_component(price: ModelPrice, usage: Usage) -> None:
    at = price.rates_at(usage.input_tokens)
    bill = cost(price, usage)

    def exact(*terms: tuple[int, int]) -> int:
        return round(sum((Fraction(count * per, NANO) for count, per in terms), Fraction(0)))

    assert bill.input == exact((usage.input_tokens - usage.cache_read - usage.cache_write, at.input))
    assert bill.cache_read == exact((usage.cache_read, at.cache_read))
    assert bill.cache_write == exact((usage.cache_write, at.cache_write))
    assert bill.output == exact(
        (usage.output_tokens - usage.reasoning, at.output), (usage.reasoning, at.reasoning)
    )


@given(prices(), usages(), tokens, tokens, st.data())
def test_cost_never_exceeds_the_worst_case_of_its_bounds(
    price: ModelPrice, usage: Usage, more_input: int, more_output: int, data: st.DataObject
) -> None:
    bounds = usage.input_tokens + more_input, usage.output_tokens + more_output
    assert cost(price, usage).total <= worst_case(price, *bounds, one_hour_cache=False)
    long_write = data.draw(st.integers(0, usage.cache_write))
    assert cost(price, replace(usage, cache_write_1h=long_write)).total <= worst_case(price, *bounds)


@given(rates, usages(), tokens, st.sampled_from(["input", "output", "read", "write", "reasoning"]))
def test_more_tokens_never_cost_less(rates: Rates, usage: Usage, more: int, where: str) -> None:
    price = ModelPrice("m", ((0, rates),))
    grown = {
        "input": Usage(
            usage.input_tokens + more,
            usage.output_tokens,
            usage.cache_read,
            usage.cache_write,
            usage.reasoning,
        ),
        "output": Usage(
            usage.input_tokens,
            usage.output_tokens + more,
            usage.cache_read,
            usage.cache_write,
            usage.reasoning,
        ),
        "read": Usage(
            usage.input_tokens + more,
            usage.output_tokens,
            usage.cache_read + more,
            usage.cache_write,
            usage.reasoning,
        ),
        "write": Usage(
            usage.input_tokens + more,
            usage.output_tokens,
            usage.cache_read,
            usage.cache_write + more,
            usage.reasoning,
        ),
        "reasoning": Usage(
            usage.input_tokens,
            usage.output_tokens + more,
            usage.cache_read,
            usage.cache_write,
            usage.reasoning + more,
        ),
    }[where]
    assert cost(price, grown).total >= cost(price, usage).total


@given(prices(), tokens, tokens, tokens, tokens, st.booleans())
def test_the_worst_case_grows_with_its_bounds(
    price: ModelPrice, size: int, output: int, more_input: int, more_output: int, hour: bool
) -> None:
    small = worst_case(price, size, output, one_hour_cache=hour)
    assert worst_case(price, size + more_input, output + more_output, one_hour_cache=hour) >= small


@settings(max_examples=300)
@given(prices(), tokens, st.integers(0, 10**13) | st.integers(0, 100), st.booleans())
def test_the_affordable_output_fits_and_one_more_does_not(
    price: ModelPrice, size: int, amount: int, hour: bool
) -> None:
    assume(worst_case(price, size, 0, one_hour_cache=hour) <= amount)
    output = affordable_output(price, size, amount, one_hour_cache=hour)
    assert worst_case(price, size, output, one_hour_cache=hour) <= amount
    if output < UNLIMITED:
        assert worst_case(price, size, output + 1, one_hour_cache=hour) > amount
