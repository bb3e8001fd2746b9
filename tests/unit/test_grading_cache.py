"""The intent cache in memory: bounded in all and for each account, forgetful with time, near only if safe."""

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.grading.cache import NEAR_THRESHOLD, IntentCache, MemoryCache, Remembered, open_cache
from farthing.grading.cache.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, SETTLED_S, Breaker
from farthing.grading.cache.near import Shelf, unit
from farthing.grading.cache.wire import Record, decoded, encoded, fields_of, record_of
from farthing.grading.intent import facts_of, intent_of, room_of
from farthing.grading.task import task_from

LOW = Remembered(0.2, "LOW", "learned", "learned: short ask")
HIGH = Remembered(0.9, "HIGH", "judge", "judge: several steps")
FACTS = "t0 w~100"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def key(number: int) -> str:
    return f"{number:032x}"


def vector(*parts: float) -> np.ndarray:
    row = np.zeros(8, dtype=np.float32)
    row[: len(parts)] = parts
    return row


def at_cosine(cosine: float) -> np.ndarray:
    """Return the vector at ``cosine`` to ``vector(1)``."""
    return vector(cosine, (1 - cosine**2) ** 0.5)


async def test_a_repeat_is_remembered_with_who_graded_it_and_a_newer_grade_replaces_it() -> None:
    cache = open_cache(10, 60)
    assert await cache.exact(key(1)) is None
    await cache.put(key(1), "room", None, FACTS, LOW)
    hit = await cache.exact(key(1))
    assert hit is not None
    assert (hit.remembered, hit.layer, hit.similarity, hit.key) == (LOW, "exact", 1.0, key(1))
    await cache.put(key(1), "room", None, FACTS, HIGH)
    hit = await cache.exact(key(1))
    assert hit is not None
    assert hit.remembered == HIGH
    await cache.forget(key(1))
    assert await cache.exact(key(1)) is None
    assert (cache.stats.exact_hits, cache.stats.exact_misses, cache.stats.entries) == (2, 2, 0)


async def test_an_entry_lives_for_its_time_and_no_hit_prolongs_it() -> None:
    clock = Clock()
    cache = MemoryCache(10, ttl_s=60, clock=clock)
    await cache.put(key(1), "room", vector(1), FACTS, LOW)
    clock.now += 59
    assert await cache.exact(key(1))
    assert await cache.near("room", vector(1), FACTS)
    clock.now += 1
    assert await cache.near("room", vector(1), FACTS) is None
    assert await cache.exact(key(1)) is None
    assert cache.stats.entries == cache.stats.vectors == cache.stats.rooms == 0
    assert cache.stats.expired == 1


async def test_when_full_the_entry_longest_unused_goes() -> None:
    cache = MemoryCache(3, 60, room_size=3)
    for number in range(3):
        await cache.put(key(number), "room", vector(1), FACTS, LOW)
    await cache.exact(key(0))
    await cache.put(key(3), "room", vector(1), FACTS, LOW)
    assert [bool(await cache.exact(key(number))) for number in range(4)] == [True, False, True, True]
    assert (cache.stats.entries, cache.stats.vectors, cache.stats.evicted) == (3, 3, 1)


async def test_one_account_may_fill_a_free_cache_but_never_pushes_out_the_others() -> None:
    cache = open_cache(80, 60)
    for number in range(2, 5_000):
        await cache.put(key(number), "loud", None, FACTS, HIGH)
    assert cache.stats.entries == 80
    for number in range(5_000, 5_010):
        await cache.put(key(number), "quiet", None, FACTS, LOW)
    for number in range(6_000, 9_000):
        await cache.put(key(number), "loud", None, FACTS, HIGH)
        await cache.put(key(number + 3_000), "louder", None, FACTS, HIGH)
    assert all([await cache.exact(key(number)) for number in range(5_000, 5_010)])
    assert cache.stats.entries == 80


async def test_near_finds_the_nearest_above_the_threshold() -> None:
    cache = MemoryCache(10, 60, near=0.9)
    await cache.put(key(1), "room", vector(1), FACTS, LOW)
    await cache.put(key(2), "room", vector(0, 1), FACTS, HIGH)
    hit = await cache.near("room", 7 * at_cosine(0.95), FACTS)
    assert hit is not None
    assert (hit.remembered, hit.layer, hit.key) == (LOW, "near", key(1))
    assert hit.similarity == pytest.approx(0.95, abs=1e-6)
    assert await cache.near("room", at_cosine(0.85), FACTS) is None
    assert (cache.stats.near_hits, cache.stats.near_misses) == (1, 1)
    await cache.forget(key(1))
    assert await cache.near("room", vector(1), FACTS) is None
    assert await cache.near("room", vector(0, 1), FACTS)


