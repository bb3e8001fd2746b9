"""The roll-forward: every month opens with what the last one closed with."""

from datetime import UTC, datetime

import pytest

from farthing.credits import open_store
from farthing.credits.calendar import Calendar, next_month
from farthing.credits.roll_forward import Roll, roll_forward
from farthing.credits.store import RunCaps
from tests.unit.credit_backends import Clock, payer


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture
def clock():
    clock = Clock()
    clock.now = at("2026-11-10")
    return clock


@pytest.fixture
async def store(url, clock):
    opened = open_store(url, clock=clock, calendar=Calendar("Europe/Berlin"))
    yield opened
    await opened.close()


ADA = payer("ada")


async def test_a_month_adds_up_and_the_next_one_opens_with_what_is_left(store, clock):
    await store.plan("user:ada", 1000, 100, department="research")
    await store.grant("gift", "user:ada", 50, department="research")
    await store.grant("gift", "user:ada", 30, department="research")
    await store.hold("h1", ADA, 400, 600)
    await store.settle("h1", ADA, 450)
    clock.now = at("2026-11-30T22:59")  # still November in Berlin
    await store.settle("late", ADA, 20)
    clock.now += 60
    await store.hold("h2", ADA, 300, 600)
    (november,) = await roll_forward(store, "2026-11", "user:ada")
    assert november == Roll("user:ada", "2026-11", 0, 1050, -20, 470, 430, 70, 130)
    (december,) = await roll_forward(store, "2026-12", "user:ada")
    assert december == Roll("user:ada", "2026-12", 130, 1000, 0, 0, 0, 0, 1130)
    (balance,) = await store.balances(["user:ada"])
    assert december.closing == balance.available + balance.held


async def test_a_user_who_spent_before_any_grant_opens_with_the_debt(store, clock):
    await store.settle("lost", ADA, 30)
    clock.now = at("2026-12-10")
    await store.grant("g", "user:ada", 100, department="research")
    rolls = {
        roll.month: roll for month in ("2026-11", "2026-12") for roll in await roll_forward(store, month)
    }
    assert (rolls["2026-11"].closing, rolls["2026-12"].opening, rolls["2026-12"].closing) == (-30, -30, 70)


async def test_an_account_begins_with_the_month_of_its_limit(store, clock):
    await store.grant("g", "user:ada", 1000, department="research")
    await store.hold("h1", ADA, 70, 600)
    await store.settle("h1", ADA, 70)
    clock.now = at("2026-12-10")
    await store.hold("h2", ADA, 30, 600)
    await store.settle("h2", ADA, 30)
    await store.plan("department:research", 200)
    await store.hold("h3", ADA, 50, 600)
    await store.settle("h3", ADA, 50)
    assert await roll_forward(store, "2026-11", "department:research") == []
    (december,) = await roll_forward(store, "2026-12", "department:research")
    # what it spent in December before its limit is there, and made up for by `adjusted`
    assert december == Roll("department:research", "2026-12", 0, 200, 30, 80, 0, 0, 150)
    clock.now = at("2027-01-10")
    await store.standing(ADA)
    await store.hold("h4", ADA, 0, 600)
    (december,) = await roll_forward(store, "2026-12", "department:research")
    (january,) = await roll_forward(store, "2027-01", "department:research")
    assert (december.expired, december.closing, january.opening, january.closing) == (150, 0, 0, 200)


async def test_what_is_no_money_is_no_line(store):
    await store.grant("g", "user:ada", 1000, department="research")
    run = payer("ada", session="s1")
    await store.enter(run, RunCaps(), "m")
    await store.cap_run("s1", steps=5, cost=10**6, actor="root")
    await store.stop_run("s1", actor="root")
    (roll,) = await roll_forward(store, "2026-11")
    assert roll == Roll("user:ada", "2026-11", 0, 1000, 0, 0, 0, 0, 1000)


async def test_an_unknown_account_has_no_roll(store):
    assert await roll_forward(store, "2026-11", "user:nobody") == []


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-1", "2026-11-01", "11-2026"])
async def test_a_month_that_is_none_is_refused(store, month):
    with pytest.raises(ValueError, match="not a month"):
        await roll_forward(store, month)


async def test_a_year_of_months_hangs_together(store, clock):
    await store.plan("user:ada", 500, 200, department="research")
    month, closing = "2026-11", 0
    for number in range(12):
        await store.hold(f"h{number}", ADA, 90 * (number % 6), 600)
        await store.settle(f"h{number}", ADA, 80 * (number % 7))
        clock.now += 31 * 86_400
        await store.standing(ADA)
        await store.hold(f"z{number}", ADA, 0, 600)
        (roll,) = await roll_forward(store, month, "user:ada")
        assert roll.opening == closing
        month, closing = next_month(month), roll.closing
    (balance,) = await store.balances(["user:ada"])
    assert closing + (await roll_forward(store, month, "user:ada"))[0].granted == balance.available
