"""What every credit store promises about holding and settling, told as stories. Runs on each backend."""

import asyncio

import pytest

from farthing.credits import InsufficientCreditsError, StoreError, open_store
from farthing.credits.account import ORGANISATION
from farthing.credits.store import Balance
from tests.unit.credit_backends import ANA, BEN, CHAIN, Clock, available, give, money, payer

# The way of a hold


async def test_a_hold_reserves_and_settling_takes_the_real_cost(store):
    await give(store)
    held = await store.hold("h1", ANA, 600, ttl_s=60)
    assert held.balance == Balance("user:ana", "research", granted=1000, held=600)
    assert (held.available, held.short) == (400, "user:ana")
    settled = await store.settle("h1", ANA, 250)
    assert settled.standing.balance == Balance("user:ana", "research", granted=1000, settled=250)
    assert (settled.overdraft, settled.again) == (0, False)
    assert settled.standing == await store.standing(ANA)


async def test_a_hold_beyond_the_balance_is_refused_and_takes_nothing(store):
    await give(store)
    await store.hold("h1", ANA, 600, ttl_s=60)
    with pytest.raises(InsufficientCreditsError) as refused:
        await store.hold("h2", ANA, 401, ttl_s=60)
    error = refused.value
    assert (error.asked, error.available, error.standing.short) == (401, 400, "user:ana")
    assert error.payer == ANA
    assert (await store.standing(ANA)).balance.held == 600
    await store.hold("h2", ANA, 400, ttl_s=60)  # the refused id is free to try again
    assert await available(store) == 0


async def test_a_free_call_is_held_even_with_an_empty_balance(store):
    await give(store, amount=10)
    await store.settle("over", ANA, 25)
    assert (await store.hold("free", ANA, 0, ttl_s=60)).available == -15
    with pytest.raises(InsufficientCreditsError):
        await store.hold("paid", ANA, 1, ttl_s=60)


async def test_every_event_counts_once_however_often_it_is_reported(store):
    for _ in range(3):
        await give(store)
    for amount in (100, 100, 300):
        standing = await store.hold("h1", ANA, amount, ttl_s=60)
    assert standing.balance.held == 100
    first, *more = [await store.settle("h1", ANA, amount) for amount in (70, 70, 99)]
    assert [first.again, *(again.again for again in more)] == [False, True, True]
    assert [again.crossed for again in more] == [(), ()]
    await store.release("h1")
    await store.hold("h1", ANA, 100, ttl_s=60)
    for account in CHAIN.values():
        assert await money(store, account) == (70, 0)
    (spent,) = await store.spending("user:ana", "2027-01-01", "2027-01-31")
    assert (spent.settled, spent.calls) == (70, 1)


async def test_a_released_hold_gives_everything_back_once(store):
    await give(store)
    await store.hold("h1", ANA, 600, ttl_s=60)
    await store.hold("h2", ANA, 100, ttl_s=60)
    await store.release("h1")
    await store.release("h1")
    for account in CHAIN.values():
        assert await money(store, account) == (0, 100)


async def test_a_hold_that_comes_after_its_release_holds_nothing(store):
    await give(store)
    await store.release("h1")  # the release overtook it
    assert (await store.hold("h1", ANA, 600, ttl_s=60)).balance.held == 0
    late = await store.settle("h1", ANA, 30)
    assert (late.standing.balance.settled, late.overdraft) == (30, 30)


async def test_money_spent_after_a_release_is_recorded_as_overdraft(store):
    await give(store)
    await store.hold("h1", ANA, 600, ttl_s=60)
    await store.release("h1")
    late = await store.settle("h1", ANA, 30)
    assert (late.standing.balance.settled, late.overdraft, late.standing.balance.overdraft) == (30, 30, 30)


async def test_what_a_hold_did_not_cover_is_its_overdraft(store):
    await give(store)
    await store.hold("h1", ANA, 50, ttl_s=60)
    assert (await store.settle("h1", ANA, 65)).overdraft == 15
    await store.hold("h2", ANA, 50, ttl_s=60)
    assert (await store.settle("h2", ANA, 50)).overdraft == 0
    assert (await store.settle("lost", ANA, 10)).overdraft == 10
    for account in CHAIN.values():
        (balance,) = await store.balances([account])
        assert (balance.settled, balance.overdraft) == (125, 25)


async def test_nobody_known_may_still_have_spent(store):
    late = await store.settle("lost", BEN, 42)
    assert late.standing.balance == Balance("user:ben", "sales", settled=42, overdraft=42)
    assert (await store.hold("lost", BEN, 0, ttl_s=60)).balance.held == 0
    assert await money(store, ORGANISATION) == (42, 0)


# Leases


async def test_an_unsettled_hold_expires_and_late_spending_is_an_overdraft(store, clock):
    await give(store)
    await store.hold("h1", ANA, 1000, ttl_s=60)
    clock.now += 59.5
    with pytest.raises(InsufficientCreditsError):
        await store.hold("h2", ANA, 1, ttl_s=60)
    clock.now += 1
    assert (await store.hold("h2", ANA, 900, ttl_s=60)).available == 100
    late = await store.settle("h1", ANA, 700)
    balance = late.standing.balance
    assert (balance.settled, balance.held, balance.available, late.overdraft) == (700, 900, -600, 700)


