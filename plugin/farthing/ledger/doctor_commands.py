"""`farthing doctor`: is every call billed once, and what to do if not."""

import argparse
import json
import sqlite3
import sys
import textwrap
from typing import Any

from farthing import settings
from farthing.ledger.errors import LedgerError

_HELP = """Looks for charges that were lost, doubled, refused or cannot be right, on the whole way from the
proxy's outbox to the statement, and says what to do about each. Nothing is changed; proxy and ledger may run
or not. Prints a line for each check: ok, warn or FAIL, the figure, and what to do."""
_EXAMPLES = """exit status: 0 if nothing FAILs (with --strict: and nothing warns), 1 if something does,
2 if it cannot run.

examples:
  farthing doctor
  farthing doctor --days 93 --format json | jq '.findings[] | select(.status != "ok")'
  farthing doctor --resend      send again what the receiver took, but the ledger does not have"""


def add_parsers(subcommands: Any, config: argparse.ArgumentParser) -> None:
    """Add `doctor` to the subcommands of `farthing`; ``config`` is the parser of --config."""
    parser = subcommands.add_parser(
        "doctor",
        parents=[config],
        help="find lost, doubled, refused or unpriced charges and wrong clocks, and what to do about them",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--days",
        type=_days,
        default=31,
        metavar="N",
        help="look at the charges of the last N days (default: 31)",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--strict", action="store_true", help="exit 1 for a warning, too")
    parser.add_argument(
        "--resend",
        action="store_true",
        help="instead of looking, have the outbox send again what it delivered and the ledger does not have",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; 1 if something is wrong, 2 if that cannot be found out."""
    from farthing.ledger import doctor
    from farthing.telemetry.outbox import OutboxError

    loaded = settings.load(arguments.config)
    try:
        if arguments.resend:
            count = doctor.resend(loaded, arguments.days)
            print(
                f"{count} charges are sent again by the proxy that runs, or by the next that starts."
                if count
                else "Nothing to send again: the ledger has every charge that the outbox delivered."
            )
            return 0
        findings = doctor.examine(loaded, arguments.days)
    except (LedgerError, OutboxError, sqlite3.Error, FileNotFoundError) as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 2
    bad = {"FAIL", "warn"} if arguments.strict else {"FAIL"}
    healthy = not any(finding.status in bad for finding in findings)
    if arguments.format == "json":
        shown = {"healthy": healthy, "findings": [finding.as_json() for finding in findings]}
        print(json.dumps(shown, indent=2, default=str))
        return int(not healthy)
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        print(_line(f"{finding.status:<4}  {finding.check:<{width}}  {finding.figure}", width))
        if finding.advice:
            print(_line(f"{'':<4}  {'':<{width}}  → {finding.advice}", width))
    return int(not healthy)


def _line(text: str, width: int) -> str:
    # Ids and commands must stay whole, to be copied.
    return textwrap.fill(
        text,
        width=110,
        subsequent_indent=" " * (width + 8),
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _days(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 36_600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days above 0")
    return int(text)
