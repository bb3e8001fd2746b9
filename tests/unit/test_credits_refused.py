"""What is no money, whose ids are whose, and what no total can hold. Runs on each backend."""

import pytest

from farthing.credits import StoreError
from farthing.credits.store import MAX_AMOUNT, CallNote, Payer, RunCaps
from farthing.telemetry import Account
from tests.unit.credit_backends import ANA, BEN, available, give, money

# What is no money, and who is nobody


@pytest.mark.parametrize("amount", [-1, 1.5, True, "7", None, float("nan"), MAX_AMOUNT + 1])
async def test_an_amount_that_is_no_money_is_refused(store, amount):
    await give(store)
    before = await store.balances()
    steps = [
        store.grant("g2", "user:ana", amount),
        store.hold("h1", ANA, amount, 60),
        store.settle("h2", ANA, amount),
    ]
    if amount is not None:
        steps += [store.plan("user:ana", amount, 0), store.plan("user:ana", 100, amount)]
    for step in steps:
        with pytest.raises(ValueError, match="whole nano-dollars"):
            await step
    assert await store.balances() == before
    assert await store.unsettled(["h1", "h2"]) == {"h1", "h2"}


async def test_an_empty_id_is_refused(store):
    for step in (
        store.grant("", "user:ana", 1),
        store.grant("g", "", 1),
        store.plan("", 1),
        store.unlimit(""),
        store.hold("", ANA, 1, 60),
        store.settle("", ANA, 1),
        store.release(""),
        store.enter(ANA, RunCaps(), "mark"),
        store.cap_run("", steps=1, cost=1, actor="root"),
        store.stop_run("", actor="root"),
        store.draw("", 1, share=0.5, burst_ms=10),
    ):
        with pytest.raises(ValueError, match=r"id|session"):
            await step
    assert await store.balances() == []


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
async def test_a_lease_must_be_a_time(store, ttl):
    await give(store)
    with pytest.raises(ValueError, match="seconds"):
        await store.hold("h1", ANA, 1, ttl)
    assert await available(store) == 1000


async def test_nobody_can_hold_or_settle_on_anothers_hold(store):
    await give(store, "ana")
    await give(store, "ben", department="sales")
    await store.hold("h1", ANA, 100, ttl_s=60)
    await store.settle("h2", ANA, 100)
    before = await store.balances()
    for hold_id in ("h1", "h2"):
        with pytest.raises(ValueError, match="belongs to"):
            await store.hold(hold_id, BEN, 100, ttl_s=60)
        with pytest.raises(ValueError, match="belongs to"):
            await store.settle(hold_id, BEN, 100)
    assert await store.balances() == before
    assert (await store.settle("h1", ANA, 100)).overdraft == 0


@pytest.mark.parametrize(
    "name", ["a:b", "user:ana", "ä ö", "{x}", "a*[b]?", "%", "'; DROP TABLE", "🙂", "a\nb", "x" * 500]
)
async def test_names_are_only_names(store, name):
    who = Payer(Account(f"{name}k", name, f"{name}d", ""), f"{name}s")
    await give(store)
    await store.grant(name, f"user:{name}", 100, department=f"{name}d")
    await store.enter(who, RunCaps(), name)
    await store.hold(name, who, 60, ttl_s=60)
    await store.settle(name, who, 50, CallNote(name, name, name, name))
    (balance,) = await store.balances([f"user:{name}"])
    assert (balance.name, balance.department, balance.available) == (name, f"{name}d", 50)
    (call,) = await store.calls(name)
    assert (call.id, call.session_id, call.note.model) == (name, f"{name}s", name)
    (spent,) = await store.spending(f"department:{name}d", "2027-01-01", "2027-01-31")
    assert (spent.tier, spent.settled) == (name, 50)
    (run,) = await store.runs(since_ms=0, user=name)
    assert (run.session_id, run.user, run.marks) == (f"{name}s", name, (name,))
    assert await available(store) == 1000


async def test_totals_too_large_to_count_are_an_error_not_a_rounding(store):
    expected = 0
    for number in range(12):
        try:
            await store.settle(f"s{number}", ANA, MAX_AMOUNT)
            expected += MAX_AMOUNT
        except StoreError:
            assert number > 4
        assert await money(store, "user:ana") == (expected, 0)


async def test_sums_beyond_a_doubles_precision_stay_exact(store):
    odd = 2**53 + 1
    await give(store, amount=MAX_AMOUNT)
    await store.hold("h1", ANA, odd, ttl_s=60)
    assert await available(store) == MAX_AMOUNT - odd
    await store.settle("h1", ANA, odd - 2)
    await store.settle("h2", ANA, 1)
    assert await available(store) == MAX_AMOUNT - odd + 1
    (spent,) = await store.spending("user:ana", "2027-01-01", "2027-01-31")
    assert spent.settled == odd - 1
