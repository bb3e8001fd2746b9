"""A damaged outbox gives up every charge that can still be read, and is kept as it was."""

import asyncio
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3

import pytest

from farthing.telemetry import outbox_inspect, outbox_salvage, sqlite_pages
from farthing.telemetry.outbox import Outbox, OutboxError

spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "outbox.db"


def payload(number):
    """Of many lengths, some of them longer than a page."""
    return random.Random(number).randbytes(200 + number * 37 % 9000)


async def fill(path, first, last, fsync="off"):
    outbox = Outbox(path, fsync=fsync)
    for number in range(first, last):
        await outbox.append(f"charge-{number}", number, payload(number), sequence=number)
    return outbox


def leave_as_a_crash_does(path, first, last):
    """Append and die without a farewell, so that the log stays behind."""

    async def work():
        await fill(path, first, last)
        os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(work())


def crashed(path, first, last):
    process = spawn.Process(target=leave_as_a_crash_does, args=(path, first, last))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


async def read(path):
    outbox = Outbox(path, fsync="off")
    found = {entry.charge_id: entry.payload for entry in await outbox.pending(10**6)}
    counts = await outbox.counts()
    await outbox.close()
    return counts, found


def overwrite(file, at, data):
    with open(file, "r+b") as out:
        out.seek(at)
        out.write(data)


def flip(file, at):
    with open(file, "r+b") as out:
        out.seek(at)
        byte = out.read(1)[0]
        out.seek(at)
        out.write(bytes([byte ^ 0x55]))


def readable(path):
    """What is whole in the bytes on disk, found the slow way: each payload in one piece, or its chain."""
    whole, _, _ = outbox_salvage._read(path)
    return set(whole)


async def test_the_page_reader_finds_what_sqlite_has(path):
    outbox = await fill(path, 0, 120)
    await outbox.delivered(["charge-3"])
    rows, bad, totals = outbox_salvage._read(path)
    await outbox.close()
    assert not bad
    assert {name: row.entry.payload for name, row in rows.items()} == {
        f"charge-{number}": payload(number) for number in range(120)
    }
    assert rows["charge-3"].state == "delivered"
    assert totals == (120, sum(range(120)), 0)


def test_a_healthy_log_after_a_crash_is_no_damage(path):
    crashed(path, 0, 50)
    assert os.path.getsize(f"{path}-wal") > 0
    assert not sqlite_pages.log_is_broken(path)
    counts, found = asyncio.run(read(path))
    assert counts.pending == len(found) == 50
    assert outbox_salvage.aside_files(path) == []


