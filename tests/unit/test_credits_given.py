"""What accounts are given: grants, allowances by the month, limits. Runs on each backend."""

from datetime import UTC, datetime

import pytest

from farthing.credits import InsufficientCreditsError, StoreError, open_store
from farthing.credits.account import ORGANISATION
from farthing.credits.calendar import Calendar
from farthing.credits.store import MAX_AMOUNT, Payer
from tests.unit.credit_backends import payer

ANA, BEN = payer("ana"), payer("ben", "sales")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


async def available(store, who: Payer = ANA) -> int:
    return (await store.standing(who)).balance.available


async def lines(store, account: str = "") -> list[tuple[str, str, int, str, str]]:
    """The journal, the oldest first."""
    return [
        (act.actor, act.action, act.amount, act.month, act.ref)
        for act in reversed(await store.journal(account))
    ]


# Grants


async def test_grants_can_be_changed_moved_and_revoked(store):
    for grant_id, amount in (("ring:a", 1000), ("ring:b", 50), ("ring:%", 5), ("gift:a", 7), ("ring:a", 400)):
        balance = await store.grant(grant_id, "user:ana", amount, department="research")
    assert balance.granted == 462
    balance = await store.grant("ring:b", "user:ben", 60, department="sales")
    assert (balance.account, balance.granted) == ("user:ben", 60)
    assert await available(store, ANA) == 412
    await store.revoke_grants("ring:%", set())  # a prefix is text, not a pattern
    assert await available(store, ANA) == 407
    await store.revoke_grants("ring:", {"ring:b"})
    assert (await available(store, ANA), await available(store, BEN)) == (7, 60)
    await store.revoke_grants("none", set())
    await store.revoke_grants("", {"ring:b", "gift:a"})
    assert (await available(store, ANA), await available(store, BEN)) == (7, 60)


async def test_the_journal_says_who_gave_what_and_why(store, clock):
    await store.grant("g", "user:ana", 100, department="research", actor="root", reason="a good month")
    for _ in range(2):
        await store.grant("g", "user:ana", 100, department="research", actor="root", reason="again")
    await store.grant("g", "user:ana", 30, department="research", actor="eve", reason="a bad one")
    await store.grant("g", "user:ben", 30, department="sales", actor="eve")
    await store.revoke_grants("g", set())
    assert await lines(store, "user:ana") == [
        ("root", "grant", 100, "2027-01", "g"),
        ("eve", "adjust", -70, "2027-01", "g"),
        ("eve", "adjust", -30, "2027-01", "g"),
    ]
    assert [line[1:3] for line in await lines(store, "user:ben")] == [("grant", 30), ("adjust", -30)]
    newest, *_, oldest = await store.journal()
    assert (oldest.reason, oldest.target, oldest.at_ms) == ("a good month", "user:ana", 1_800_000_000_000)
    assert newest.target == "user:ben"
    assert len(await store.journal(limit=2)) == 2


async def test_a_lowered_grant_stops_new_holds_and_spares_the_old(store):
    await store.grant("g1", "user:ana", 1000, department="research")
    await store.hold("h1", ANA, 900, ttl_s=60)
    await store.grant("g1", "user:ana", 100, department="research")
    assert await available(store) == -800
    with pytest.raises(InsufficientCreditsError) as refused:
        await store.hold("h2", ANA, 1, ttl_s=60)
    assert refused.value.available == -800
    settled = await store.settle("h1", ANA, 900)
    assert (settled.standing.balance.settled, settled.overdraft) == (900, 0)


async def test_a_grant_ends_with_its_date_and_the_soonest_is_spent_first(store, clock):
    await store.grant("ever", "user:ana", 100, department="research")
    await store.grant("soon", "user:ana", 100, department="research", expires_ms=ms("2027-01-20"))
    await store.settle("s1", ANA, 30)
    clock.now = ms("2027-01-20") / 1000 - 1
    assert await available(store) == 170
    clock.now += 1
    assert await available(store) == 100
    assert (await lines(store))[-1] == ("calendar", "expire", -70, "2027-01", "soon")
    balance = (await store.standing(ANA)).balance
    assert (balance.granted, balance.expired, balance.settled) == (200, 70, 30)


@pytest.mark.parametrize("look", ["balances", "hold", "settle", "grant", "journal"])
async def test_any_step_sees_that_a_grant_is_over(store, clock, look):
    await store.grant("soon", "user:ana", 100, department="research", expires_ms=ms("2027-01-20"))
    clock.now = ms("2027-01-21") / 1000
    if look == "balances":
        (balance,) = await store.balances()
        assert balance.available == 0
    elif look == "hold":
        with pytest.raises(InsufficientCreditsError):
            await store.hold("h", ANA, 1, ttl_s=60)
    elif look == "settle":
        assert (await store.settle("s", ANA, 10)).standing.balance.available == -10
    elif look == "grant":
        assert (await store.grant("more", "user:ana", 5, department="research")).available == 5
    else:
        await store.standing(ANA)
        assert (await lines(store))[-1][1:3] == ("expire", -100)
    assert (await store.standing(ANA)).balance.expired == 100


