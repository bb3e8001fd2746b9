"""python -m bench.chaos --kills 200 --seed 1: prints the books, exits 1 if they do not hold."""

import argparse
import sys
import tempfile
from pathlib import Path

from bench.chaos.run import run, table
from collector.build import binary, go


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many kill -9s (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of parts and instants")
    parser.add_argument("--clients", type=int, default=6, help="threads that ask (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=1e6, help="kill no more after so many minutes")
    parser.add_argument("--folder", type=Path, help="keep logs, outbox and ledger there")
    arguments = parser.parse_args()
    collector = binary()
    if collector is None:
        why = "it is not built: run `make collector`" if go() else "there is no Go toolchain"
        print(f"NO COLLECTOR ({why}): the proxy feeds the ledger directly, and only these two are killed.")
    with tempfile.TemporaryDirectory(prefix="farthing-chaos-") as folder:
        result = run(
            arguments.folder or Path(folder),
            collector,
            arguments.kills,
            arguments.seed,
            clients=arguments.clients,
            within_s=60 * arguments.minutes,
        )
    print(table(result))
    return 0 if result.books.hold else 1


if __name__ == "__main__":
    sys.exit(main())