def test_a_flipped_bit_in_the_log_does_not_take_what_is_behind_it(path, caplog):
    crashed(path, 0, 60)
    flip(f"{path}-wal", os.path.getsize(f"{path}-wal") // 3)
    survivors = readable(path)
    assert len(survivors) >= 58
    # SQLite by itself would lose about two thirds, silently.
    shutil.copy(path, path.with_name("naive.db"))
    shutil.copy(f"{path}-wal", path.with_name("naive.db-wal"))
    naive = sqlite3.connect(path.with_name("naive.db"))
    assert naive.execute("SELECT count(*) FROM charges").fetchone()[0] < 40
    naive.close()
    counts, found = asyncio.run(read(path))
    assert set(found) == survivors
    assert all(found[name] == payload(int(name.split("-")[1])) for name in found)
    assert counts.pending == len(survivors)
    (aside,) = outbox_salvage.aside_files(path)
    assert "was damaged" in caplog.text
    assert str(aside) in caplog.text


def test_a_torn_end_of_the_log_costs_the_torn_charge_alone(path):
    crashed(path, 0, 40)
    os.truncate(f"{path}-wal", os.path.getsize(f"{path}-wal") - 1000)
    _, found = asyncio.run(read(path))
    assert set(found) >= {f"charge-{number}" for number in range(39)}
    assert outbox_salvage.aside_files(path) == [], "a torn end is what a power cut leaves: no damage"


@pytest.mark.parametrize("seed", range(6))
def test_whatever_bytes_of_the_file_are_hit_what_is_readable_survives(path, seed):
    rng = random.Random(seed)
    asyncio.run(close_after(fill(path, 0, 80)))
    size = path.stat().st_size
    assert not os.path.exists(f"{path}-wal")
    if seed == 0:
        os.truncate(path, size // 2 + 1234)
    elif seed == 1:  # the header, and with it all that SQLite knows
        path.write_bytes(bytes(100) + path.read_bytes()[100:])
    else:
        for _ in range(rng.choice([1, 5, 40])):
            flip(path, rng.randrange(size))
    survivors = readable(path)
    assert len(survivors) >= (25 if seed == 0 else 30)
    counts, found = asyncio.run(read(path))
    assert set(found) == survivors
    assert all(found[name] == payload(int(name.split("-")[1])) for name in found)
    assert counts.pending == len(found)
    # And it works again.
    asyncio.run(close_after(fill(path, 100, 110)))
    assert len(asyncio.run(read(path))[1]) == 10, "the others are claimed"


async def close_after(made):
    await (await made).close()


async def test_a_charge_whose_bytes_changed_is_never_sent(path, caplog):
    outbox = await fill(path, 0, 3)
    await outbox.close()
    data = path.read_bytes()
    at = data.index(payload(1)[:50])
    flip(path, at + 20)  # SQLite has no checksum: to it, the row is fine
    outbox = Outbox(path, fsync="off")
    assert [entry.charge_id for entry in await outbox.pending(10)] == ["charge-0", "charge-2"]
    assert (await outbox.counts()).rejected == 1
    assert "charge-1" in caplog.text
    pages = [page async for page in outbox.pages(0, 1)]
    assert [entry.charge_id for page in pages for entry in page] == ["charge-0", "charge-2"]
    await outbox.close()


@pytest.mark.parametrize("column", ["instance", "charge_id", "payload"])
async def test_a_charge_that_is_no_text_any_more_does_not_hold_up_the_others(path, column):
    await (await fill(path, 0, 3)).close()
    db = sqlite3.connect(path)
    db.execute(f"UPDATE charges SET {column} = CAST(X'E9C0' AS TEXT) WHERE row = 1")
    db.commit()
    db.close()
    outbox = Outbox(path, fsync="off")
    assert [entry.charge_id for entry in await outbox.pending(10)] == ["charge-1", "charge-2"]
    counts = await outbox.counts()
    assert (counts.pending, counts.rejected) == (2, 1)
    pages = [page async for page in outbox.pages(0, 10)]
    assert [entry.charge_id for page in pages for entry in page] == ["charge-1", "charge-2"]
    await outbox.close()
    with outbox_inspect.reading(path) as reader:
        assert len(reader.snapshot().rejected) == 1


async def test_damage_met_while_two_workers_run_is_mended_under_way(path):
    one, two = await fill(path, 0, 60), Outbox(path, fsync="off")
    assert (await two.counts()).pending == 60
    await one._worker.ask(lambda db: db.execute("UPDATE totals SET pending = pending"))
    one._worker.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    size = path.stat().st_size
    overwrite(path, size // 3 // 4096 * 4096, bytes(size // 3))  # tables' and indexes' pages alike
    survivors = readable(path)
    claimed, appended = {}, set()
    for number in range(200, 260):
        for worker in (one, two):
            name = f"charge-{number}-{id(worker)}"
            await worker.append(name, 1, payload(number), sequence=number)
            appended.add(name)
        claimed |= {entry.charge_id: entry.payload for entry in await one.pending(1000)}
        claimed |= {entry.charge_id: entry.payload for entry in await two.pending(1000)}
    assert len(outbox_salvage.aside_files(path)) == 1
    assert set(claimed) == survivors | appended
    await one.close()
    await two.close()


def test_a_salvage_that_was_interrupted_is_finished(path):
    asyncio.run(close_after(fill(path, 0, 20)))
    # As after the renames of the old file and before that of the new one.
    rows, _, totals = outbox_salvage._read(path)
    outbox_salvage._build(path.with_name("outbox.db.new"), rows.values(), totals)
    os.replace(path, f"{path}.damaged-20261127T000000Z")
    counts, found = asyncio.run(read(path))
    assert counts.pending == len(found) == 20


def test_a_file_whose_main_part_is_gone_is_read_from_its_log(path):
    crashed(path, 0, 30)
    path.unlink()
    counts, found = asyncio.run(read(path))
    assert counts.pending == len(found) == 30


def test_somebody_elses_file_is_left_alone(path):
    path.write_bytes(b"something else entirely " * 200)
    with pytest.raises(OutboxError, match="move it away"):
        Outbox(path)
    assert path.read_bytes().startswith(b"something else")
    assert outbox_salvage.aside_files(path) == []


async def test_an_outbox_of_the_first_version_is_read_and_written_on(path):
    old = sqlite3.connect(path)
    old.executescript(
        "PRAGMA journal_mode = WAL;"
        "CREATE TABLE charges (row INTEGER PRIMARY KEY, charge_id TEXT NOT NULL UNIQUE, instance TEXT NOT"
        " NULL, sequence INTEGER NOT NULL, cost_nano INTEGER, payload BLOB NOT NULL,"
        " state TEXT NOT NULL DEFAULT 'pending', leased_until REAL NOT NULL DEFAULT 0,"
        " appended_at REAL NOT NULL, closed_at REAL);"
        "CREATE INDEX charges_pending ON charges (leased_until, row) WHERE state = 'pending';"
        "CREATE INDEX charges_closed ON charges (state, closed_at) WHERE state <> 'pending';"
        "CREATE TABLE totals (pending INTEGER, delivered INTEGER, rejected INTEGER, cost_nano INTEGER,"
        " unpriced INTEGER); INSERT INTO totals VALUES (1, 0, 0, 5, 0);"
        "INSERT INTO charges (charge_id, instance, sequence, cost_nano, payload, appended_at)"
        " VALUES ('old', 'i', 1, 5, x'aabb', 1700000000.5); PRAGMA user_version = 1;"
    )
    old.close()
    outbox = Outbox(path)
    await outbox.append("new", 1, b"x", sequence=1)
    assert [entry.charge_id for entry in await outbox.pending(10)] == ["old", "new"]
    await outbox.close()
