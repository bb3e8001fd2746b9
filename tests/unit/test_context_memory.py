"""Sessions are remembered each for its own owner, within bounds and retention, and are forgotten for good."""

import contextlib
import multiprocessing
import random
import resource
import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from farthing.context.fold import OWN, Fold, Owner, Segment, reference_of
from farthing.context.memory import RecollectionError, Session, open_memory
from farthing.context.memory_file import MOST, MOST_ORIGINAL_BYTES, MOST_ORIGINALS, FileMemory
from farthing.settings import ContextSettings

spawn = multiprocessing.get_context("spawn")

KEY = "a_key_that_is_used_by_the_tests_and_no_else"
"""As `farthing context key` makes them: others are stretched, at each opening."""
HOUR, DAY = 3_600, 86_400
ADA, ADA_2, BOB = Owner("ada", "s-1"), Owner("ada", "s-2"), Owner("bob", "s-1")
SECRET = "the launch code is 7731-KESTREL"


class Clock:
    def __init__(self, now=1_800_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "context.db"


@pytest.fixture
def opened(path, clock):
    """Opens the memory; closes them all in the end."""
    with contextlib.ExitStack() as stack:

        def open_it(key=KEY, **others):
            memory = FileMemory(path, **{"key": key, "retention_s": 30 * DAY, "clock": clock, **others})
            stack.callback(memory.close)
            return memory

        yield open_it


def fold(number=1, text=SECRET):
    return Fold(f"{number:064x}", number + 2, number, 1, (Segment(1, number, text, 9, OWN),))


def fill(memory, owner, text=SECRET):
    epoch = memory.session(owner).epoch
    memory.keep(owner, fold(1, text), epoch=epoch)
    memory.refuse(owner, f"refused {text}", epoch=epoch)
    memory.book(owner, epoch=epoch, saved=7, spent=2, sent={"gpt-5": f"sent {text}"})
    memory.keep_originals(owner, {reference_of(owner, text): text}, epoch=epoch)


def filled(owner, memory, text=SECRET):
    """What `fill` leaves behind."""
    known = Session((fold(1, text),), 7, 2, frozenset({f"refused {text}"}), {"gpt-5": f"sent {text}"}, 0)
    return memory.session(owner) == known and memory.original(owner, reference_of(owner, text)) == text


def raw(path):
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def run_sql(path, sql, values=()):
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        return db.execute(sql, values).fetchall()


def test_what_is_remembered_outlasts_a_restart(opened):
    memory = opened()
    assert memory.session(ADA) == Session()
    fill(memory, ADA)
    memory.keep(ADA, Fold("ff", 3), epoch=0)
    memory.book(ADA, epoch=0, saved=-3, spent=1, sent={"gpt-5": "again", "haiku": "first"})
    memory.close()
    memory = opened()
    assert memory.session(ADA) == Session(
        (fold(), Fold("ff", 3)),
        4,
        3,
        frozenset({f"refused {SECRET}"}),
        {"haiku": "first", "gpt-5": "again"},
    )
    assert memory.original(ADA, reference_of(ADA, SECRET)) == SECRET


@pytest.mark.parametrize("text", ["", "ünïcode ☃ 😀", "\ud83d", "\ud83d\ude00", "a\0b\n", '"\\ 12 '])
@pytest.mark.parametrize("key", ["", KEY])
def test_any_text_comes_back_as_it_was(opened, text, key):
    memory = opened(key)
    odd = Owner(text, text)
    fill(memory, odd, text)
    memory.book(odd, epoch=0, sent={text: text})
    assert memory.session(odd).folds == (fold(1, text),)
    assert memory.session(odd).refused == {f"refused {text}"}
    assert memory.session(odd).sent == {"gpt-5": f"sent {text}", text: text}
    assert memory.original(odd, reference_of(odd, text)) == text


@pytest.mark.parametrize("key", ["", KEY])
def test_identical_conversations_of_two_users_know_nothing_of_each_other(opened, key):
    memory = opened(key)
    fill(memory, ADA)
    ada = reference_of(ADA, SECRET)
    for stranger in (BOB, ADA_2, Owner("ad", "as-1"), Owner("s-1", "ada")):
        assert memory.session(stranger) == Session()
        assert memory.original(stranger, ada) is None
    fill(memory, BOB)
    memory.book(BOB, epoch=0, saved=100)
    memory.refuse(BOB, "another", epoch=0)
    memory.keep_originals(BOB, {ada: "not what ada said"}, epoch=0)
    assert filled(ADA, memory)


@pytest.mark.parametrize("key", ["", KEY])
def test_a_row_moved_to_another_owner_does_not_open(opened, path, key):
    memory = opened(key)
    fill(memory, ADA)
    memory.book(BOB, epoch=0)
    ((bob,),) = run_sql(path, "SELECT owner FROM sessions WHERE saved = 0")
    run_sql(path, "UPDATE notes SET owner = ?", (bob,))
    ((name,),) = run_sql(path, "SELECT name FROM originals")
    wanted = memory._sealer.name("original", bob, reference_of(BOB, SECRET))
    run_sql(path, "UPDATE originals SET owner = ?, name = ? WHERE name = ?", (bob, wanted, name))
    assert memory.session(BOB) == Session()
    assert memory.original(BOB, reference_of(BOB, SECRET)) is None


@pytest.mark.parametrize("key", ["", KEY])
def test_a_damaged_row_is_skipped_and_the_others_are_not(opened, path, key):
    memory = opened(key)
    for number in (1, 2, 3):
        memory.keep(ADA, fold(number), epoch=0)
    fill(memory, ADA, "else")
    run_sql(path, "UPDATE notes SET sealed = x'00' || sealed WHERE id = 2")
    run_sql(path, "UPDATE notes SET sealed = 17 WHERE kind = 'refusal'")
    run_sql(path, "UPDATE originals SET sealed = zeroblob(length(sealed))")
    strange = "SELECT owner, 'x', 7, CAST(x'ff' AS TEXT) FROM sessions"
    run_sql(path, f"INSERT INTO notes (owner, name, kind, sealed) {strange}")
    run_sql(path, "UPDATE notes SET kind = 'refusal' WHERE id = 3")
    known = memory.session(ADA)
    assert known.folds == (fold(1), fold(3), fold(1, "else"))
    assert (known.refused, known.sent) == (frozenset(), {"gpt-5": "sent else"})
    assert memory.original(ADA, reference_of(ADA, "else")) is None


def test_with_a_key_the_file_tells_neither_users_nor_texts(opened, path):
    owner = Owner("ada.lovelace", "session-0123456789")
    for key in ("", KEY):
        memory = opened(key)
        fill(memory, owner)
        found = raw(path)
        assert (SECRET.encode() in found) == (key == "")
        for word in (owner.user, owner.session_id, "gpt-5", reference_of(owner, SECRET), fold().prefix):
            assert word.encode() not in found or key == "", word
        memory.close()


def test_a_key_that_is_set_later_leaves_no_plain_text_behind(opened, path):
    memory = opened("")
    for number in range(60):
        fill(memory, Owner("ada", f"s-{number}"), f"{SECRET} {number} " * (1 + number))
    memory.close()
    memory = opened(KEY)
    assert SECRET.encode() not in raw(path)
    assert run_sql(path, "PRAGMA freelist_count") == [(0,)]
    assert memory.session(Owner("ada", "s-1")) == Session()
    assert memory.unreadable() == 0


def test_a_rotated_key_begins_anew_and_the_old_one_still_reads_its_own(opened):
    old = opened()
    fill(old, ADA)
    new = opened("the key after that one")
    assert new.session(ADA) == Session()
    assert new.original(ADA, reference_of(ADA, SECRET)) is None
    assert new.unreadable() == 1
    fill(new, ADA, "said later")
    assert filled(ADA, new, "said later")
    assert filled(ADA, old)


def test_an_erasure_takes_what_another_key_sealed_along(opened):
    old, new = opened(), opened("the key after that one")
    fill(old, BOB)
    fill(new, ADA)
    assert new.erase("nobody") == 0
    assert old.session(BOB) == Session(epoch=1)
    assert new.unreadable() == 0
    assert new.session(ADA).folds == (fold(),)


def test_the_newest_are_kept(opened):
    memory = opened()
    for number in range(MOST["fold"] + 3):
        memory.keep(ADA, fold(number), epoch=0)
    memory.keep(ADA, fold(4), epoch=0)  # again: the newest now
    assert [one.entries for one in memory.session(ADA).folds] == [3, 5, 6, 7, 8, 4]
    for number in range(MOST["refusal"] + 3):
        memory.refuse(ADA, str(number), epoch=0)
    assert memory.session(ADA).refused == {str(number) for number in range(3, MOST["refusal"] + 3)}
    for number in range(MOST["sent"] + 3):
        memory.book(ADA, epoch=0, sent={str(number): "x"})
    assert list(memory.session(ADA).sent) == [str(number) for number in range(3, MOST["sent"] + 3)]
    assert len(memory.session(ADA).folds) == MOST["fold"]


def test_originals_are_bounded_in_number_and_the_oldest_go(opened):
    memory = opened()
    memory.keep_originals(ADA, {"first": "1", "second": "2"}, epoch=0)
    memory.keep_originals(BOB, {"first": "of bob"}, epoch=0)
    memory.keep_originals(ADA, {f"r{number}": "x" for number in range(MOST_ORIGINALS - 1)}, epoch=0)
    assert [memory.original(ADA, name) for name in ("first", "second", "r0")] == [None, "2", "x"]
    memory.keep_originals(ADA, {f"q{number}": "y" for number in range(MOST_ORIGINALS + 5)}, epoch=0)
    assert [memory.original(ADA, name) for name in ("r7", "q4", "q5", "q2004")] == [None, None, "y", "y"]
    assert memory.original(BOB, "first") == "of bob"


def test_originals_are_bounded_in_bytes(opened, path):
    memory = opened("")
    tenth = MOST_ORIGINAL_BYTES // 10
    memory.keep_originals(ADA, {"old": "o" * tenth, "newer": "n" * tenth}, epoch=0)
    memory.keep_originals(ADA, {"too long": "x" * (MOST_ORIGINAL_BYTES + 1)}, epoch=0)
    memory.keep_originals(ADA, {"too long": "é" * (MOST_ORIGINAL_BYTES - 1)}, epoch=0)
    assert memory.original(ADA, "too long") is None
    assert memory.original(ADA, "old") == "o" * tenth
    memory.keep_originals(ADA, {f"r{number}": "r" * tenth for number in range(9)}, epoch=0)
    assert memory.original(ADA, "old") is None
    assert memory.original(ADA, "newer") == "n" * tenth
    memory.keep_originals(ADA, {"whole": "w" * MOST_ORIGINAL_BYTES}, epoch=0)
    assert run_sql(path, "SELECT count(*), sum(bytes) FROM originals") == [(1, MOST_ORIGINAL_BYTES)]
    memory.keep_originals(ADA, {f"s{number}": "s" * tenth for number in range(14)}, epoch=0)
    assert [memory.original(ADA, f"s{number}") is None for number in (3, 4)] == [True, False]


def test_a_session_is_forgotten_after_its_last_use(opened, clock, path):
    memory = opened()
    fill(memory, ADA)
    fill(memory, BOB)
    for _ in range(4):  # ada reads now and then; bob does not
        clock.now += 10 * DAY
        assert memory.session(ADA).folds
        memory.prune()
    assert filled(ADA, memory)
    assert memory.session(BOB) == Session()
    assert run_sql(path, "SELECT count(*) FROM sessions") == [(1,)]
    clock.now += 30 * DAY
    assert memory.session(ADA) == Session()
    assert memory.original(ADA, reference_of(ADA, SECRET)) is None
    assert memory.prune() == 2  # a session and a text
    assert memory.prune() == 0


def test_a_session_past_its_retention_begins_anew_even_before_it_is_pruned(opened, clock):
    memory = opened()
    fill(memory, ADA)
    clock.now += 31 * DAY
    text = "said much later"
    memory.keep_originals(ADA, {reference_of(ADA, SECRET): SECRET}, epoch=0)  # the client sends it again
    assert memory.original(ADA, reference_of(ADA, SECRET)) == SECRET
    assert memory.session(ADA) == Session()
    fill(memory, ADA, text)
    assert filled(ADA, memory, text)


def test_reading_does_not_write_and_its_use_is_noted_once_an_hour(opened, clock, path):
    def used_at():
        rows = run_sql(path, "SELECT used_at FROM sessions ORDER BY used_at")
        return [at - began for (at,) in rows]

    memory, began = opened(), clock.now
    fill(memory, ADA)
    writer = sqlite3.connect(path)
    writer.execute("BEGIN IMMEDIATE")  # another process is writing: readers do not wait for it
    clock.now += HOUR - 1
    assert memory.session(ADA).folds
    clock.now += 2
    assert memory.session(ADA).folds
    writer.rollback()
    writer.close()
    assert used_at() == [0]
    clock.now += 5
    memory.book(BOB, epoch=0)
    assert used_at() == [HOUR + 1, HOUR + 6]
    clock.now += HOUR
    memory.session(ADA)
    memory.close()
    assert used_at() == [HOUR + 6, 2 * HOUR + 6]


def test_many_sessions_are_pruned_in_steps(opened, clock, path):
    memory = opened()
    for number in range(40):
        fill(memory, Owner("ada", str(number)))
    clock.now += 31 * DAY
    fill(memory, BOB)
    assert memory.prune() == 80
    assert run_sql(path, "SELECT count(*) FROM sessions") == [(1,)]
    assert run_sql(path, "SELECT count(*) FROM notes") == [(3,)]
    assert filled(BOB, memory)


@pytest.mark.parametrize("key", ["", KEY])
def test_erasing_a_user_leaves_the_others_and_works_across_processes(opened, key):
    memory, elsewhere = opened(key), opened(key)
    for owner in (ADA, ADA_2, BOB):
        fill(memory, owner)
    assert elsewhere.erase("ada") == 2
    assert [memory.session(owner) for owner in (ADA, ADA_2)] == [Session(epoch=1)] * 2
    assert memory.original(ADA, reference_of(ADA, SECRET)) is None
    assert memory.session(BOB).folds == (fold(),)
    assert memory.original(BOB, reference_of(BOB, SECRET)) == SECRET
    assert memory.erase("ada") == 0


def test_no_byte_of_an_erased_user_is_left_in_the_files(opened, path):
    # Of all lengths, rewritten again and again: so SQLite moves rows about and leaves parts of them behind.
    memory, chance = opened(""), random.Random(0)
    for erasures in range(3):
        for number in range(400):
            user = chance.choice("abcdef")
            owner, text = Owner(user, f"s{chance.randrange(25)}"), f"<{user} said {number}>"
            text *= 1 + int(10 ** chance.uniform(0.5, 4.3)) // len(text)
            if chance.random() < 0.6:
                memory.keep(owner, fold(number, text), epoch=erasures)
            else:
                memory.book(owner, epoch=erasures, sent={chance.choice("xyz"): text})
        gone = chance.choice("abcdef")
        assert f"<{gone} said".encode() in raw(path)
        memory.erase(gone)
        assert f"<{gone} said".encode() not in raw(path)
        # That takes some luck to fail where the file is not written anew. This does not:
        assert run_sql(path, "PRAGMA freelist_count") == [(0,)]


def test_what_is_pruned_is_overwritten(opened, path, clock):
    memory = opened("")
    fill(memory, ADA, f"{SECRET} " * 1_000)
    clock.now += 31 * DAY
    assert memory.prune() == 2
    assert SECRET.encode() not in raw(path)


def test_work_that_began_before_an_erasure_is_not_written_after_it(opened):
    memory, elsewhere = opened(), opened()
    fill(memory, ADA)
    began = memory.session(ADA).epoch
    assert elsewhere.erase("ada") == 1
    now = memory.session(ADA).epoch  # the client sends its history again, meanwhile
    memory.keep(ADA, fold(), epoch=began)
    memory.refuse(ADA, SECRET, epoch=began)
    memory.book(ADA, epoch=began, spent=5, sent={"gpt-5": SECRET})
    memory.keep_originals(ADA, {"ref": SECRET}, epoch=began)
    assert memory.session(ADA) == Session(epoch=now)
    assert memory.original(ADA, "ref") is None
    memory.keep(ADA, fold(2), epoch=now)
    assert memory.session(ADA).folds == (fold(2),)


def test_an_erasure_that_a_reader_keeps_from_the_log_says_so_and_can_be_had_again(opened, path):
    memory = opened("", wait_s=0.05)
    fill(memory, ADA)
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sessions").fetchall()
    with pytest.raises(RecollectionError, match="erase again"):
        memory.erase("ada")
    assert memory.session(ADA) == Session(epoch=1)
    reader.close()
    assert memory.erase("ada") == 0
    assert SECRET.encode() not in raw(path)


def test_the_file_is_its_owners_alone(opened, path):
    path.parent.mkdir()
    path.touch(0o666)
    path.chmod(0o666)
    memory = opened()
    fill(memory, ADA)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"context.db": 0o600, "context.db-wal": 0o600, "context.db-shm": 0o600}


