"""A hold covers the worst case, and a cap is put on whoever set none: the property first."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.cost import PriceBook
from farthing.credits import Balance, InsufficientCreditsError, Payer, Standing, StoreError
from farthing.credits.holding import SMALLEST_ANSWER, hold_worst_case
from farthing.credits.sqlite import SQLiteCreditStore
from farthing.settings import Credits
from farthing.telemetry import Account, Usage

ADA = Payer(Account("k", "ada", "research", "CC-1"))
PRICES = PriceBook()
GPT5 = PRICES.price("gpt-5")
FREE = PRICES.price("own", {"input_cost_per_token": 0, "output_cost_per_token": 0})
SETTINGS = Credits(max_output_tokens=4096)


async def hold(store, hold_id="h", price=GPT5, **more):
    options = {"input_tokens": 100, "output_cap": None, "answers": 1} | more
    return await hold_worst_case(store, PRICES, SETTINGS, hold_id, ADA, price, **options)


@settings(max_examples=60, deadline=None)
@given(
    balance=st.integers(0, 10**9),
    sent=st.integers(0, 50_000),
    wanted=st.none() | st.integers(1, 200_000),
    answers=st.integers(1, 4),
    share=st.floats(0, 1),
)
def test_a_hold_covers_any_usage_within_the_cap(tmp_path_factory, balance, sent, wanted, answers, share):
    async def story():
        store = SQLiteCreditStore(tmp_path_factory.mktemp("credits") / "c.db")
        await store.grant("g", ADA.user_id, balance)
        try:
            held = await hold(store, input_tokens=sent, output_cap=wanted, answers=answers)
        except InsufficientCreditsError:
            least = max(wanted or 0, SMALLEST_ANSWER)
            assert PRICES.worst_case(GPT5, sent, answers * least) > balance, "it could have been paid"
            return
        finally:
            after = (await store.standing(ADA)).balance
            await store.close()
        assert after.held == held.amount <= balance
        cap = held.output_cap or wanted
        used = Usage(sent, int(cap * answers * share))
        assert PRICES.cost(GPT5, used).total <= held.amount
        assert (held.output_cap is None) == (wanted is not None), "a cap only for who set none"

    asyncio.run(story())


async def test_two_who_set_no_cap_share_what_is_left(tmp_path):
    store = SQLiteCreditStore(tmp_path / "c.db")
    await store.grant("g", ADA.user_id, 10_000_000)  # about 1000 tokens of output
    first = await hold(store, "a")
    assert SMALLEST_ANSWER <= first.output_cap < 1000
    with pytest.raises(InsufficientCreditsError):
        await hold(store, "b")


async def test_a_free_call_holds_nothing_and_is_never_capped(tmp_path):
    store = SQLiteCreditStore(tmp_path / "c.db")
    held = await hold(store, price=FREE)
    assert (held.amount, held.output_cap) == (0, None)


class Broken:
    async def hold(self, *_):
        raise StoreError("disk full")


async def test_a_store_that_fails_denies_what_costs_money_and_lets_the_free_pass():
    with pytest.raises(StoreError):
        await hold(Broken())
    assert (await hold(Broken(), price=FREE)).amount == 0


async def test_a_store_that_fails_lets_all_pass_if_told_so():
    allow = Credits(on_store_failure="allow")
    held = await hold_worst_case(
        Broken(), PRICES, allow, "h", ADA, GPT5, input_tokens=1, output_cap=None, answers=1
    )
    assert held.amount == 0
    assert held.output_cap == allow.max_output_tokens


class Racing:
    """A store in which somebody else always takes the money between the look and the hold."""

    def __init__(self):
        self.asked = []

    async def hold(self, hold_id, payer, amount, ttl_s):
        self.asked.append(amount)
        left = Standing(Balance(payer.user_id), amount - 1, payer.user_id)
        raise InsufficientCreditsError(payer, amount, left)


async def test_it_gives_up_on_a_balance_that_keeps_melting():
    store = Racing()
    with pytest.raises(InsufficientCreditsError):
        await hold(store)
    assert len(store.asked) == 3
    assert store.asked == sorted(store.asked, reverse=True)