async def test_a_hold_keeps_expiring_money_until_it_has_ended(store, clock):
    await store.grant("soon", "user:ana", 100, department="research", expires_ms=ms("2027-01-20"))
    await store.hold("h", ANA, 60, ttl_s=10 * 86_400)
    clock.now = ms("2027-01-21") / 1000
    balance = (await store.standing(ANA)).balance
    assert (balance.expired, balance.available) == (40, 0)
    assert (await store.settle("h", ANA, 25)).overdraft == 0
    balance = (await store.standing(ANA)).balance
    assert (balance.expired, balance.settled, balance.available) == (75, 25, 0)


async def test_a_lease_that_ended_before_the_grant_keeps_nothing(store, clock):
    await store.grant("soon", "user:ana", 100, department="research", expires_ms=ms("2027-01-20"))
    await store.hold("h", ANA, 60, ttl_s=60)
    clock.now = ms("2027-01-21") / 1000
    balance = (await store.standing(ANA)).balance
    assert (balance.held, balance.expired, balance.available) == (0, 100, 0)


async def test_a_grant_may_get_more_time(store, clock):
    await store.grant("g", "user:ana", 100, department="research", expires_ms=ms("2027-01-20"))
    await store.grant("g", "user:ana", 100, department="research", expires_ms=ms("2027-02-20"))
    clock.now = ms("2027-01-21") / 1000
    assert await available(store) == 100
    await store.grant("g", "user:ana", 100, department="research")
    clock.now = ms("2028-01-21") / 1000
    assert await available(store) == 100


async def test_a_grant_that_is_over_can_be_cleared_away(store, clock):
    await store.grant("ring:old", "user:ana", 100, department="research", expires_ms=ms("2027-01-20"))
    await store.grant("gift", "user:ana", 50, department="research")
    clock.now = ms("2027-01-21") / 1000
    await store.revoke_grants("ring:", set())
    assert await available(store) == 50
    await store.grant("moved", "user:ana", 100, department="research", expires_ms=ms("2027-01-22"))
    clock.now = ms("2027-01-23") / 1000
    await store.grant("moved", "user:ben", 100, department="sales")
    assert (await available(store), await available(store, BEN)) == (50, 100)


async def test_the_names_of_the_accounts_own_money_are_taken(store):
    await store.plan("user:ana", 100, department="research")
    before = await store.balances(), await lines(store)
    for grant_id in ("monthly", "opening"):
        with pytest.raises(ValueError, match="account's own"):
            await store.grant(grant_id, "user:ana", 5, department="research")
    assert (await store.balances(), await lines(store)) == before


# Months


async def test_an_allowance_comes_with_each_month_and_what_rolls_over_stays(store, clock):
    balance = await store.plan("user:ana", 1000, 100, department="research")
    assert (balance.monthly, balance.available) == (1000, 1000)
    await store.hold("h1", ANA, 700, ttl_s=60)
    await store.settle("h1", ANA, 700)
    clock.now = ms("2027-01-31T23:59:59") / 1000
    assert await available(store) == 300
    clock.now += 1
    assert await available(store) == 1100
    await store.hold("h2", ANA, 1050, ttl_s=60)
    await store.settle("h2", ANA, 1050)
    clock.now = ms("2027-03-05") / 1000
    assert await available(store) == 1050
    assert await lines(store) == [
        ("farthing.yaml", "grant", 1000, "2027-01", "monthly"),
        ("calendar", "expire", -200, "2027-01", "monthly"),
        ("calendar", "grant", 1000, "2027-02", "monthly"),
        ("calendar", "grant", 1000, "2027-03", "monthly"),
    ]


async def test_all_may_roll_over_or_nothing(store, clock):
    await store.plan("user:ana", 100, None, department="research")
    await store.plan("user:ben", 100, department="sales")
    clock.now = ms("2027-06-10") / 1000  # nobody came by for months
    assert (await available(store, ANA), await available(store, BEN)) == (600, 100)
    assert len(await lines(store, "user:ben")) == 11


async def test_repeating_a_plan_changes_nothing_and_changing_it_counts_for_the_month(store):
    for _ in range(3):
        await store.plan("user:ana", 1000, 100, department="research")
    assert len(await store.journal()) == 1
    await store.settle("s", ANA, 600)
    assert (await store.plan("user:ana", 1500, 100, department="research", actor="root")).available == 900
    assert (await store.plan("user:ana", 400, 100, department="research", actor="root")).available == -200
    assert (await store.plan("user:ana", None, department="research", actor="root")).available == -600
    assert (await lines(store))[1:] == [
        ("root", "adjust", 500, "2027-01", "monthly"),
        ("root", "adjust", -1100, "2027-01", "monthly"),
        ("root", "adjust", -400, "2027-01", "monthly"),
    ]


