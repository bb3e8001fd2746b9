"""What was learned outlives the process, adds up over processes, and never stands in a request's way."""

import itertools
import logging
import math
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.grading.outcomes import FileOutcomes, ShiftRules
from tests.unit.test_grading_outcomes import DAY, GRADES, RECORD, Clock, Record

FILE = "outcomes.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(folder: Path, clock: Clock, **rules: float) -> FileOutcomes:
    """A process's outcomes, without its thread: only `flush` and `close` touch the file."""
    return FileOutcomes(
        folder / FILE,
        ShiftRules(**rules),  # type: ignore[arg-type]
        clock=clock,
        every_s=math.inf,
        wait_s=1,
    )


def fail(outcomes: FileOutcomes, times: int = 1, intent: str = "intent", scope: str = "a") -> None:
    for _ in range(times):
        outcomes.record(scope, intent, "LOW", "check", False)


def shifted(outcomes: FileOutcomes, intent: str = "intent", scope: str = "a") -> str:
    return outcomes.shift(scope, intent, "LOW")[0]


def rows(folder: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / FILE)) as db:
        return db.execute("SELECT * FROM evidence").fetchall()


def test_what_was_learned_survives_a_restart(tmp_path: Path, clock: Clock) -> None:
    first = opened(tmp_path, clock)
    fail(first, 2)
    assert shifted(first) == "MEDIUM"
    first.close()
    assert shifted(opened(tmp_path, clock)) == "MEDIUM"


def test_a_crash_loses_what_was_not_flushed_only(tmp_path: Path, clock: Clock) -> None:
    crashed = opened(tmp_path, clock)
    fail(crashed, 2, "flushed")
    crashed.flush()
    fail(crashed, 2, "not flushed")
    after = opened(tmp_path, clock)
    assert (shifted(after, "flushed"), shifted(after, "not flushed")) == ("MEDIUM", "LOW")


def test_the_thread_writes_by_itself_and_learns_from_others(tmp_path: Path) -> None:
    one, other = (FileOutcomes(tmp_path / FILE, every_s=0.01) for _ in range(2))
    fail(one, 2)
    deadline = time.monotonic() + 5
    while shifted(other) != "MEDIUM" and time.monotonic() < deadline:
        time.sleep(0.005)
    assert shifted(other) == "MEDIUM"
    one.close()
    other.close()
    other.close()


def test_processes_add_up_what_each_saw(tmp_path: Path, clock: Clock) -> None:
    one, other = opened(tmp_path, clock), opened(tmp_path, clock)
    fail(one)
    fail(other)
    assert (shifted(one), shifted(other)) == ("LOW", "LOW")
    one.flush()
    other.flush()
    one.flush()
    assert (shifted(one), shifted(other)) == ("MEDIUM", "MEDIUM")


def test_no_update_is_lost_when_processes_write_at_once(tmp_path: Path, clock: Clock) -> None:
    everyone = [opened(tmp_path, clock, cap=1_000) for _ in range(4)]

    def work(outcomes: FileOutcomes) -> None:
        for _ in range(25):
            outcomes.record("a", "intent", "LOW", "check", False, 1.0)
            outcomes.flush()

    threads = [threading.Thread(target=work, args=(outcomes,)) for outcomes in everyone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcomes in everyone:
        outcomes.close()
    ((*_, check_bad, _, _, _, _),) = rows(tmp_path)
    assert check_bad == pytest.approx(100)
    for outcomes in everyone:
        assert outcomes.shift("a", "intent", "LOW")[1] == "outcomes: up; at LOW 100.0 bad (checks)"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(RECORD, st.booleans()), max_size=25))
