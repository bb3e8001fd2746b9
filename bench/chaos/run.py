"""Kill parts at random instants under load, then compare the books."""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.chaos.books import Books, compare, drain
from bench.chaos.clients import Clients
from bench.chaos.parts import Parts
from farthing.demo.stack import Part, StackError
from farthing.money import usd_text

_STARTING = 0.2
"""The chance of a kill to meet any part, so that some are killed while they start; the others meet one that
is up."""
_UNDER_LOAD = 0.6
"""The share of kills that come only after a request was answered since the last one: else a slow machine
would be killed on and on with nothing on its way."""
_LONGEST_PAUSE_S = 4.0


@dataclass(frozen=True, slots=True)
class Result:
    """``kills`` are by part."""

    seed: int
    seconds: float
    through_collector: bool
    kills: dict[str, int]
    outcomes: dict[str, int]
    books: Books


def run(
    folder: Path,
    collector: Path | None,
    kills: int,
    seed: int,
    *,
    clients: int = 6,
    within_s: float = 1e9,
    say: Callable[[str], None] = print,
) -> Result:
    """Run the load through ``kills`` kill -9s, one part at a time, and return what became of the money.

    After ``within_s`` seconds no more are killed.
    """
    rng, began = random.Random(seed), time.monotonic()
    killed: dict[str, int] = defaultdict(int)
    with Parts(folder, collector) as parts:
        say(f"  up: {', '.join(part.name for part in parts.mortal)}; {clients} clients ask without pause")
        load, told = Clients(parts, clients, seed), 0
        try:
            for number in range(1, kills + 1):
                if time.monotonic() - began > within_s:
                    break
                if rng.random() < _UNDER_LOAD:
                    _answered(load, told + 1, within_s=180)
                time.sleep(rng.uniform(0, _LONGEST_PAUSE_S))
                part = _victim(parts.mortal, rng)
                told = len(load.told)
                part.kill()
                killed[part.name] += 1
                time.sleep(rng.uniform(0, 0.5))
                part.start()
                if number % 20 == 0:
                    say(f"  {number} kills, {len(load.told)} answers, {time.monotonic() - began:.0f} s")
            _all_up(parts.mortal)
            _answered(load, len(load.told) + clients)  # with all parts up
        finally:
            load.stop()
        drain(parts)
        books = compare(parts, load.told)
    return Result(
        seed, time.monotonic() - began, collector is not None, dict(killed), dict(load.outcomes), books
    )


def _victim(mortal: Sequence[Part], rng: random.Random) -> Part:
    """Choose whom to kill next: waits until somebody is up."""
    if rng.random() < _STARTING:
        return rng.choice(mortal)
    while not (up := [part for part in mortal if _answers(part)]):
        time.sleep(0.2)
    return rng.choice(up)


def _all_up(mortal: Sequence[Part], within_s: float = 180) -> None:
    deadline = time.monotonic() + within_s
    for part in mortal:
        while not _answers(part):
            if time.monotonic() > deadline:
                raise StackError(f"the {part.name} did not come back:\n{part.log_tail()}")
            time.sleep(0.1)


def _answered(load: Clients, number: int, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while len(load.told) < number and time.monotonic() < deadline:
        time.sleep(0.1)


def _answers(part: Part) -> bool:
    try:
        # Without reading certificates, at every look, which nothing here has.
        return httpx.get(part.ready_url, timeout=2, verify=False).status_code == 200
    except httpx.HTTPError:
        return False


def table(result: Result) -> str:
    """Return the result as two tables and a verdict."""
    books = result.books
    lines = [f"seed {result.seed}, {result.seconds:.0f} s, {sum(result.kills.values())} kills", ""]
    lines += [f"killed: {name:<38}{times:>24}" for name, times in sorted(result.kills.items())]
    rows = {
        "requests, by outcome": ", ".join(f"{name} {n}" for name, n in sorted(result.outcomes.items())),
        "answers that named their charge": books.told,
        "charges recorded (outbox)": books.recorded,
        "charges in the ledger": books.ledger_rows,
        "spans delivered to it, repeats included": books.reconciliation.deliveries,
        "lost": books.lost,
        "doubled": books.doubled,
        "of unknown origin": books.strangers,
        "amounts that differ": books.misstated,
        "not delivered": books.undelivered,
        "not settled": books.unsettled,
        "sum of the outbox, USD": usd_text(books.outbox_nano),
        "sum of settled credits, USD": usd_text(books.credits_nano),
        "sum of the ledger, USD": usd_text(books.ledger_nano),
        "sum of the ledger's own reconciliation, USD": usd_text(books.reconciliation.settled_nano),
        "numbers that killed proxies never used": books.reconciliation.gaps,
    }
    lines += ["", *(f"{name:<46}{value:>24}" for name, value in rows.items())]
    lines += ["", "The books hold." if books.hold else "THE BOOKS DO NOT HOLD."]
    return "\n".join(lines)
