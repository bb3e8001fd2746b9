"""The outbox at its bound, and on a disk that is full."""

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from farthing.telemetry import outbox_ballast
from farthing.telemetry.outbox import Outbox, OutboxError

ROOT = Path(__file__).resolve().parents[2]
MOUNT = 'mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"'


async def fill(outbox, count, first=0):
    for number in range(first, first + count):
        await outbox.append(f"c{number}", 7, os.urandom(2000), sequence=number)


async def look(outbox):
    outbox.bound._look_at = 0.0  # it looks at most every quarter of a second
    await outbox.waiting()
    await outbox.waiting()  # it looks after it has answered
    return outbox.room


async def test_the_alarm_comes_once_before_the_bound_and_the_bound_is_told(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    outbox = Outbox(tmp_path / "outbox.db", fsync="off", most_bytes=400_000)
    rooms, sizes = [], []
    for number in range(0, 260, 5):
        await fill(outbox, 5, number)
        rooms.append(await look(outbox))
        sizes.append((await outbox.counts()).used_bytes)
    assert rooms == sorted(rooms, key=["enough", "full", "spent"].index), "it goes one way"
    assert {"enough", "full", "spent"} == set(rooms)
    for room, size in zip(rooms, sizes, strict=True):
        assert (room == "enough") == (size < 400_000)
        assert (room == "spent") == (size >= 500_000)
    levels = [record.levelname for record in caplog.records if "telemetry.outbox_max_bytes" in record.message]
    assert levels == ["ERROR", "CRITICAL", "CRITICAL"]
    assert (await outbox.counts()).pending == 260
    await outbox.close()


async def test_near_the_bound_what_is_delivered_and_settled_is_dropped_first_and_nothing_else(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", fsync="off", most_bytes=1_000_000)
    await fill(outbox, 300)
    claimed = [entry.charge_id for entry in await outbox.pending(300)]
    await outbox.delivered(claimed[:200])
    before = (await outbox.counts()).used_bytes
    await look(outbox)
    assert (await outbox.counts()).used_bytes == before, "what may not be settled yet is kept"
    outbox.bound.settled_before = time.time() + 1
    await look(outbox)
    after = await outbox.counts()
    assert after.used_bytes < before / 2
    assert (after.pending, after.delivered, after.cost_nano) == (100, 200, 2100)
    kept = [entry.charge_id async for page in outbox.pages(0, 50) for entry in page]
    assert kept == claimed[200:]
    # The file does not shrink, but what is free in it is used before it grows.
    size = (tmp_path / "outbox.db").stat().st_size
    await fill(outbox, 150, 1000)
    assert (tmp_path / "outbox.db").stat().st_size <= size
    await outbox.close()


async def test_what_is_measured(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", fsync="interval", fsync_ms=10)
    assert (await outbox.counts()).oldest_s == 0
    await fill(outbox, 3)
    await asyncio.sleep(0.2)
    counts = await outbox.counts()
    assert 0.2 <= counts.oldest_s < 30
    disk = sum((tmp_path / name).stat().st_size for name in ("outbox.db", "outbox.db-wal"))
    assert counts.bytes == disk > counts.used_bytes > 6000
    await outbox.delivered(["c0", "c1", "c2"])
    assert (await outbox.counts()).oldest_s == 0
    await outbox.close()


async def fill_up(outbox, kept):
    while len(kept) < 20_000:
        name = f"more-{len(kept)}"
        await outbox.append(name, 7, os.urandom(2000), sequence=len(kept))
        kept.append(name)


def on_a_small_disk(folder):
    """Fill the disk, deliver on it, make room, and go on. Runs in a process of its own, on 16 MB."""

    async def work():
        outbox = Outbox(folder / "outbox.db", fsync="always")
        assert outbox.room == "enough"
        filler = folder / "filler"
        kept, number, refused = [], 0, ""
        filler.write_bytes(bytes(shutil.disk_usage(folder).free - 300_000))
        while not refused:
            try:
                await outbox.append(f"c{number}", 7, os.urandom(2000), sequence=number)
                kept.append(f"c{number}")
            except OutboxError as error:
                refused = str(error)
            number += 1
            if outbox.room == "full" and len(kept) == 0:
                raise AssertionError("full before anything was written")
            if not (folder / "outbox.db.ballast").exists():
                assert outbox.room == "full", "the last reserve is for what is under way"
                break
            assert number < 5000
        assert not refused, refused
        # Delivery goes on: claims and marks are writes too.
        sent = []
        while batch := await outbox.pending(512):
            await outbox.delivered([entry.charge_id for entry in batch])
            sent += [entry.charge_id for entry in batch]
        assert sent == kept
        # And further, until really nothing can be written any more.
        with pytest.raises(OutboxError, match=r"full|I/O"):
            await fill_up(outbox, kept)
        number = len(kept) + 1
        filler.unlink()
        outbox.bound.ballast._again_at = 0.0
        await outbox.append("after", 7, b"x" * 2000, sequence=number)
        await look(outbox)
        assert outbox.room == "enough", "there is room, and the reserve is there again"
        counts = await outbox.counts()
        assert counts.pending + counts.delivered == len(kept) + 1
        await outbox.close()
        print("survived", len(kept))

    asyncio.run(work())


def test_a_full_disk_loses_no_charge_and_does_not_stop_delivery(tmp_path):
    code = "import sys, pathlib; from tests.unit.test_outbox_full import on_a_small_disk as work; "
    code += "work(pathlib.Path(sys.argv[1]))"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(tmp_path)]
    probe = subprocess.run([*command, "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"NOT TESTED: a full disk. A small one cannot be mounted here: {probe.stderr.strip()}")
    done = subprocess.run(
        [*command, sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "survived" in done.stdout
    assert "no space is left" in done.stderr


def test_errors_that_are_no_full_disk_keep_the_ballast(tmp_path):
    outbox = Outbox(tmp_path / "outbox.db", fsync="off")
    ballast = tmp_path / "outbox.db.ballast"
    assert ballast.stat().st_size == outbox_ballast.SIZE

    async def work():
        with pytest.raises(OutboxError):
            await outbox._worker.ask(lambda db: db.execute("SELECT nonsense"))
        await outbox.close()

    asyncio.run(work())
    assert ballast.exists()
