"""What a hold and its settlement cost, beside LiteLLM's own budget reservation on the same machine.

Run: make credits, or python -m bench.credits --help
"""

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.credits.measure import PROCESSES, RACE_CALLS, RACE_PRICES, TASKS, Batch, Crowd, batch, crowd
from bench.credits.servers import fill, new_store, redis_server
from bench.credits.systems import Farthing, LiteLLM, System

REPORT = Path(__file__).resolve().parents[2] / "docs" / "credits-bench.md"


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(len(values) - 1, round(q * (len(values) - 1)))]


async def rounds(systems: dict[str, System], number: int, pairs: int) -> dict[str, list[Batch]]:
    """Measure each system in each round, so that a noisy machine is noisy for all."""
    found: dict[str, list[Batch]] = {name: [] for name in systems}
    for system in systems.values():
        await system.open()
        await batch(system, 200)
    for _ in range(number):
        for name, system in systems.items():
            found[name].append(await batch(system, pairs))
    for system in systems.values():
        await system.close()
    return found


def latency_row(name: str, batches: list[Batch]) -> tuple[list[str], float]:
    def median(part: int | None, q: float) -> float:
        picked = ([sum(one) if part is None else one[part] for one in found] for found in batches)
        return statistics.median(quantile(values, q) for values in picked)

    p50 = median(None, 0.5)
    cells = [median(0, 0.5), median(1, 0.5), p50, median(None, 0.99)]
    return [name, *(f"{cell:.3f}" for cell in cells)], p50


