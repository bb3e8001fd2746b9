"""`farthing statement`: the questions of dashboards/sql, asked and shown."""

import argparse
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any

from farthing import settings
from farthing.ledger import sqlfiles
from farthing.ledger.errors import LedgerError
from farthing.ledger.report import REPORTS, Asked, this_month
from farthing.settings import Settings

_HELP = """Asks the ledger one of the questions in dashboards/sql and shows the answer. Money is exact: csv
and json have all nine decimals, as text. `farthing statement --list` names the questions."""
_EXAMPLES = """examples:
  farthing statement                                      this month, every department
  farthing statement --month 2026-11 --department sales --format html --output sales.html
  farthing statement --month 2026-11 --format html --output statements/    one file for each department
  farthing statement budget
  farthing statement variance --month 2026-11 --format csv > variance.csv
  farthing statement sovereign --idle even --slots 8

The page made by --format html prints on A4, by a browser or without one:
  chromium --headless --no-pdf-header-footer --print-to-pdf=sales.pdf sales.html"""


def add_parsers(subcommands: Any, config: argparse.ArgumentParser) -> None:
    """Add `statement` to the subcommands of `farthing`; ``config`` is the parser of --config."""
    parser = subcommands.add_parser(
        "statement",
        parents=[config],
        help="what each department, user, tier and model cost in a month, and fourteen more questions",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "report",
        nargs="?",
        default="statement",
        choices=REPORTS,
        metavar="REPORT",
        help="one of those that --list names (default: %(default)s)",
    )
    parser.add_argument("--list", action="store_true", help="name the questions, one a line, and stop")
    parser.add_argument("--month", type=_month, help="YYYY-MM in UTC (default: this month)")
    parser.add_argument("--department", default="", help="this department alone (default: all)")
    parser.add_argument("--format", choices=("table", "csv", "json", "html"), default="table")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write to FILE instead of standard output; DIR/ with --format html: a file for each department",
    )
    parser.add_argument(
        "--as-of",
        type=_day,
        metavar="YYYY-MM-DD",
        help="what to take for today in forecasts and comparisons (default: today in UTC)",
    )
    parser.add_argument(
        "--idle",
        choices=("proportional", "even", "none"),
        default="proportional",
        help="who bears the cost of idle hardware in `sovereign` (default: %(default)s)",
    )
    parser.add_argument(
        "--slots",
        type=_slots,
        default=1,
        metavar="N",
        help="calls that one node of own hardware serves at a time (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask one question and show the answer, or list the questions."""
    if arguments.list:
        width = max(map(len, REPORTS))
        for name in REPORTS:
            print(f"{name:<{width}}  {sqlfiles.question(name).title}")
        return 0
    loaded = settings.load(arguments.config)
    asked = Asked(
        arguments.month or this_month(),
        arguments.department,
        arguments.as_of,
        arguments.idle,
        arguments.slots,
    )
    output: str | None = arguments.output
    many = output is not None and (output.endswith("/") or Path(output).is_dir())
    if many and (arguments.format != "html" or arguments.report != "statement"):
        print(
            "farthing: only the statement as html is written as a file for each department", file=sys.stderr
        )
        return 2
    try:
        if many and output is not None:
            return _write_each(loaded, asked, Path(output))
        text = _text(loaded, arguments.report, asked, arguments.format)
        if output is None:
            print(text, end="")
        else:
            Path(output).write_text(text, encoding="utf-8")
            print(f"wrote {output}", file=sys.stderr)
    except ValueError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 2
    except (LedgerError, OSError) as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    return 0


def _text(loaded: Settings, name: str, asked: Asked, fmt: Any) -> str:
    from farthing.ledger import connect
    from farthing.ledger.html import report_page, statement_page
    from farthing.ledger.report import ask
    from farthing.ledger.report_text import render_report
    from farthing.ledger.statement import render, statement

    client = connect(loaded.ledger)
    try:
        if name != "statement":
            report = ask(client, name, asked)
            about = asked if "month" in sqlfiles.question(name).parameters else None
            if fmt == "html":
                return report_page(report, loaded.organisation, about)
            return render_report(report, fmt, loaded.organisation, about)
        if fmt == "html":
            return statement_page(client, loaded.organisation, asked)
        lines = statement(client, asked.month, asked.department)
        return render(lines, fmt, organisation=loaded.organisation, month=asked.month)
    finally:
        client.close()


def _write_each(loaded: Settings, asked: Asked, folder: Path) -> int:
    from farthing.ledger import connect
    from farthing.ledger.html import statement_pages

    folder.mkdir(parents=True, exist_ok=True)
    client = connect(loaded.ledger)
    try:
        count = 0
        for name, page in statement_pages(client, loaded.organisation, asked):
            (folder / name).write_text(page, encoding="utf-8")
            count += 1
    finally:
        client.close()
    print(f"wrote {count} statements to {folder}", file=sys.stderr)
    return 0


def _month(text: str) -> str:
    try:
        return datetime.strptime(text, "%Y-%m").strftime("%Y-%m")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a month: write it as 2026-11") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day: write it as 2026-11-30") from None


def _slots(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