def test_a_file_that_is_no_database_says_what_to_do(opened, path):
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(RecollectionError, match="remove it"):
        opened()
    with pytest.raises(RecollectionError):
        FileMemory(path.parent, retention_s=DAY)
    assert path.parent.stat().st_mode & 0o077


def test_a_newer_farthings_file_is_left_alone(opened, path):
    opened().close()
    run_sql(path, "PRAGMA user_version = 9")
    with pytest.raises(RecollectionError, match="newer"):
        opened()


def test_a_file_damaged_under_way_raises_and_does_not_lie(opened, path):
    memory = opened("")
    fill(memory, ADA)
    memory.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)  # the first page, with the schema, is whole
        file.write(b"\x5a" * (size - 4096))
    memory = opened("")
    with pytest.raises(RecollectionError, match="remove it"):
        memory.session(ADA)
    with pytest.raises(RecollectionError):
        memory.keep(ADA, fold(), epoch=0)


def test_a_locked_file_raises_and_keeps_what_it_had(opened, path):
    memory = opened(wait_s=0.05)
    fill(memory, ADA)
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(RecollectionError, match="locked"):
            memory.keep(ADA, fold(2), epoch=0)
        with pytest.raises(RecollectionError, match="locked"):
            memory.erase("ada")
    assert filled(ADA, memory)


