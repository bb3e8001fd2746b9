"""What people read of a store, and what housekeeping leaves of it. Runs on each backend."""

from farthing.credits.account import ORGANISATION
from farthing.credits.store import CallNote, RunCaps, SettledCall, Spending
from tests.unit.credit_backends import payer

ANA, BEN = payer("ana", session="s1"), payer("ben", "sales")
FAST = CallNote("fast", "gpt-5-mini", "MEDIUM", "inference")
LOCAL = CallNote("local", "smollm2", "LOW", "inference")
DAY = 86_400


async def give(store) -> None:
    await store.grant("ana's", "user:ana", 10_000, department="research")
    await store.grant("ben's", "user:ben", 10_000, department="sales")


async def spend(store, clock) -> None:
    """Two days of calls."""
    await store.hold("a1", ANA, 100, ttl_s=60)
    await store.settle("a1", ANA, 70, FAST)
    clock.now += 60
    await store.settle("a2", ANA, 5, LOCAL)
    await store.hold("b1", BEN, 100, ttl_s=60)
    await store.settle("b1", BEN, 90, FAST)
    clock.now += DAY
    await store.hold("a3", ANA, 100, ttl_s=60)
    await store.settle("a3", ANA, 130, FAST)


async def test_a_users_calls_are_listed_newest_first(store, clock):
    await give(store)
    await spend(store, clock)
    start = 1_800_000_000_000
    assert await store.calls("ana") == [
        SettledCall("a3", start + (DAY + 60) * 1000, "s1", 130, 30, FAST),
        SettledCall("a2", start + 60_000, "s1", 5, 5, LOCAL),
        SettledCall("a1", start, "s1", 70, 0, FAST),
    ]
    assert [call.id for call in await store.calls("ana", limit=2)] == ["a3", "a2"]
    assert [call.session_id for call in await store.calls("ben")] == [""]


async def test_spending_is_by_day_and_tier_for_every_account(store, clock):
    await give(store)
    await spend(store, clock)
    first, second = "2027-01-15", "2027-01-16"

    async def seen(account, start=first, end=second):
        return sorted(await store.spending(account, start, end), key=lambda row: (row.day, row.tier))

    hers = [
        Spending(first, "fast", 70, 0, 1),
        Spending(first, "local", 5, 5, 1),
        Spending(second, "fast", 130, 30, 1),
    ]
    for account in ("user:ana", "department:research", "key:ana-key"):
        assert await seen(account) == hers
    assert await seen(ORGANISATION) == [Spending(first, "fast", 160, 0, 2), *hers[1:]]
    assert await seen("user:ana", second) == hers[2:]
    assert await seen("user:ana", first, first) == hers[:2]
    assert await seen("user:ana", "2027-01-17", "2027-12-31") == []


async def test_a_call_without_a_note_has_no_tier(store):
    await give(store)
    await store.settle("a", ANA, 7)
    (spent,) = await store.spending("user:ana", "2027-01-01", "2027-01-31")
    assert (spent.tier, spent.settled, spent.calls) == ("", 7, 1)


async def test_the_organisation_has_settled_the_sum_of_all_charges(store, clock):
    await give(store)
    await spend(store, clock)
    root, *_ = await store.balances()
    assert (root.account, root.settled, root.limited) == (ORGANISATION, 295, False)


async def test_pruning_forgets_calls_and_no_money(store, clock):
    await give(store)
    await spend(store, clock)
    await store.release("tombstone")
    await store.hold("live", ANA, 40, ttl_s=10 * DAY)
    await store.hold("overdue", ANA, 40, ttl_s=5)
    clock.now += DAY
    before = await store.balances()
    spent = await store.spending(ORGANISATION, "2027-01-01", "2027-12-31")
    journal = await store.journal()
    forgotten = 0
    while found := await store.prune(int(clock.now * 1000) + 1, limit=2):
        assert found <= 2
        forgotten += found
    assert forgotten >= 6
    assert await store.verify() == []
    assert await store.balances() == before
    assert await store.spending(ORGANISATION, "2027-01-01", "2027-12-31") == spent
    assert await store.journal() == journal
    assert await store.calls("ana") == []
    settled = await store.settle("live", ANA, 30)
    assert (settled.overdraft, settled.standing.balance.held) == (0, 0)
    assert await store.verify() == []


async def test_pruning_spares_what_ended_later(store, clock):
    await give(store)
    for number in range(3):
        await store.settle(f"b{number}", BEN, 10)
        clock.now += 60
    assert await store.prune(1_800_000_000_000 + 30_000) == 1
    assert [call.id for call in await store.calls("ben")] == ["b2", "b1"]
    assert await store.unsettled(["b0", "b1", "b2"]) == {"b0"}
    assert await store.prune(0) == 0


async def test_pruning_forgets_quiet_sessions_but_not_their_held_money(store, clock):
    await give(store)
    await store.enter(ANA, RunCaps(cost=100), "")
    await store.enter(payer("ana", session="s2"), RunCaps(), "")
    await store.hold("h", ANA, 100, ttl_s=10 * DAY)
    clock.now += DAY
    await store.enter(payer("ana", session="s3"), RunCaps(), "")
    await store.prune(int(clock.now * 1000))
    seen = {run.session_id for run in await store.runs(since_ms=0)}
    assert "s2" not in seen
    assert "s3" in seen
    await store.settle("h", ANA, 80)
    assert await store.verify() == []


async def test_a_prune_between_a_lease_and_its_late_settlement_loses_nothing(store, clock):
    await give(store)
    await store.hold("h", ANA, 40, ttl_s=5)
    clock.now += DAY
    await store.standing(ANA)
    await store.prune(int(clock.now * 1000) + 1)
    late = await store.settle("h", ANA, 30)
    assert (late.overdraft, late.standing.balance.settled) == (30, 30)