async def test_near_needs_the_same_room_the_same_facts_and_a_like_size() -> None:
    cache = MemoryCache(10, 60)
    await cache.put(key(1), "room", vector(1), "t0 w~400", LOW)
    assert await cache.near("room", vector(1), "t0 w~560")
    assert await cache.near("room", vector(1), "t0 w~300")
    assert await cache.near("room", vector(1), "t0 w~900") is None
    assert await cache.near("room", vector(1), "t0 w~100") is None
    assert await cache.near("room", vector(1), "t5 w~400") is None
    assert await cache.near("other", vector(1), "t0 w~400") is None


async def test_a_vector_that_is_none_is_never_near_and_never_an_error() -> None:
    cache = MemoryCache(10, 60)
    for number, bad in enumerate((vector(), vector(np.nan), vector(np.inf), np.ones((2, 4), np.float32))):
        await cache.put(key(number), "room", bad, FACTS, LOW)
        assert await cache.exact(key(number))
        assert await cache.near("room", bad, FACTS) is None
    await cache.put(key(9), "room", vector(1), FACTS, LOW)
    assert await cache.near("room", np.ones(3, np.float32), FACTS) is None  # another embedding's
    assert await cache.near("room", vector(1), FACTS)


async def test_the_near_layer_can_be_off() -> None:
    cache = open_cache(10, 60, near=False)
    await cache.put(key(1), "room", vector(1), FACTS, LOW)
    assert await cache.near("room", vector(1), FACTS) is None
    assert await cache.exact(key(1))
    assert cache.stats.vectors == 0


@pytest.mark.parametrize(
    ("size", "ttl_s", "near"), [(0, 60, True), (5, 0, True), (5, 60, 1.5), (5, 60, -0.1)]
)
def test_a_cache_that_cannot_be_is_an_error(size: int, ttl_s: float, near: bool | float) -> None:
    with pytest.raises(ValueError, match=r"cache needs|threshold"):
        open_cache(size, ttl_s, near)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "exact", "near", "forget", "wait"]),
        st.integers(0, 12),  # the intent
        st.sampled_from(["ann", "bob", "cy"]),
        st.integers(0, 2),  # the realm
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whatever_happens_no_account_sees_anothers_grade_and_the_bounds_hold(
    steps: list[tuple[str, int, str, int]],
) -> None:
    """Each account's entries name it in their reason; every hit must name who asks, in the realm asked."""

    async def story() -> None:
        clock = Clock()
        cache = MemoryCache(12, 50, room_size=4, clock=clock)
        for step, number, scope, realm in steps:
            task = task_from({"prompt": "sort the list " + "again " * number})
            room, facts = room_of(scope, f"v{realm}"), facts_of(task)
            intent = intent_of(task, scope, f"v{realm}")
            reason = f"{scope} v{realm}"
            hit = None
            if step == "put":
                await cache.put(intent, room, vector(1), facts, Remembered(0.5, "MEDIUM", "rule", reason))
                hit = await cache.exact(intent)
                assert hit
            elif step == "exact":
                hit = await cache.exact(intent)
            elif step == "near":
                hit = await cache.near(room, vector(1), facts)
            elif step == "forget":
                await cache.forget(intent)
                assert await cache.exact(intent) is None
            else:
                clock.now += number * 3
            assert hit is None or hit.remembered.reason == reason
            stats = cache.stats
            assert stats.entries <= 12
            assert stats.vectors <= stats.entries
            assert stats.rooms <= stats.entries

    asyncio.run(story())


