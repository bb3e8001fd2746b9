"""Sessions' runs, their caps and marks, and the buckets of own hardware. Runs on each backend."""

import pytest

from farthing.credits import InsufficientCreditsError
from farthing.credits.store import MARKS, RunCaps
from tests.unit.credit_backends import payer

ANA = payer("ana", session="s1")
CAPS = RunCaps(idle_s=600, steps=3, cost=100)


@pytest.fixture(autouse=True)
async def rich(store):
    await store.grant("ana's", "user:ana", 10**6, department="research")
    await store.grant("ben's", "user:ben", 10**6, department="sales")


async def run_of(store, session_id: str = "s1"):
    return next(run for run in await store.runs(since_ms=0) if run.session_id == session_id)


async def test_a_run_counts_its_calls_and_lets_no_more_in_than_its_steps(store, clock):
    entered = []
    for number in range(5):
        run = await store.enter(ANA, CAPS, f"m{number}")
        entered.append((run.steps, run.entered))
        clock.now += 10
    assert entered == [(1, True), (2, True), (3, True), (3, False), (3, False)]
    assert run.marks == ("m0", "m1", "m2")
    assert (run.session_id, run.user, run.department, run.key_hash) == ("s1", "ana", "research", "ana-key")
    assert run.started_ms == 1_800_000_000_000
    assert (run.max_steps, run.max_cost, run.stopped_by) == (3, 100, "")


async def test_the_first_caps_of_a_run_stay_its_own(store):
    await store.enter(ANA, CAPS, "")
    run = await store.enter(ANA, RunCaps(idle_s=600), "")
    assert (run.max_steps, run.max_cost) == (3, 100)


async def test_a_session_that_was_quiet_begins_a_new_run(store, clock):
    for _ in range(4):
        await store.enter(ANA, CAPS, "m")
    await store.hold("h1", ANA, 60, ttl_s=5000)
    await store.settle("h0", ANA, 30)
    clock.now += 599
    assert not (await store.enter(ANA, CAPS, "m")).entered
    clock.now += 600
    run = await store.enter(ANA, RunCaps(idle_s=600, steps=9, cost=200), "new")
    assert (run.steps, run.entered, run.marks, run.settled, run.held) == (1, True, ("new",), 0, 60)
    assert (run.max_steps, run.max_cost) == (9, 200)
    assert run.started_ms == run.last_ms
    with pytest.raises(InsufficientCreditsError):  # what is still held counts
        await store.hold("h2", ANA, 141, ttl_s=60)
    await store.hold("h2", ANA, 140, ttl_s=60)


async def test_a_run_keeps_its_latest_marks(store):
    for number in range(MARKS + 6):
        run = await store.enter(ANA, RunCaps(), f"m{number}")
    assert run.marks == tuple(f"m{number}" for number in range(6, MARKS + 6))


async def test_a_runs_cost_is_what_it_settled_and_holds(store, clock):
    await store.enter(ANA, CAPS, "")
    standing = await store.hold("h1", ANA, 60, ttl_s=60)
    assert (standing.available, standing.short) == (40, "session:s1")
    with pytest.raises(InsufficientCreditsError) as refused:
        await store.hold("h2", ANA, 41, ttl_s=60)
    assert (refused.value.standing.short, refused.value.available) == ("session:s1", 40)
    await store.settle("h1", ANA, 20)
    assert ((await run_of(store)).settled, (await run_of(store)).held) == (20, 0)
    await store.hold("h2", ANA, 80, ttl_s=60)
    await store.release("h2")
    await store.hold("h3", ANA, 80, ttl_s=60)
    clock.now += 61
    await store.hold("h4", ANA, 80, ttl_s=60)
    await store.settle("h4", ANA, 90)
    assert (await store.standing(ANA)).available == -10
    await store.hold("free", ANA, 0, ttl_s=60)


async def test_the_caps_of_one_session_are_not_anothers(store):
    other = payer("ana", session="s2")
    await store.enter(ANA, CAPS, "")
    await store.enter(other, CAPS, "")
    await store.hold("h1", ANA, 100, ttl_s=60)
    await store.hold("h2", other, 100, ttl_s=60)
    await store.hold("h3", payer("ana", session="never entered"), 5_000, ttl_s=60)
    await store.hold("h4", payer("ana"), 5_000, ttl_s=60)
    assert [run.held for run in await store.runs(since_ms=0)] == [100, 100]


async def test_a_session_that_held_before_it_was_entered_counts_that_too(store):
    await store.hold("h1", ANA, 60, ttl_s=60)
    run = await store.enter(ANA, CAPS, "")
    assert (run.steps, run.held) == (1, 60)
    with pytest.raises(InsufficientCreditsError):
        await store.hold("h2", ANA, 41, ttl_s=60)


