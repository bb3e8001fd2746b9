"""A call is held on every account of its branch, or on none; who is told of it. Runs on each backend."""

import pytest

from farthing.credits import InsufficientCreditsError
from farthing.credits.account import ORGANISATION
from farthing.credits.store import Balance, CallNote, Payer, RunCaps
from farthing.telemetry import Account
from tests.unit.credit_backends import ANA, BEN, CHAIN, give, money, payer

# The tree


@pytest.mark.parametrize("short", [*CHAIN, "session"])
async def test_a_call_is_held_on_all_its_accounts_or_on_none(store, short):
    who = payer("ana", session="s1")
    for kind, account in CHAIN.items():
        await store.grant(kind, account, 100 if kind == short else 10_000, department="research", user="ana")
    await store.enter(who, RunCaps(cost=100 if short == "session" else 10_000), "")
    await store.hold("h1", who, 60, ttl_s=60)
    before = await store.balances(), await store.runs(since_ms=0)
    named = CHAIN.get(short, "session:s1")
    with pytest.raises(InsufficientCreditsError) as refused:
        await store.hold("h2", who, 41, ttl_s=60)
    assert (refused.value.standing.short, refused.value.available) == (named, 40)
    assert (await store.balances(), await store.runs(since_ms=0)) == before
    held = await store.hold("h3", who, 40, ttl_s=60)
    assert (held.available, held.short) == (0, named)
    await store.settle("h1", who, 10)
    standing = await store.standing(who)
    assert (standing.available, standing.short) == (50, named)


async def test_the_members_of_a_department_share_its_budget(store):
    for user in ("ana", "eve"):
        await give(store, user)
    await store.grant("budget", "department:research", 1000)
    await store.hold("h1", payer("ana"), 700, ttl_s=60)
    with pytest.raises(InsufficientCreditsError):
        await store.hold("h2", payer("eve"), 301, ttl_s=60)
    assert (await store.hold("h2", payer("eve"), 300, ttl_s=60)).balance.available == 700


async def test_a_call_without_a_key_has_no_keys_account(store):
    await give(store)
    await store.hold("h1", Payer(Account("", "ana", "research", "")), 5, ttl_s=60)
    assert [balance.account for balance in await store.balances()] == [
        ORGANISATION,
        *list(CHAIN.values())[1:3],
    ]


async def test_an_account_without_limit_counts_what_it_spends(store):
    await give(store)
    await store.settle("s", ANA, 30)
    unlimited = [balance for balance in await store.balances() if not balance.limited]
    assert [(balance.kind, balance.name) for balance in unlimited] == [
        ("organisation", ""),
        ("department", "research"),
        ("key", "ana-key"),
    ]
    assert {balance.settled for balance in unlimited} == {30}


async def test_a_hold_ends_on_the_accounts_it_was_held_on(store):
    await give(store)
    await store.grant("budget", "department:research", 1000)
    await store.hold("h1", payer("ana", "research"), 100, ttl_s=60)
    await store.hold("h2", payer("ana", "sales"), 100, ttl_s=60)  # moved while it was under way
    await store.settle("h1", payer("ana", "sales"), 70)
    await store.release("h2")
    departments = {
        balance.name: balance for balance in await store.balances() if balance.kind == "department"
    }
    assert [balance.held for balance in departments.values()] == [0, 0]
    assert sum(balance.settled for balance in departments.values()) == 70
    assert await money(store, ORGANISATION) == (70, 0)


async def test_balances_are_sorted_from_the_root_and_follow_the_department(store):
    for user, department in (("zoe", "sales"), ("ben", "sales"), ("ana", "sales")):
        await give(store, user, department=department)
    await store.hold("h", payer("zoe", "legal"), 1, ttl_s=60)
    seen = [(balance.account, balance.department, balance.user) for balance in await store.balances()]
    assert seen == [
        (ORGANISATION, "", ""),
        ("department:legal", "", ""),
        ("user:zoe", "legal", ""),
        ("user:ana", "sales", ""),
        ("user:ben", "sales", ""),
        ("key:zoe-key", "legal", "zoe"),
    ]
    some = await store.balances(["user:ben", "user:nobody", ORGANISATION])
    assert [balance.account for balance in some] == [ORGANISATION, "user:ben"]


async def test_asking_after_a_stranger_does_not_make_them_known(store):
    standing = await store.standing(BEN)
    assert standing.balance == Balance("user:ben", "sales")
    assert (standing.available, standing.short) == (0, "user:ben")
    assert await store.balances() == []
    assert await store.calls("ben") == []
    assert await store.spending("user:ben", "2027-01-01", "2027-12-31") == []


# Thresholds


async def test_a_threshold_is_told_of_once_for_each_account(store):
    await give(store)
    await store.grant("budget", "department:research", 2000)
    told = []
    for number in range(10):
        done = await store.settle(f"s{number}", ANA, 100)
        told += [
            (crossing.account, crossing.threshold, crossing.spent, crossing.total)
            for crossing in done.crossed
        ]
        assert (await store.settle(f"s{number}", ANA, 100)).crossed == ()
    assert told == [
        ("user:ana", 50, 500, 1000),
        ("user:ana", 80, 800, 1000),
        ("department:research", 50, 1000, 2000),
        ("user:ana", 95, 1000, 1000),
    ]


async def test_thresholds_are_the_callers(store):
    await give(store)
    assert (await store.settle("s1", ANA, 290, CallNote(), (30, 40))).crossed == ()
    (crossing,) = (await store.settle("s2", ANA, 10, CallNote(), (30, 40))).crossed
    assert crossing.threshold == 30
    assert (await store.settle("s3", ANA, 700, CallNote(), ())).crossed == ()