def test_a_restart_changes_no_shift(events: list[tuple[Record, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        running = opened(Path(folder), clock, cap=8)
        for (intent, tier, kind, good, weight, pause), flush in events:
            running.record("a", intent, tier, kind, good, weight)
            clock.now += pause
            if flush:
                running.flush()
        running.close()
        restarted = opened(Path(folder), clock, cap=8)
        for intent, grade in itertools.product(("i1", "i2"), GRADES):
            assert running.shift("a", intent, grade) == restarted.shift("a", intent, grade)
        restarted.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(RECORD, st.integers(0, 2), st.booleans()), max_size=25))
def test_three_processes_learn_what_one_would(events: list[tuple[Record, int, bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as alone:
        clock = Clock()
        several = [opened(Path(folder), clock, cap=1_000) for _ in range(3)]
        single = opened(Path(alone), clock, cap=1_000)
        for (intent, tier, kind, good, weight, pause), which, flush in events:
            for outcomes in (several[which], single):
                outcomes.record("a", intent, tier, kind, good, weight)
                if flush:
                    outcomes.flush()
            clock.now += pause
        for outcomes in [*several, *several, single]:
            outcomes.flush()
        for intent, grade in itertools.product(("i1", "i2"), GRADES):
            expected = single.shift("a", intent, grade)[0]
            assert [outcomes.shift("a", intent, grade)[0] for outcomes in several] == [expected] * 3
        for outcomes in [*several, single]:
            outcomes.close()


def test_the_file_tells_neither_accounts_nor_asks(tmp_path: Path, clock: Clock) -> None:
    outcomes = opened(tmp_path, clock)
    fail(outcomes, 2, intent="a very private ask", scope="a very private account")
    outcomes.close()
    assert len(rows(tmp_path)) == 1
    assert all(b"very private" not in path.read_bytes() for path in tmp_path.iterdir())


def test_one_account_cannot_fill_the_file(tmp_path: Path, clock: Clock) -> None:
    outcomes = opened(tmp_path, clock, intents=5)
    fail(outcomes, 2, scope="quiet")
    for number in range(40):
        clock.now += 1
        fail(outcomes, 2, intent=f"i{number}", scope="loud")
        outcomes.flush()
    assert len(rows(tmp_path)) == 6
    restarted = opened(tmp_path, clock, intents=5)
    assert shifted(restarted, scope="quiet") == "MEDIUM"
    assert [shifted(restarted, f"i{number}", "loud") for number in (34, 35, 39)] == [
        "LOW",
        "MEDIUM",
        "MEDIUM",
    ]


def test_what_has_faded_leaves_the_file(tmp_path: Path, clock: Clock) -> None:
    outcomes = opened(tmp_path, clock)
    fail(outcomes, 5)
    outcomes.close()
    clock.now += 100 * DAY
    opened(tmp_path, clock).close()
    assert rows(tmp_path) == []


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 8_000])
def test_a_corrupt_file_is_set_aside_and_learning_starts_anew(
    tmp_path: Path, clock: Clock, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(content)
    outcomes = opened(tmp_path, clock)
    fail(outcomes, 2)
    assert shifted(outcomes) == "MEDIUM"
    outcomes.close()
    (aside,) = tmp_path.glob(f"{FILE}.corrupt-*")
    assert aside.read_bytes() == content
    assert f"is corrupt (file is not a database); kept as {aside.name}" in caplog.text
    assert shifted(opened(tmp_path, clock)) == "MEDIUM"


def test_a_file_that_goes_bad_while_in_use_is_replaced(tmp_path: Path, clock: Clock) -> None:
    outcomes = opened(tmp_path, clock)
    fail(outcomes, 2, "before")
    outcomes.flush()
    with closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # else the log heals the file
    (tmp_path / FILE).write_bytes(b"\xff" * 16_384)
    fail(outcomes, 2, "after")
    assert not outcomes.flush()
    assert (shifted(outcomes, "before"), shifted(outcomes, "after")) == ("LOW", "MEDIUM")
    assert outcomes.flush()
    assert len(list(tmp_path.glob(f"{FILE}.corrupt-*[0-9]"))) == 1
    assert shifted(opened(tmp_path, clock), "after") == "MEDIUM"


def test_processes_that_meet_a_corrupt_file_together_go_on_together(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / FILE).write_bytes(b"\xff" * 16_384)
    everyone: list[FileOutcomes] = []
    threads = [threading.Thread(target=lambda: everyone.append(opened(tmp_path, clock))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.glob(f"{FILE}.corrupt-*[0-9]"))) == 1
    fail(everyone[0], 2)
    for outcomes in everyone:
        outcomes.flush()
    assert [shifted(outcomes) for outcomes in everyone] == ["MEDIUM"] * 4


def test_a_file_of_a_newer_farthing_is_left_as_it_is(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("CREATE TABLE evidence (something_new TEXT)")
    before = (tmp_path / FILE).read_bytes()
    outcomes = opened(tmp_path, clock)
    fail(outcomes, 2)
    assert shifted(outcomes) == "MEDIUM"
    outcomes.close()
    assert "schema 99 is newer than this Farthing knows (1); upgrade it; learning goes on" in caplog.text
    assert (tmp_path / FILE).read_bytes() == before


def test_a_place_that_cannot_be_written_is_said_once_and_recovers(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    blocked = tmp_path / "folder"
    blocked.write_text("a file where the folder should be")
    outcomes = opened(blocked, clock)
    for _ in range(3):
        fail(outcomes)
        assert not outcomes.flush()
    assert shifted(outcomes) == "MEDIUM"
    assert caplog.text.count("learning goes on in memory") == 1
    blocked.unlink()
    assert outcomes.flush()
    assert "works again" in caplog.text
    assert shifted(opened(blocked, clock)) == "MEDIUM"


def test_a_file_locked_by_another_is_written_later(tmp_path: Path, clock: Clock) -> None:
    outcomes = FileOutcomes(tmp_path / FILE, clock=clock, every_s=math.inf, wait_s=0.01)
    fail(outcomes, 2)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not outcomes.flush()
        assert shifted(outcomes) == "MEDIUM"
    assert outcomes.flush()
    outcomes.close()
    ((*_, check_bad, _, _, _, _),) = rows(tmp_path)
    assert check_bad == pytest.approx(1.8)


def test_what_a_process_with_a_fast_clock_learned_fades_all_the_same(tmp_path: Path, clock: Clock) -> None:
    fast = Clock()
    fast.now = clock.now + 365 * DAY
    ahead, ours = opened(tmp_path, fast), opened(tmp_path, clock)
    fail(ahead, 2)
    ahead.flush()
    ours.flush()
    assert shifted(ours) == "MEDIUM"
    clock.now += 3 * DAY
    assert shifted(ours) == "LOW"


@pytest.mark.parametrize("damage", ["-5.0", "9e999", "'text'"])
def test_damaged_numbers_count_nothing_and_fail_nothing(tmp_path: Path, clock: Clock, damage: str) -> None:
    outcomes = opened(tmp_path, clock)
    fail(outcomes, 2)
    outcomes.close()
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as db:
        db.execute(f"UPDATE evidence SET check_bad = {damage}, at = {damage}")
    restarted = opened(tmp_path, clock)
    assert shifted(restarted) == "LOW"
    fail(restarted, 2)
    assert restarted.flush()
    assert shifted(restarted) == "MEDIUM"
