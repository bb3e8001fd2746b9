"""What every credit store promises, told as stories. Runs on each backend."""

import asyncio

import pytest

from farthing.credits import Balance, InsufficientCreditsError, StoreError, open_store
from farthing.credits.store import MAX_AMOUNT
from tests.unit.credit_backends import BACKENDS, Clock, account

ANA, BEN = account("ana"), account("ben", "sales")


@pytest.fixture(params=sorted(BACKENDS))
def url(request, tmp_path):
    return BACKENDS[request.param](tmp_path)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(url, clock):
    opened = open_store(url, clock=clock)
    yield opened
    assert await opened.verify() == []
    await opened.close()


async def test_a_hold_reserves_and_settling_takes_the_real_cost(store):
    await store.grant("g1", ANA, 1000)
    held = await store.hold("h1", ANA, 600, ttl_s=60)
    assert held == Balance("ana", "research", granted=1000, settled=0, held=600)
    assert held.available == 400
    settled = await store.settle("h1", ANA, 250)
    assert settled == Balance("ana", "research", granted=1000, settled=250, held=0)
    assert settled == await store.balance(ANA)


async def test_a_hold_beyond_the_balance_is_refused_and_takes_nothing(store):
    await store.grant("g1", ANA, 1000)
    await store.hold("h1", ANA, 600, ttl_s=60)
    with pytest.raises(InsufficientCreditsError) as refused:
        await store.hold("h2", ANA, 401, ttl_s=60)
    assert (refused.value.asked, refused.value.available) == (401, 400)
    assert (await store.balance(ANA)).held == 600
    await store.hold("h2", ANA, 400, ttl_s=60)  # the refused id is free to try again
    assert (await store.balance(ANA)).available == 0


async def test_a_free_call_is_held_even_with_an_empty_balance(store):
    await store.grant("g1", ANA, 10)
    await store.settle("over", ANA, 25)
    assert (await store.hold("free", ANA, 0, ttl_s=60)).available == -15
    with pytest.raises(InsufficientCreditsError):
        await store.hold("paid", ANA, 1, ttl_s=60)


async def test_every_event_counts_once_however_often_it_is_reported(store):
    for _ in range(3):
        await store.grant("g1", ANA, 1000)
    for _ in range(3):
        await store.hold("h1", ANA, 100, ttl_s=60)
    assert (await store.balance(ANA)).held == 100
    for amount in (70, 70, 99):
        await store.settle("h1", ANA, amount)
    assert await store.balance(ANA) == Balance("ana", "research", 1000, settled=70, held=0)
    await store.release("h1")
    await store.hold("h1", ANA, 100, ttl_s=60)
    assert await store.balance(ANA) == Balance("ana", "research", 1000, settled=70, held=0)


async def test_a_released_hold_gives_everything_back_once(store):
    await store.grant("g1", ANA, 1000)
    await store.hold("h1", ANA, 600, ttl_s=60)
    await store.hold("h2", ANA, 100, ttl_s=60)
    await store.release("h1")
    await store.release("h1")
    await store.release("never-held")
    assert (await store.balance(ANA)).held == 100


async def test_money_spent_after_a_release_is_still_recorded(store):
    await store.grant("g1", ANA, 1000)
    await store.hold("h1", ANA, 600, ttl_s=60)
    await store.release("h1")
    assert (await store.settle("h1", ANA, 30)).settled == 30


async def test_an_unsettled_hold_expires_and_late_spending_is_still_recorded(store, clock):
    await store.grant("g1", ANA, 1000)
    await store.hold("h1", ANA, 1000, ttl_s=60)
    clock.now += 59.5
    with pytest.raises(InsufficientCreditsError):
        await store.hold("h2", ANA, 1, ttl_s=60)
    clock.now += 1
    assert (await store.hold("h2", ANA, 900, ttl_s=60)).available == 100
    late = await store.settle("h1", ANA, 700)
    assert (late.settled, late.held, late.available) == (700, 900, -600)


@pytest.mark.parametrize("look", ["balance", "balances"])
async def test_looking_at_a_balance_expires_what_is_overdue(store, clock, look):
    await store.grant("g1", ANA, 1000)
    await store.hold("h1", ANA, 400, ttl_s=60)
    clock.now += 61
    seen = await store.balance(ANA) if look == "balance" else (await store.balances())[0]
    assert (seen.held, seen.available) == (0, 1000)
    await store.release("h1")
    assert (await store.balance(ANA)).held == 0


async def test_spending_without_any_hold_is_recorded(store):
    assert await store.settle("lost", BEN, 42) == Balance("ben", "sales", 0, settled=42, held=0)
    assert (await store.hold("lost", BEN, 0, ttl_s=60)).held == 0
    assert sum(balance.settled for balance in await store.balances()) == 42


