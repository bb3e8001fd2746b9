"""What farthing.yaml gives is in the store after a start, and starting again gives nothing twice."""

from datetime import date
from decimal import Decimal

import pytest

from farthing.credits import open_store
from farthing.credits.calendar import Calendar
from farthing.credits.grants import give_what_is_configured
from farthing.settings import Budget, Credits, DepartmentCredits, Key, Settings
from tests.unit.credit_backends import Clock

ONE, TWO = "1" * 64, "2" * 64
CREDIT = 1_000_000


def key(sha256=ONE, user="ada", **more):
    return Key(sha256=sha256, user=user, department="research", **more)


@pytest.fixture
async def world(tmp_path):
    clock, calendar = Clock(), Calendar()
    store = open_store(f"sqlite:///{tmp_path / 'credits.db'}", calendar=calendar, clock=clock)

    async def start(*keys, **credits):
        await give_what_is_configured(store, Settings(keys=list(keys), credits=Credits(**credits)), calendar)
        return {balance.account: balance for balance in await store.balances()}

    yield start, clock
    assert await store.verify() == []
    await store.close()


async def test_keys_of_a_user_share_what_they_bring(world):
    start, _ = world
    for _ in range(2):
        found = await start(key(credits=Decimal(5)), key(TWO, credits=Decimal(7), monthly=Decimal(100)))
    ada = found["user:ada"]
    assert (ada.available, ada.monthly, ada.department) == (112 * CREDIT, 100 * CREDIT, "research")
    assert not found.get("department:research") or not found["department:research"].limited


async def test_a_key_that_goes_takes_its_grant_and_allowance_with_it(world):
    start, _ = world
    await start(key(credits=Decimal(5), monthly=Decimal(10)), key(TWO, credits=Decimal(7)))
    found = await start(key(TWO, credits=Decimal(7)))
    assert found["user:ada"].available == 7 * CREDIT
    assert found["user:ada"].monthly is None


async def test_budgets_and_key_caps_limit_and_vanish(world):
    start, _ = world
    departments = {"research": DepartmentCredits(monthly=Decimal(50), key_cap=Decimal(20))}
    found = await start(
        key(credits=Decimal(5)),
        key(TWO, cap=Decimal(30)),
        departments=departments,
        organisation=Budget(monthly=Decimal(1000)),
    )
    limits = {name: balance.monthly for name, balance in found.items() if balance.limited and balance.monthly}
    assert limits == {
        "organisation:": 1000 * CREDIT,
        "department:research": 50 * CREDIT,
        f"key:{ONE}": 20 * CREDIT,
        f"key:{TWO}": 30 * CREDIT,
    }
    found = await start(key(credits=Decimal(5)), key(TWO))
    assert {balance.account for balance in found.values() if balance.limited} == {"user:ada", "user:gateway"}


async def test_a_grant_lasts_to_the_end_of_its_last_day(world):
    start, clock = world
    clock.now = 1_800_000_000.0  # 2027-01-15 08:00 UTC
    own = key(credits=Decimal(5), credits_until=date(2027, 1, 16))
    assert (await start(own))["user:ada"].available == 5 * CREDIT
    clock.now += 40 * 3600 - 1  # the last second of the 16th
    assert (await start(own))["user:ada"].available == 5 * CREDIT
    clock.now += 1
    found = (await start(own))["user:ada"]
    assert (found.available, found.expired) == (0, 5 * CREDIT)
