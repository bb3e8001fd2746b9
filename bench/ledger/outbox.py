"""What keeping a charge costs the request, beside the plainest ways of keeping the same bytes.

Run alone: python -m bench.ledger.outbox
"""

import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from farthing.telemetry import Account, Charge, Cost, Usage
from farthing.telemetry.outbox import Fsync, Outbox
from farthing.telemetry.spans import ChargeSpans
from tests.ledger_stack import charge

COUNT = 400
ROUNDS = 5
TOGETHER = 64


def payloads(count: int) -> list[tuple[str, int, bytes]]:
    """Return real charge spans, each with its id and cost."""
    spans = ChargeSpans("farthing", "bench")
    made: list[Charge] = [
        replace(
            charge(number, id=os.urandom(16).hex()),
            account=Account(f"{number:064x}", f"user-{number}", "engineering", "CC-1"),
            usage=Usage(1000 + number, 200),
            cost=Cost(number, 1, 1, 1),
        )
        for number in range(count)
    ]
    return [(one.id, one.cost.total if one.cost else 0, spans.finish(one).payload) for one in made]


async def outbox(folder: Path, fsync: Fsync, together: int) -> tuple[list[float], float]:
    """Append one after the other, or ``together`` at once; return what each caller waited, and the total."""
    box = Outbox(folder / "outbox.db", fsync=fsync)
    waits: list[float] = []

    async def append(charge_id: str, cost: int, payload: bytes) -> None:
        began = time.perf_counter()
        await box.append(charge_id, cost, payload, sequence=box.next_sequence())
        waits.append(time.perf_counter() - began)

    work = payloads(COUNT)
    began = time.perf_counter()
    for at in range(0, len(work), together):
        if together == 1:
            await append(*work[at])
        else:
            await asyncio.gather(*(append(*item) for item in work[at : at + together]))
    took = time.perf_counter() - began
    await box.close()
    return waits, took


def plain_sqlite(folder: Path, synchronous: str) -> tuple[list[float], float]:
    """Insert and commit each by itself, on the caller's thread: one table, one key, WAL."""
    db = sqlite3.connect(folder / "plain.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL").fetchone()
    db.execute(f"PRAGMA synchronous = {synchronous}")
    db.execute("CREATE TABLE charges (id TEXT PRIMARY KEY, cost INTEGER, payload BLOB)")

    def insert(item: tuple[str, int, bytes]) -> None:
        db.execute("INSERT INTO charges VALUES (?, ?, ?)", item)

    found = _timed(insert)
    db.close()
    return found


def plain_file(folder: Path, sync: bool) -> tuple[list[float], float]:
    """Append the bytes to a file, and sync it or not."""
    descriptor = os.open(folder / "plain.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def append(item: tuple[str, int, bytes]) -> None:
        os.write(descriptor, item[2])
        if sync:
            os.fdatasync(descriptor)

    found = _timed(append)
    os.close(descriptor)
    return found


def _timed(work: Callable[[tuple[str, int, bytes]], None]) -> tuple[list[float], float]:
    waits: list[float] = []
    items = payloads(COUNT)
    began = time.perf_counter()
    for item in items:
        start = time.perf_counter()
        work(item)
        waits.append(time.perf_counter() - start)
    return waits, time.perf_counter() - began


def rows() -> list[dict[str, Any]]:
    """Measure each way in turn, several times; return a row for each: median p50, p99 (ms) and rate (1/s)."""
    ways: dict[tuple[str, str], Callable[[Path], tuple[list[float], float]]] = {
        ("Farthing, outbox_fsync: always", "nothing"): lambda f: asyncio.run(outbox(f, "always", 1)),
        (f"the same, {TOGETHER} calls at once", "nothing"): lambda f: asyncio.run(
            outbox(f, "always", TOGETHER)
        ),
        ("Farthing, outbox_fsync: interval", "the last 100 ms"): lambda f: asyncio.run(
            outbox(f, "interval", 1)
        ),
        ("Farthing, outbox_fsync: off", "seconds"): lambda f: asyncio.run(outbox(f, "off", 1)),
        ("plain SQLite insert + commit, FULL", "nothing"): lambda f: plain_sqlite(f, "FULL"),
        ("plain SQLite insert + commit, NORMAL", "seconds"): lambda f: plain_sqlite(f, "NORMAL"),
        ("file append + fdatasync", "nothing"): lambda f: plain_file(f, True),
        ("file append", "seconds"): lambda f: plain_file(f, False),
    }
    measured: dict[tuple[str, str], list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, work in ways.items():
            with tempfile.TemporaryDirectory(
                prefix="farthing-bench-", dir=os.environ.get("BENCH_DIR")
            ) as folder:
                waits, took = work(Path(folder))
            cuts = statistics.quantiles(waits, n=100)
            measured[way].append((cuts[49] * 1000, cuts[98] * 1000, COUNT / took))
    return [
        {
            "system": name,
            "power cut takes": lost,
            "append p50 ms": round(statistics.median(p50 for p50, _, _ in found), 3),
            "append p99 ms": round(statistics.median(p99 for _, p99, _ in found), 3),
            "charges/s": round(statistics.median(rate for _, _, rate in found)),
        }
        for (name, lost), found in measured.items()
    ]


def main() -> None:
    found = rows()
    names = list(found[0])
    table = [names, *([str(row[name]) for name in names] for row in found)]
    widths = [max(len(line[at]) for line in table) for at in range(len(names))]
    for at, line in enumerate(table):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if at == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


if __name__ == "__main__":
    main()
