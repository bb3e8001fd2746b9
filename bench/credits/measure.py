"""Latency in one process; throughput and races over several."""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from bench.credits.systems import System

PROCESSES = 4
TASKS = 4
"""Calls under way at once in each process."""

RACE_CALLS = 50
RACE_PRICES = (5, 7)
"""What each call of a race holds of 100: 5 divides it, 7 does not."""

Batch = list[tuple[float, float]]


async def batch(system: System, pairs: int) -> Batch:
    """Hold and settle, one after the other; return milliseconds of both."""
    found = []
    for _ in range(pairs):
        began = time.perf_counter()
        held = await system.hold()
        between = time.perf_counter()
        await system.settle(held)
        found.append(((between - began) * 1e3, (time.perf_counter() - between) * 1e3))
    return found


@dataclass(frozen=True)
class Crowd:
    """What several processes did at once."""

    pairs_a_second: float
    admitted: tuple[int, ...]
    """Calls of each race that were let pass."""


def crowd(system: System, seconds: float) -> Crowd:
    """Run a system in several processes: a while of pairs, then the races."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for number in range(PROCESSES):
        ours, theirs = context.Pipe()
        calls = [RACE_CALLS // PROCESSES + (number < RACE_CALLS % PROCESSES)] * len(RACE_PRICES)
        processes.append(context.Process(target=_member, args=(system, seconds, calls, theirs), daemon=True))
        processes[-1].start()
        pipes.append(ours)
    try:
        rate = sum(_all_together(pipes))
        admitted = tuple(int(sum(_all_together(pipes))) for _ in RACE_PRICES)
    finally:
        for process in processes:
            process.join(timeout=20)
            process.kill()
    return Crowd(rate, admitted)


def _all_together(pipes: Sequence[Connection]) -> list[float]:
    for pipe in pipes:
        if not pipe.poll(180) or pipe.recv() != "ready":
            raise RuntimeError("a process of the benchmark failed")
    for pipe in pipes:
        pipe.send("go")
    return [pipe.recv() for pipe in pipes]


def _member(system: System, seconds: float, calls: Sequence[int], pipe: Connection) -> None:
    def wait() -> None:
        pipe.send("ready")
        pipe.recv()

    async def work() -> None:
        await system.open()
        await batch(system, 50)
        wait()
        done, until = 0, time.perf_counter() + seconds

        async def pairs() -> None:
            nonlocal done
            while time.perf_counter() < until:
                await system.settle(await system.hold())
                done += 1

        began = time.perf_counter()
        await asyncio.gather(*(pairs() for _ in range(TASKS)))
        pipe.send(done / (time.perf_counter() - began))
        for price, count in zip(RACE_PRICES, calls, strict=True):
            wait()
            passed = await asyncio.gather(*(system.take(f"racer-{price}", price) for _ in range(count)))
            pipe.send(sum(passed))
        await system.close()

    asyncio.run(work())