def test_impossible_sums_raise_and_change_nothing(opened):
    memory = opened()
    fill(memory, ADA)
    for saved in (2**63 - 1, 2**80):
        with pytest.raises(RecollectionError):
            memory.book(ADA, epoch=0, saved=saved, sent={"gpt-5": "never"})
    assert filled(ADA, memory)


def test_a_closed_memory_raises(opened):
    memory = opened()
    memory.close()
    memory.close()
    with pytest.raises(RecollectionError):
        memory.session(ADA)
    with pytest.raises(RecollectionError):
        memory.book(ADA, epoch=0, saved=1)


def _fill_until_full(path, found):
    memory = FileMemory(path, key=KEY, retention_s=DAY)
    memory.keep(ADA, fold(), epoch=0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
    try:
        memory.keep_originals(ADA, {"big": "x" * 2_000_000}, epoch=0)
        found.put("written")
    except RecollectionError as error:
        known = memory.session(ADA)
        found.put((str(error), known.folds, memory.original(ADA, "big")))


def test_a_full_disk_raises_and_what_was_known_still_is(path):
    found = spawn.SimpleQueue()
    process = spawn.Process(target=_fill_until_full, args=(path, found))
    process.start()
    process.join()
    message, folds, big = found.get()
    assert str(path) in message
    assert (folds, big) == ((fold(),), None)


def _book(path, times):
    memory = FileMemory(path, key=KEY, retention_s=DAY, wait_s=60)
    for number in range(times):
        memory.book(ADA, epoch=0, saved=3, spent=1)
        memory.refuse(ADA, f"{number % 5}", epoch=0)
    memory.close()


def test_processes_and_threads_add_up(path):
    memory = FileMemory(path, key=KEY, retention_s=DAY, wait_s=60)
    processes = [spawn.Process(target=_book, args=(path, 60)) for _ in range(2)]
    threads = [threading.Thread(target=lambda: [memory.book(ADA, epoch=0, saved=3) for _ in range(60)])]
    threads.append(threading.Thread(target=lambda: [memory.session(ADA) for _ in range(300)]))
    threads.append(threading.Thread(target=lambda: [memory.keep(ADA, fold(n), epoch=0) for n in range(60)]))
    for worker in (*processes, *threads):
        worker.start()
    for worker in (*processes, *threads):
        worker.join()
    assert [process.exitcode for process in processes] == [0, 0]
    known = memory.session(ADA)
    assert (known.saved, known.spent) == (3 * 180, 120)
    assert known.refused == set("01234")
    assert [one.entries for one in known.folds] == [54, 55, 56, 57, 58, 59]
    memory.close()


def test_erasures_while_others_write_leave_nothing_of_before(opened, path):
    memory, eraser = opened("", wait_s=60), opened("", wait_s=60)
    done = threading.Event()

    def work():
        number = 0
        while not done.is_set():
            number += 1
            epoch = memory.session(ADA).epoch
            memory.keep(ADA, fold(number, f"<epoch {epoch}>"), epoch=epoch)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(10):
            eraser.erase("ada")
    finally:
        done.set()
        worker.join()
    eraser.erase("ada")
    assert b"<epoch" not in raw(path)


def test_the_settings_say_where_and_for_how_long(tmp_path):
    context = ContextSettings(path=tmp_path / "c.db", key=KEY, retention_days=2)
    with contextlib.closing(open_memory(context)) as memory:
        fill(memory, ADA)
    kept = FileMemory(tmp_path / "c.db", key=KEY, retention_s=2 * DAY)
    with contextlib.closing(kept):
        assert filled(ADA, kept)
    later = FileMemory(tmp_path / "c.db", key=KEY, retention_s=2 * DAY, clock=lambda: time.time() + 2 * DAY)
    with contextlib.closing(later):
        assert later.session(ADA) == Session()


OWNERS = st.sampled_from([ADA, ADA_2, BOB])
TEXTS = st.text(max_size=20)


class Remembering(RuleBasedStateMachine):
    """The memory beside a model of it: what each owner said, and when it was used."""

    folder: Path
    runs = 0

    def __init__(self):
        super().__init__()
        type(self).runs += 1
        self.path = self.folder / f"{self.runs}.db"
        self.clock = Clock()
        self.sessions = {}
        self.read_at = {}
        self.epoch = 0
        self.memory = self.open()

    def open(self):
        return FileMemory(self.path, key=KEY, retention_s=2 * DAY, clock=self.clock)

    def note_reads(self):
        """That a session was read is written down with whatever is written next."""
        for owner, at in self.read_at.items():
            if owner in self.sessions:
                self.sessions[owner]["used_at"] = at
        self.read_at = {}

    def entered(self, owner):
        self.note_reads()
        session = self.alive(owner) or {
            "folds": [],
            "refused": [],
            "sent": {},
            "originals": {},
            "sum": [0, 0],
        }
        session["used_at"] = self.clock.now
        self.sessions[owner] = session
        return session

    def alive(self, owner):
        session = self.sessions.get(owner)
        return session if session and session["used_at"] > self.clock.now - 2 * DAY else None

    @rule(owner=OWNERS, number=st.integers(1, 9), text=TEXTS)
    def keep(self, owner, number, text):
        self.memory.keep(owner, fold(number, text), epoch=self.epoch)
        kept = self.entered(owner)["folds"]
        kept[:] = [*(one for one in kept if one != fold(number, text)), fold(number, text)][-MOST["fold"] :]

    @rule(owner=OWNERS, name=TEXTS)
    def refuse(self, owner, name):
        self.memory.refuse(owner, name, epoch=self.epoch)
        self.entered(owner)["refused"].append(name)

    @rule(owner=OWNERS, saved=st.integers(-9, 9), spent=st.integers(0, 9), sent=st.dictionaries(TEXTS, TEXTS))
    def book(self, owner, saved, spent, sent):
        sent = dict(list(sent.items())[:2])
        self.memory.book(owner, epoch=self.epoch, saved=saved, spent=spent, sent=sent)
        session = self.entered(owner)
        session["sum"][0] += saved
        session["sum"][1] += spent
        for model, text in sent.items():
            session["sent"].pop(model, None)
            session["sent"][model] = text
        session["sent"] = dict(list(session["sent"].items())[-MOST["sent"] :])

    @rule(owner=OWNERS, texts=st.lists(TEXTS, min_size=1, max_size=3))
    def keep_originals(self, owner, texts):
        originals = {reference_of(owner, text): text for text in texts}
        known = self.alive(owner)
        new = known is None or not originals.keys() <= known["originals"].keys()
        self.memory.keep_originals(owner, originals, epoch=self.epoch)
        if new:
            self.entered(owner)["originals"].update(originals)

    @rule(owner=OWNERS, text=TEXTS)
    def late(self, owner, text):
        """Something that began before the last erasure."""
        self.note_reads()
        self.memory.keep(owner, fold(1, text), epoch=self.epoch - 1)
        self.memory.keep_originals(owner, {"late": text}, epoch=self.epoch - 1)

    @rule(user=st.sampled_from(["ada", "bob", "nobody"]))
    def erase(self, user):
        mine = [owner for owner in self.sessions if owner.user == user]
        assert self.memory.erase(user) == len(mine)
        for owner in mine:
            del self.sessions[owner]
        self.epoch += 1

    @rule()
    def prune(self):
        self.note_reads()
        gone = [owner for owner in self.sessions if not self.alive(owner)]
        texts = sum(len(self.sessions[owner]["originals"]) for owner in gone)
        assert self.memory.prune() == len(gone) + texts
        for owner in gone:
            del self.sessions[owner]

    @rule(hours=st.sampled_from([0.5, 1, 20, 47]))
    def wait(self, hours):
        self.clock.now += hours * HOUR

    @rule()
    def restart(self):
        self.note_reads()
        self.memory.close()
        self.memory = self.open()

    @rule(owner=OWNERS)
    def read(self, owner):
        session = self.alive(owner)
        known = self.memory.session(owner)
        assert known.epoch == self.epoch
        if session is None:
            assert known == Session(epoch=self.epoch)
            return
        if self.clock.now - session["used_at"] >= HOUR:
            self.read_at[owner] = self.clock.now
        assert known.folds == tuple(session["folds"])
        assert known.refused == set(session["refused"])
        assert list(known.sent.items()) == list(session["sent"].items())
        assert [known.saved, known.spent] == session["sum"]

    @invariant()
    def originals_are_their_owners(self):
        everything = {ref for session in self.sessions.values() for ref in session["originals"]}
        for owner in (ADA, ADA_2, BOB):
            session = self.alive(owner)
            for reference in everything | {"late"}:
                text = session["originals"].get(reference) if session else None
                assert self.memory.original(owner, reference) == text

    def teardown(self):
        self.memory.close()


def test_it_remembers_as_the_model_does(tmp_path, monkeypatch):
    monkeypatch.setattr(Remembering, "folder", tmp_path, raising=False)
    # Many short lives: the file is written anew at each erasure.
    run = hypothesis_settings(max_examples=30, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(Remembering, settings=run)