def table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(line[at]) for line in (head, *rows)) for at in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = (
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * width if at == 0 else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def latencies(stores: dict[str, str], redis_port: int, quick: bool) -> str:
    number, pairs = (3, 300) if quick else (7, 1500)
    ours: dict[str, System] = {f"Farthing, {name}": Farthing(url) for name, url in stores.items()}
    theirs: dict[str, LiteLLM] = {"LiteLLM, in memory": LiteLLM(), "LiteLLM, Redis": LiteLLM(redis_port)}
    found: dict[str, list[Batch]] = {}
    # LiteLLM keeps one set of counters in a process: its two kinds take turns by rounds of their own.
    found |= asyncio.run(rounds(ours | {"LiteLLM, in memory": theirs["LiteLLM, in memory"]}, number, pairs))
    again = asyncio.run(rounds(ours | {"LiteLLM, Redis": theirs["LiteLLM, Redis"]}, number, pairs))
    found["LiteLLM, Redis"] = again["LiteLLM, Redis"]
    estimate = asyncio.run(estimating(theirs["LiteLLM, in memory"], pairs))
    rows, p50 = [], {}
    for name, batches in found.items():
        row, p50[name] = latency_row(name, batches)
        rows.append(row)
    for row in rows:
        row.append(f"{p50[row[0]] / p50['Farthing, SQLite']:.1f}")
    head = ["one process, ms", "hold p50", "settle p50", "both p50", "both p99", "× SQLite"]
    return (
        f"{table(head, rows)}\n\nMedians over {number} interleaved rounds of {pairs} pairs. Of LiteLLM's\n"
        f"hold, {estimate:.3f} ms are counting a short prompt's tokens and looking up its price, which"
        " Farthing\ndoes before it holds."
    )


async def estimating(system: LiteLLM, times: int) -> float:
    await system.open()
    loop = asyncio.get_running_loop()
    found = []
    for _ in range(times):
        began = loop.time()
        await system.estimate()
        found.append((loop.time() - began) * 1e3)
    return statistics.median(found)


def crowds(stores: dict[str, str], redis_port: int, quick: bool) -> str:
    seconds = 2.0 if quick else 6.0
    systems: dict[str, System] = {f"Farthing, {name}": Farthing(url) for name, url in stores.items()}
    systems |= {"LiteLLM, in memory": LiteLLM(), "LiteLLM, Redis": LiteLLM(redis_port)}
    found: dict[str, list[Crowd]] = {name: [] for name in systems}
    for _ in range(1 if quick else 3):
        for name, system in systems.items():
            found[name].append(crowd(system, seconds))
    base = statistics.median(one.pairs_a_second for one in found["Farthing, SQLite"])
    rows = []
    for name, runs in found.items():
        rate = statistics.median(one.pairs_a_second for one in runs)
        row = [name, f"{rate:,.0f}", f"{rate / base:.2f}"]
        for at, price in enumerate(RACE_PRICES):
            # A race is run once for all runs: the money of its user is the same.
            admitted = runs[0].admitted[at]
            row += [str(admitted), str(max(0, admitted * price - 100))]
        rows.append(row)
    head = [f"{PROCESSES} processes", "pairs/s", "× SQLite"]
    for price in RACE_PRICES:
        head += [f"of {RACE_CALLS} × {price} on 100", "overspent"]
    return (
        f"{table(head, rows)}\n\n{TASKS} calls at once in each process, {seconds:.0f} s, medians over"
        f" {len(found['Farthing, SQLite'])} runs. The race:\nso many of {RACE_CALLS} calls at once, from all"
        " processes, were let pass for a user with 100; overspent is what they cost\nbeyond that, if each"
        " costs what it may."
    )


def sizes(stores: dict[str, str], quick: bool) -> str:
    number, pairs = (2, 300) if quick else (5, 1500)
    accounts = [1_000, 100_000] if quick else [1_000, 100_000, 1_000_000]
    rows: dict[str, list[str]] = {name: [f"Farthing, {name}"] for name in stores}
    first: dict[str, float] = {}
    filled = 500
    for total in accounts:
        for url in stores.values():
            if total // 2 > filled:
                fill(url, filled, total // 2)
        filled = max(filled, total // 2)
        systems: dict[str, System] = {name: Farthing(url, total // 2) for name, url in stores.items()}
        for name, batches in asyncio.run(rounds(systems, number, pairs)).items():
            _, p50 = latency_row(name, batches)
            first.setdefault(name, p50)
            rows[name] += [f"{p50:.3f}", f"{p50 / first[name]:.2f}"]
    head = ["both p50, ms"]
    for total in accounts:
        head += [f"{total:,} accounts", "×"]
    about = f"Users and their keys, called at random. Medians over {number} rounds of {pairs} pairs."
    return f"{table(head, list(rows.values()))}\n\n{about}"


NOT_RUN = """\
What did not run: LiteLLM keeps spend in Postgres, from which its counters are first filled and to which they
are written back; there is none here, so its figures leave those reads and writes out. Its counters in memory
are each process's own: without Redis, workers learn of each other's spending from Postgres alone. Its
settings are the default ones. Its cap on a session is another hook, checked before a call and added to after
it: it reserves nothing and is left out, while Farthing's rows hold on the session too. Redis keeps its log as
docs/credits.md asks (`appendonly yes`, `appendfsync everysec`) for both."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, up to 100 thousand accounts")
    parser.add_argument("--report", action="store_true", help=f"also write docs/{REPORT.name}")
    options = parser.parse_args()
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        port = stack.enter_context(redis_server(Path(folder)))
        theirs = Path(folder) / "theirs"
        theirs.mkdir()
        their_port = stack.enter_context(redis_server(theirs))
        stores = {"SQLite": f"sqlite:///{folder}/credits.db", "Redis": f"redis://127.0.0.1:{port}/0"}
        for url in stores.values():
            asyncio.run(new_store(url))
            fill(url, 1, 500)
        parts = [
            f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}",
            latencies(stores, their_port, options.quick),
            crowds(stores, their_port, options.quick),
            sizes(stores, options.quick),
            NOT_RUN,
        ]
    text = "\n\n".join(parts)
    print(text)
    if options.report:
        command = f"`python -m bench.credits --report{' --quick' if options.quick else ''}`"
        REPORT.write_text(f"# Hold and settle, measured\n\nMade by {command}.\n\n{text}\n")
        print(f"\nwritten to {REPORT}", file=sys.stderr)


if __name__ == "__main__":
    main()
