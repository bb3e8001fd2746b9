"""`farthing focus`: its arguments, and what it does."""

import argparse
import sys
from pathlib import Path
from typing import Any

from farthing.ledger.arguments import month
from farthing.money import usd_text

_HELP = """Writes the charges of a month in the columns of the FinOps Open Cost and Usage Specification
(FOCUS).

One row for each day, department, cost centre, user, agent, tier, model, kind of call and kind of token. The
rows add up to the month's statement, to the nano-dollar, or nothing is written. Calls without a price have no
row: how many there are, and of which models, is said on standard error, and the exit status is 3."""
_EXAMPLES = """examples:
  farthing focus export --month 2026-11 --format parquet --output november.parquet
  farthing focus export --month 2026-11 --department sales --output sales.csv
  farthing focus export --month 2026-11 --version 1.3 --output november.csv"""


def add_parsers(subcommands: Any, config: argparse.ArgumentParser) -> None:
    """Add `focus` to the subcommands of `farthing`; ``config`` is the parser of --config."""
    parser = subcommands.add_parser("focus", help="charges for FinOps tools: the FOCUS export")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    export = actions.add_parser(
        "export",
        parents=[config],
        help="write a month as FOCUS 1.2 or 1.3",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("--month", type=month, required=True, help="YYYY-MM in UTC")
    export.add_argument("--format", choices=("csv", "parquet"), default="csv", help="default: %(default)s")
    export.add_argument("--output", type=Path, required=True, metavar="FILE", help="replaced if it is there")
    export.add_argument(
        "--version",
        choices=("1.2", "1.3"),
        default="1.2",
        help="of FOCUS; 1.3 adds how the shared sovereign tier is allocated (default: %(default)s)",
    )
    export.add_argument("--department", default="", help="this department alone (default: all)")
    export.set_defaults(run=run_export)


def run_export(arguments: argparse.Namespace) -> int:
    """Write the file; return 3 if calls without a price are missing from it, 1 if it could not be written."""
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from farthing import settings
    from farthing.ledger import LedgerError, connect
    from farthing.ledger.focus import export

    loaded = settings.load(arguments.config)
    try:
        client = connect(loaded.ledger)
        done = export(
            client,
            arguments.month,
            arguments.output,
            fmt=arguments.format,
            organisation=loaded.organisation,
            usd_per_credit=loaded.credits.usd_per_credit,
            version=arguments.version,
            department=arguments.department,
        )
    except (LedgerError, ClickHouseError) as error:
        print(f"farthing: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    print(f"{arguments.output}: {done.rows:,} rows, {usd_text(done.billed)} USD billed in {arguments.month}")
    if done.unpriced:
        print(
            f"farthing: {done.unpriced} call(s) of {arguments.month} have no price and no row: of "
            f"{', '.join(done.models)}; give them one in cost.prices for the calls to come",
            file=sys.stderr,
        )
        return 3
    return 0