def test_several_threads_may_use_it_at_once() -> None:
    cache = MemoryCache(200, 60)
    failures: list[BaseException] = []

    async def work(seed: int) -> None:
        for number in range(400):
            name = key((number * seed) % 300)
            await cache.put(name, f"room{seed % 3}", vector(1, seed), FACTS, LOW)
            await cache.near(f"room{number % 3}", vector(1), FACTS)
            await cache.exact(name)
            await cache.forget(key(number))

    def run(seed: int) -> None:
        try:
            asyncio.run(work(seed))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (3, 5, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert cache.stats.vectors <= cache.stats.entries <= 200


def test_a_shelf_holds_its_newest_vectors_and_finds_them_after_any_removal() -> None:
    shelf = Shelf(8, limit=20)
    rows = np.eye(8, dtype=np.float32)
    for number in range(50):
        shelf.add(key(number), rows[number % 8], 100, expires=10)
    assert len(shelf) == 20
    for number in range(30, 42):
        shelf.remove(key(number))
    shelf.remove(key(1))
    assert len(shelf) == 8
    for number in range(42, 50):
        assert shelf.best(rows[number % 8], 100, now=0) == (key(number), 1.0)
    assert shelf.best(rows[0], 100, now=10) is None


async def test_an_unlike_neighbour_never_hides_a_like_one() -> None:
    cache = MemoryCache(10, 60)
    await cache.put(key(1), "room", vector(1), "w~5000", HIGH)
    await cache.put(key(2), "room", at_cosine(NEAR_THRESHOLD + 0.05), "w~100", LOW)
    hit = await cache.near("room", vector(1), "w~100")
    assert hit is not None
    assert hit.key == key(2)


ROOM = "0f" * 16


def test_an_entry_survives_the_way_through_redis() -> None:
    row = unit(np.arange(1, 257, dtype=np.float32))
    assert row is not None
    sent = Record(key(1), ROOM, "t0 w~10", row, HIGH, key(7))
    got = record_of(fields_of(sent))
    assert got is not None
    assert (got.key, got.room, got.facts, got.remembered, got.origin) == (
        key(1),
        ROOM,
        "t0 w~10",
        HIGH,
        key(7),
    )
    assert got.vector is not None
    assert float(got.vector @ row) > 0.9999
    assert record_of(fields_of(Record(key(1), origin=key(7)))) == Record(key(1), origin=key(7))


@pytest.mark.parametrize(
    "change",
    [
        {b"key": b"short"},
        {b"origin": b""},
        {b"facts": b"a\nb"},
        {b"facts": b"x" * 300},
        {b"entry": b"{}"},
        {b"vector": b"odd"},
        {b"vector": b"\x00" * 512},
        {b"vector": b"\xff" * 512},
        {b"vector": b"\x00\x3c" * 256},  # no unit vector: sixteen long
        {b"vector": b"\x00\x3c" * 100_000},
    ],
)
def test_a_record_with_one_bad_part_is_no_record(change: dict[bytes, bytes]) -> None:
    good = fields_of(Record(key(1), ROOM, "t0 w~10", unit(np.ones(256, np.float32)), HIGH, key(7)))
    assert record_of(good)
    assert record_of({**good, **change}) is None


@given(st.binary(max_size=300) | st.none() | st.integers() | st.text())
def test_no_value_found_in_redis_is_an_error(value: object) -> None:
    assert decoded(value) is None


@given(st.integers(0, 250), st.integers(0, 255))
def test_a_flipped_byte_gives_a_valid_entry_or_none(at: int, byte: int) -> None:
    value = bytearray(encoded(ROOM, LOW))
    value[at % len(value)] = byte
    found = decoded(bytes(value))
    assert found is None or (0 <= found[1].score <= 1 and found[1].grade in ("LOW", "MEDIUM", "HIGH"))


def test_a_breaker_pauses_longer_after_each_probe_and_forgives_after_a_while() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    assert breaker.open
    assert breaker.pause_s == 0
    breaker.succeeded()
    clock.now += SETTLED_S
    for _ in range(64):  # all of one cause
        breaker.failed()
    assert breaker.open
    assert breaker.pause_s == FIRST_PAUSE_S
    for _ in range(20):
        breaker.probe_failed()
    assert breaker.pause_s == LONGEST_PAUSE_S
    breaker.succeeded()
    assert not breaker.open
    clock.now += SETTLED_S
    breaker.failed()
    assert breaker.pause_s == FIRST_PAUSE_S
    breaker.succeeded()
    breaker.failed()
    assert breaker.pause_s == 2 * FIRST_PAUSE_S


def test_a_breaker_bears_a_late_answer_but_not_several_in_a_row() -> None:
    breaker = Breaker(Clock())
    breaker.succeeded()
    for _ in range(10):
        breaker.late()
        breaker.late()
        breaker.answered()
    assert not breaker.open
    for _ in range(3):
        breaker.late()
    assert breaker.open


def test_the_memory_cache_is_an_intent_cache() -> None:
    cache: IntentCache = MemoryCache(1, 1)
    assert cache.stats.shared == "off"
