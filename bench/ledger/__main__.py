"""How fast charges come in, and how fast a month of many of them answers, in one report.

Run: make ledger, or python -m bench.ledger --help
"""

import argparse
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from bench.ledger import ingest, outbox, questions
from bench.ledger.report import render


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument(
        "--rows",
        default="1e6,3e6",
        help="sizes of the month, in charges, smallest first (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="of ingest (default: %(default)s)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        help="of ingest in each round, at 25 000/s (default: %(default)s)",
    )
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--rotel", type=Path, help="the rotel-agent program, for a row of its own")
    parser.add_argument("--report", type=Path, help="write the tables to this file, too")
    parser.add_argument("--folder", type=Path, help="where the data goes (default: a temporary folder)")
    arguments = parser.parse_args()
    sizes = [int(Decimal(size)) for size in arguments.rows.split(",")]

    loads = [os.getloadavg()[0]]
    say("ingest")
    into = ingest.measure(arguments.rounds, arguments.seconds, arguments.senders, arguments.rotel)
    loads.append(os.getloadavg()[0])
    say("outbox")
    appends = outbox.rows()
    found: list[questions.Found] = []
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {_memory()}"
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder, prefix="farthing-bench-") as folder,
        ingest.running(Path(folder) / "ledger") as (settings, _),
    ):
        for size in sizes:
            say(f"a month of {size:,} charges")
            found.append(questions.measure(settings.ledger, size, say))
            loads.append(os.getloadavg()[0])
            text = render(into, appends, found, loads, machine)
            if arguments.report:
                arguments.report.write_text(text)
    print(text)
    wrong = [name for one in found for name, holds in one.exact.items() if not holds]
    failed = {name: why for one in found for name, why in one.failed.items()}
    for name, why in failed.items():
        say(f"failed: {name}: {why}")
    for name in wrong:
        say(f"NOT EXACT: {name}")
    return 1 if wrong or failed or not into.exact else 0


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def _memory() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages / 2**30:.0f} GiB"


if __name__ == "__main__":
    sys.exit(main())