async def test_an_admin_stops_a_run_and_lets_it_go_on(store):
    await store.enter(ANA, CAPS, "")
    run = await store.stop_run("s1", actor="root", reason="runs in circles")
    assert (run.stopped_by, run.steps) == ("root", 1)
    refused = await store.enter(ANA, CAPS, "")
    assert (refused.entered, refused.stopped_by, refused.steps) == (False, "root", 1)
    run = await store.cap_run("s1", steps=10, cost=500, actor="eve", reason="asked nicely")
    assert (run.stopped_by, run.max_steps, run.max_cost) == ("", 10, 500)
    assert (await store.enter(ANA, CAPS, "")).entered
    acts = [(act.actor, act.action, act.reason) for act in reversed(await store.journal("session:s1"))]
    assert acts[0] == ("root", "stop", "runs in circles")
    assert {act[:2] for act in acts[1:]} == {("eve", "cap"), ("eve", "resume")}
    capped = {act.ref: act.amount for act in await store.journal("session:s1") if act.action == "cap"}
    assert capped == {"steps": 10, "cost": 500}


async def test_a_stop_is_forgotten_once_the_session_was_quiet(store, clock):
    await store.enter(ANA, CAPS, "")
    await store.stop_run("s1", actor="root")
    clock.now += 601
    run = await store.enter(ANA, CAPS, "")
    assert (run.entered, run.stopped_by) == (True, "")


async def test_caps_can_be_raised_lowered_and_lifted(store):
    for _ in range(3):
        await store.enter(ANA, CAPS, "")
    await store.settle("s", ANA, 90)
    await store.cap_run("s1", steps=4, cost=50, actor="root")
    assert (await store.enter(ANA, CAPS, "")).steps == 4
    assert not (await store.enter(ANA, CAPS, "")).entered
    with pytest.raises(InsufficientCreditsError):
        await store.hold("h", ANA, 1, ttl_s=60)
    run = await store.cap_run("s1", steps=None, cost=None, actor="root")
    assert (run.max_steps, run.max_cost) == (None, None)
    assert (await store.enter(ANA, CAPS, "")).entered
    await store.hold("h", ANA, 10_000, ttl_s=60)


async def test_a_session_nobody_knows_cannot_be_capped_or_stopped(store):
    assert await store.cap_run("nobody", steps=1, cost=1, actor="root") is None
    assert await store.stop_run("nobody", actor="root") is None
    assert await store.runs(since_ms=0) == []
    assert await store.journal("session:nobody") == []


async def test_a_cap_of_nothing_lets_nothing_in(store):
    run = await store.enter(ANA, RunCaps(steps=0, cost=0), "m")
    assert (run.entered, run.steps, run.marks) == (False, 0, ())
    with pytest.raises(InsufficientCreditsError):
        await store.hold("h", ANA, 1, ttl_s=60)
    await store.hold("free", ANA, 0, ttl_s=60)


@pytest.mark.parametrize("cost", [-1, 1.5, True])
async def test_a_cap_that_is_no_money_is_refused(store, cost):
    await store.enter(ANA, CAPS, "")
    with pytest.raises(ValueError, match="whole"):
        await store.cap_run("s1", steps=1, cost=cost, actor="root")
    assert (await run_of(store)).max_cost == 100


async def test_runs_are_listed_newest_first_by_user_and_time(store, clock):
    for user, session in (("ana", "s1"), ("ben", "s2"), ("ana", "s3")):
        await store.enter(payer(user, session=session), RunCaps(), "")
        clock.now += 10
    await store.enter(ANA, RunCaps(), "")

    async def seen(**more):
        return [run.session_id for run in await store.runs(**more)]

    start = 1_800_000_000_000
    assert await seen(since_ms=0) == ["s1", "s3", "s2"]
    assert await seen(since_ms=0, user="ana") == ["s1", "s3"]
    assert await seen(since_ms=start + 20_000) == ["s1", "s3"]
    assert await seen(since_ms=start + 20_001) == ["s1"]
    assert await seen(since_ms=0, limit=2) == ["s1", "s3"]


async def test_late_settlements_of_a_session_count_in_its_run(store, clock):
    await store.enter(ANA, CAPS, "")
    await store.hold("h1", ANA, 60, ttl_s=5)
    clock.now += 6
    await store.settle("h1", ANA, 50)
    assert ((await run_of(store)).settled, (await run_of(store)).held) == (50, 0)


# Own hardware at an empty balance


async def test_a_bucket_fills_by_its_share_of_time(store, clock):
    async def draw(amount):
        return await store.draw("local", amount, share=0.25, burst_ms=1000)

    assert await draw(400) == 600  # an unknown bucket is full
    assert await draw(900) == -300
    clock.now += 0.4
    assert await draw(0) == -200
    clock.now += 2
    assert await draw(100) == 200
    clock.now += 3600
    assert await draw(0) == 1000
    clock.now -= 3600
    assert await draw(10) == 990


async def test_buckets_are_apart_and_survive(store, url, clock):
    from farthing.credits import open_store

    await store.draw("local", 700, share=0.5, burst_ms=1000)
    other = open_store(url, clock=clock)
    assert await other.draw("local", 0, share=0.5, burst_ms=1000) == 300
    assert await other.draw("elsewhere", 0, share=0.5, burst_ms=1000) == 1000
    await other.close()