async def test_grants_can_be_changed_moved_and_revoked(store):
    await store.grant("ring:a", ANA, 1000)
    await store.grant("ring:b", ANA, 50)
    await store.grant("ring:%", ANA, 5)
    await store.grant("gift:a", ANA, 7)
    await store.grant("ring:a", ANA, 400)
    assert (await store.balance(ANA)).granted == 462
    await store.grant("ring:b", BEN, 60)
    assert (await store.balance(ANA)).granted == 412
    assert (await store.balance(BEN)).granted == 60
    await store.revoke_grants("ring:%", set())  # a prefix is text, not a pattern
    assert (await store.balance(ANA)).granted == 407
    await store.revoke_grants("ring:", {"ring:b"})
    assert (await store.balance(ANA)).granted == 7
    assert (await store.balance(BEN)).granted == 60


async def test_a_lowered_grant_stops_new_holds_and_spares_the_old(store):
    await store.grant("g1", ANA, 1000)
    await store.hold("h1", ANA, 900, ttl_s=60)
    await store.grant("g1", ANA, 100)
    assert (await store.balance(ANA)).available == -800
    with pytest.raises(InsufficientCreditsError):
        await store.hold("h2", ANA, 1, ttl_s=60)
    assert (await store.settle("h1", ANA, 900)).settled == 900


async def test_balances_are_sorted_and_follow_the_department(store):
    await store.grant("1", account("zoe", "sales"), 1)
    await store.grant("2", account("ben", "sales"), 2)
    await store.grant("3", account("ana", "sales"), 3)
    await store.hold("h", account("zoe", "legal"), 1, ttl_s=60)
    seen = [(balance.department, balance.user) for balance in await store.balances()]
    assert seen == [("legal", "zoe"), ("sales", "ana"), ("sales", "ben")]


async def test_asking_after_a_stranger_does_not_make_them_known(store):
    assert await store.balance(BEN) == Balance("ben", "sales", 0, 0, 0)
    assert await store.balances() == []


@pytest.mark.parametrize("amount", [-1, 1.5, True, "7", None, MAX_AMOUNT + 1])
async def test_an_amount_that_is_no_money_is_refused(store, amount):
    await store.grant("g1", ANA, 1000)
    for step in (
        store.grant("g2", ANA, amount),
        store.hold("h1", ANA, amount, 60),
        store.settle("h2", ANA, amount),
    ):
        with pytest.raises(ValueError, match="whole nano-dollars"):
            await step
    assert await store.balances() == [Balance("ana", "research", 1000, 0, 0)]


async def test_nobody_can_hold_or_settle_on_anothers_hold(store):
    await store.grant("a", ANA, 1000)
    await store.grant("b", BEN, 1000)
    await store.hold("h1", ANA, 100, ttl_s=60)
    before = await store.balances()
    with pytest.raises(ValueError, match="belongs to user 'ana'"):
        await store.hold("h1", BEN, 100, ttl_s=60)
    with pytest.raises(ValueError, match="belongs to user 'ana'"):
        await store.settle("h1", BEN, 100)
    assert await store.balances() == before


async def test_totals_too_large_to_count_are_an_error_not_a_rounding(store):
    for number in range(9):
        await store.settle(f"s{number}", ANA, MAX_AMOUNT)
    before = await store.balance(ANA)
    with pytest.raises(StoreError):
        await store.settle("s9", ANA, MAX_AMOUNT)
    assert await store.balance(ANA) == before


async def test_a_store_opened_again_remembers(url, clock):
    first = open_store(url, clock=clock)
    await first.grant("g1", ANA, 1000)
    await first.hold("h1", ANA, 100, ttl_s=60)
    await first.settle("h2", ANA, 7)
    await first.close()
    again = open_store(url, clock=clock)
    assert await again.balance(ANA) == Balance("ana", "research", 1000, settled=7, held=100)
    assert await again.verify() == []
    await again.close()


async def test_two_open_stores_share_one_balance(store, url, clock):
    other = open_store(url, clock=clock)
    await store.grant("g1", ANA, 1000)
    await other.hold("h1", ANA, 1000, ttl_s=60)
    with pytest.raises(InsufficientCreditsError):
        await store.hold("h2", ANA, 1, ttl_s=60)
    await other.close()


async def test_a_closed_store_says_so(url):
    closed = open_store(url)
    await closed.close()
    await closed.close()
    with pytest.raises(StoreError, match="closed"):
        await closed.hold("h1", ANA, 0, ttl_s=60)


async def test_a_client_who_hangs_up_cannot_take_its_settling_back(store):
    await store.grant("g1", ANA, 10**6)
    settling = [asyncio.create_task(store.settle(f"s{number}", ANA, 10)) for number in range(2000)]
    await asyncio.sleep(0)  # all are asked for; none has been answered on this loop
    for task in settling:
        task.cancel()
    await asyncio.gather(*settling, return_exceptions=True)
    assert (await store.balance(ANA)).settled == 20_000


async def test_a_cancelled_hold_can_be_released(store):
    await store.grant("g1", ANA, 100)
    holding = asyncio.create_task(store.hold("h1", ANA, 100, ttl_s=60))
    await asyncio.sleep(0)
    holding.cancel()
    await store.release("h1")
    assert (await store.balance(ANA)).available == 100


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "mysql:///x", "credits.db"])
def test_an_unknown_store_url_is_refused(url):
    with pytest.raises(ValueError, match="not a store URL"):
        open_store(url)