async def test_a_lease_that_ran_out_unseen_covers_nothing_either(store, clock):
    await give(store)
    await store.hold("h1", ANA, 50, ttl_s=5)
    clock.now += 6
    assert (await store.settle("h1", ANA, 30)).overdraft == 30
    assert await money(store, CHAIN["department"]) == (30, 0)


async def test_looking_expires_what_is_overdue(store, clock):
    await give(store)
    for look in (
        lambda: store.standing(ANA),
        lambda: store.balances(),
        lambda: store.balances([ORGANISATION]),
        lambda: store.runs(since_ms=0),
    ):
        hold_id = f"h{clock.now}"
        await store.hold(hold_id, payer("ana", session="s1"), 400, ttl_s=60)
        clock.now += 61
        await look()
        assert [balance.held for balance in await store.balances()] == [0] * 4
        await store.release(hold_id)
        assert await available(store) == 1000


async def test_a_lease_is_renewed_while_a_call_goes_on(store, clock):
    await give(store)
    await store.hold("h1", ANA, 600, ttl_s=60)
    await store.hold("h2", ANA, 100, ttl_s=60)
    for _ in range(4):
        clock.now += 50
        await store.renew(["h1", "unknown"], ttl_s=60)
    assert await available(store) == 400  # h2 ended long ago
    assert (await store.settle("h1", ANA, 600)).overdraft == 0


async def test_a_renewed_hold_lives_again_if_its_money_is_still_there(store, clock):
    await give(store)
    await store.hold("h1", ANA, 600, ttl_s=60)
    clock.now += 3600  # the machine slept
    assert await available(store) == 1000
    await store.renew(["h1"], ttl_s=60)
    assert await available(store) == 400
    clock.now += 3600
    await store.hold("h2", ANA, 500, ttl_s=60)  # another call was quicker
    await store.renew(["h1"], ttl_s=60)
    assert await available(store) == 500
    assert (await store.settle("h1", ANA, 600)).overdraft == 600


async def test_what_has_ended_is_not_renewed(store, clock):
    await give(store)
    for hold_id in ("settled", "released"):
        await store.hold(hold_id, ANA, 100, ttl_s=60)
    await store.settle("settled", ANA, 70)
    await store.release("released")
    await store.renew(["settled", "released"], ttl_s=60)
    assert await money(store, "user:ana") == (70, 0)


async def test_the_unsettled_are_those_that_no_settlement_is_known_of(store, clock):
    await give(store)
    for hold_id in ("expired", "released", "settled", "live"):
        await store.hold(hold_id, ANA, 10, ttl_s=5 if hold_id == "expired" else 60)
    await store.release("released")
    await store.settle("settled", ANA, 10)
    clock.now += 6
    await store.standing(ANA)
    asked = ["expired", "released", "settled", "live", "unknown"]
    assert await store.unsettled(asked) == {"expired", "released", "live", "unknown"}
    assert await store.unsettled([]) == set()


# Opening, closing, and callers who go away


async def test_a_store_opened_again_remembers(url, clock):
    first = open_store(url, clock=clock)
    await give(first)
    await first.hold("h1", ANA, 100, ttl_s=60)
    await first.settle("h2", ANA, 7)
    await first.close()
    again = open_store(url, clock=clock)
    (balance,) = await again.balances(["user:ana"])
    assert balance == Balance("user:ana", "research", granted=1000, settled=7, held=100, overdraft=7)
    assert await again.verify() == []
    await again.close()


async def test_two_open_stores_share_one_balance(store, url, clock):
    other = open_store(url, clock=clock)
    await give(store)
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
    await give(store, amount=10**6)
    settling = [asyncio.create_task(store.settle(f"s{number}", ANA, 10)) for number in range(500)]
    await asyncio.sleep(0)  # all are asked for; not all have been answered
    for task in settling:
        task.cancel()
    await asyncio.gather(*settling, return_exceptions=True)
    for _ in range(200):
        if (await store.standing(ANA)).balance.settled == 5_000:
            break
        await asyncio.sleep(0.01)
    assert (await store.standing(ANA)).balance.settled == 5_000


async def test_a_cancelled_hold_can_be_released(store):
    await give(store, amount=100)
    holding = asyncio.create_task(store.hold("h1", ANA, 100, ttl_s=60))
    await asyncio.sleep(0)
    holding.cancel()
    await store.release("h1")
    await asyncio.sleep(0.05)
    assert await available(store) == 100


async def test_fifty_at_once_for_five_each_on_a_hundred_are_twenty(store):
    await give(store, amount=100)
    asked = (store.hold(f"h{number}", ANA, 5, ttl_s=60) for number in range(50))
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, InsufficientCreditsError) for one in found) == 30
    assert (await store.standing(ANA)).balance.held == 100


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "mysql:///x", "credits.db", "redis://"])
def test_an_unknown_store_url_is_refused(url):
    with pytest.raises(ValueError, match="not a store URL"):
        open_store(url, clock=Clock())