async def test_a_month_begins_in_the_organisations_time_zone(url, clock):
    store = open_store(url, clock=clock, calendar=Calendar("Australia/Sydney"))
    await store.plan("user:ana", 100, department="research")
    await store.settle("s1", ANA, 100)
    clock.now = ms("2027-01-31T12:59:59") / 1000
    assert await available(store) == 0
    clock.now += 1  # midnight in Sydney
    await store.settle("s2", ANA, 30)
    assert await available(store) == 70
    spent = await store.spending("user:ana", "2027-01-01", "2027-02-28")
    assert [(day.day, day.settled) for day in spent] == [("2027-01-15", 100), ("2027-02-01", 30)]
    assert await store.verify() == []
    await store.close()


async def test_clock_jumps_begin_no_month_twice_and_end_leases_early_or_late(store, clock):
    await store.plan("user:ana", 1000, department="research")
    await store.hold("h1", ANA, 400, ttl_s=3600)
    clock.now += 40 * 86_400  # forwards into February: the lease is over, a month begins
    balance = (await store.standing(ANA)).balance
    assert (balance.held, balance.available) == (0, 1000)
    assert (await store.settle("h1", ANA, 400)).overdraft == 400
    await store.hold("h2", ANA, 100, ttl_s=3600)
    clock.now -= 40 * 86_400  # back into January: nothing begins, the lease lasts
    assert await available(store) == 500
    assert (await store.settle("h2", ANA, 100)).overdraft == 0
    clock.now += 40 * 86_400
    assert await available(store) == 500
    months = [month for _, action, _, month, _ in await lines(store) if action == "grant"]
    assert months == ["2027-01", "2027-02"]


async def test_thresholds_are_told_anew_each_month(store, clock):
    await store.plan("user:ana", 100, department="research")
    marks = []
    for number in range(4):
        done = await store.settle(f"s{number}", ANA, 60)
        marks.append([crossing.threshold for crossing in done.crossed])
        clock.now += 16 * 86_400  # 15 and 31 January, 16 February, 4 March
    assert marks == [[50], [95], [50], [50]]


# Limits


async def test_a_grant_of_nothing_limits(store):
    await store.grant("g", "user:ana", 1000, department="research")
    await store.settle("s", ANA, 70)
    balance = await store.grant("none", "department:research", 0)
    assert (balance.limited, balance.available) == (True, 0)
    with pytest.raises(InsufficientCreditsError) as refused:
        await store.hold("h", ANA, 1, ttl_s=60)
    assert (refused.value.standing.short, refused.value.available) == ("department:research", 0)
    assert [line[1:3] for line in await lines(store, "department:research")] == [("opening", 70)]


async def test_what_was_spent_before_a_limit_counts_no_more(store):
    await store.grant("g", "user:ana", 1000, department="research")
    await store.settle("s", ANA, 70)
    await store.hold("h", ANA, 30, ttl_s=60)
    balance = await store.plan("department:research", 500)
    assert balance.settled == 70
    await store.release("h")
    standing = await store.standing(ANA)
    assert (standing.available, standing.short) == (500, "department:research")


async def test_a_limit_is_lifted_and_given_anew(store, clock):
    await store.grant("g", "user:ana", 10_000, department="research")
    await store.grant("budget", "department:research", 100)
    await store.plan(ORGANISATION, 100)
    await store.settle("s", ANA, 100)
    await store.unlimit("department:research")
    await store.unlimit(ORGANISATION)
    await store.unlimit(ORGANISATION)
    assert [balance.limited for balance in await store.balances()] == [False, False, True, False]
    await store.hold("h", ANA, 5000, ttl_s=60)
    await store.settle("h", ANA, 5000)
    balance = await store.grant("budget", "department:research", 100)
    assert (balance.limited, balance.available) == (True, 100)
    assert (await store.plan(ORGANISATION, 100)).available == 100


async def test_an_unknown_account_cannot_be_made_known_by_lifting_its_limit(store):
    await store.unlimit("department:nobody")
    assert await store.balances() == []
    assert await store.journal() == []


async def test_a_user_is_always_limited(store):
    await store.grant("g", "user:ana", 10, department="research")
    with pytest.raises(ValueError, match="user"):
        await store.unlimit("user:ana")
    assert (await store.balances())[0].limited


async def test_a_key_may_have_a_cap_of_its_own(store, clock):
    await store.grant("g", "user:ana", 1000, department="research")
    balance = await store.plan("key:ana-key", 100, department="research", user="ana")
    assert (balance.kind, balance.department, balance.user) == ("key", "research", "ana")
    await store.settle("s", ANA, 80)
    with pytest.raises(InsufficientCreditsError) as refused:
        await store.hold("h", ANA, 21, ttl_s=60)
    assert refused.value.standing.short == "key:ana-key"
    clock.now = ms("2027-02-01") / 1000
    assert (await store.hold("h", ANA, 100, ttl_s=60)).balance.available == 820


async def test_a_total_of_grants_too_large_is_an_error_and_changes_nothing(store):
    expected = 0
    for number in range(12):
        try:
            await store.grant(f"g{number}", "user:ana", MAX_AMOUNT, department="research")
            expected += MAX_AMOUNT
        except StoreError:
            assert number > 4
    assert await available(store) == expected
