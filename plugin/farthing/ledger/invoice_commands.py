"""`farthing reconcile`: its arguments, and what it does."""

import argparse
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from farthing.ledger.arguments import day, month

_HELP = "Imports what OpenAI and Anthropic say was used and billed, and compares it with the charges."
_IMPORT_HELP = """Reads exports of usage and of cost, and keeps their lines in the ledger. What a file is
shows in its fields:
  OpenAI     organisation usage (completions, embeddings) and costs: API pages as JSON, or the dashboard's CSV
  Anthropic  messages usage and cost reports: Admin API pages as JSON, or the console's CSV
Export them by day, usage grouped by model and costs by line item (OpenAI) or description (Anthropic).

A file is imported whole or not at all. The days that it speaks of then have its lines of that kind, usage or
cost, and no others: importing it again changes nothing, and a later export of the same days replaces it."""
_IMPORT_EXAMPLES = """examples:
  farthing reconcile import costs-november.json usage-november.json
  farthing reconcile import claude_api_cost_2026_11.csv --provider anthropic --dry-run"""
_SHOW_HELP = """For each day and model that a provider has billed: what was charged, what is billed, and what
the difference is made of. Days of which nothing was imported are left out."""
_SHOW_EXAMPLES = """examples:
  farthing reconcile show --month 2026-11
  farthing reconcile show --from 2026-11-10 --to 2026-11-12 --provider openai --format csv"""
_EXPLAIN_EXAMPLE = "example: farthing reconcile explain --day 2026-11-12 --model gpt-5-mini"
_PROVIDERS = ("openai", "anthropic")


def add_parsers(subcommands: Any, config: argparse.ArgumentParser) -> None:
    """Add `reconcile` to the subcommands of `farthing`; ``config`` is the parser of --config."""
    parser = subcommands.add_parser(
        "reconcile", help="compare the ledger with the providers' invoices", description=_HELP
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    raw = argparse.RawDescriptionHelpFormatter

    imports = actions.add_parser(
        "import",
        parents=[config],
        help="read exports of usage and cost",
        description=_IMPORT_HELP,
        epilog=_IMPORT_EXAMPLES,
        formatter_class=raw,
    )
    imports.add_argument("files", nargs="+", type=Path, metavar="FILE", help="JSON or CSV")
    imports.add_argument("--provider", choices=_PROVIDERS, help="refuse files of another provider")
    imports.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    imports.set_defaults(run=run_import)

    show = actions.add_parser(
        "show",
        parents=[config],
        help="the difference by day and model, and its causes",
        description=_SHOW_HELP,
        epilog=_SHOW_EXAMPLES,
        formatter_class=raw,
    )
    show.add_argument("--month", type=month, help="YYYY-MM in UTC")
    show.add_argument(
        "--from", dest="first", type=day, metavar="YYYY-MM-DD", help="first day, instead of --month"
    )
    show.add_argument(
        "--to", dest="last", type=day, metavar="YYYY-MM-DD", help="last day (default: the first)"
    )
    show.add_argument("--provider", choices=_PROVIDERS, help="this one alone (default: both)")
    show.add_argument("--format", choices=("table", "csv", "json"), default="table")
    show.set_defaults(run=run_show)

    explain = actions.add_parser(
        "explain",
        parents=[config],
        help="one day and model, down to the calls",
        description="Shows the comparison of a day and model, the lines of the invoice, and each call.",
        epilog=_EXPLAIN_EXAMPLE,
    )
    explain.add_argument("--day", type=day, required=True, metavar="YYYY-MM-DD", help="in UTC")
    explain.add_argument("--model", required=True, help="with or without its date and provider prefix")
    explain.add_argument("--provider", choices=_PROVIDERS, help="if both have a model of that name")
    explain.add_argument("--limit", type=_limit, default=50, help="calls to list (default: %(default)s)")
    explain.set_defaults(run=run_explain)


def run_import(arguments: argparse.Namespace) -> int:
    """Import each file, or say why not; return 1 if one was refused (no file is imported then)."""
    from farthing.ledger.invoices import InvoiceError, keep, read

    files, refused = [], False
    for path in arguments.files:
        try:
            files.append(read(path, arguments.provider))
        except InvoiceError as error:
            print(f"farthing: {error}", file=sys.stderr)
            refused = True
    taken: dict[tuple[str, str, date], str] = {}
    for file in files:
        for one in sorted(file.days):
            other = taken.setdefault((file.provider, file.kind, one), file.name)
            if other is not file.name:
                print(
                    f"farthing: {file.name}: tells the {file.kind} of {one} as {other} does, and one would "
                    "replace the other; export the day into one file",
                    file=sys.stderr,
                )
                refused = True
                break
    if refused:
        print("farthing: nothing was imported", file=sys.stderr)
        return 1

    def work(client: Any) -> None:
        for file in files:
            done = keep(client, file, dry_run=arguments.dry_run)
            days = f"{min(file.days)} to {max(file.days)}" if len(file.days) > 1 else f"{min(file.days)}"
            print(
                f"{file.name}: {file.provider} {file.kind}, {days}: {done.written} line(s) written, "
                f"{done.removed} removed, {done.unchanged} unchanged"
                + (" (dry run: nothing was changed)" if arguments.dry_run else "")
            )
            for note in file.notes:
                print(f"farthing: {file.name}: {note}", file=sys.stderr)

    return _with_ledger(arguments, work)


def run_show(arguments: argparse.Namespace) -> int:
    """Print the differences."""
    from farthing.ledger.invoices import variance
    from farthing.ledger.invoices.text import render

    span = _span(arguments)
    if span is None:
        print("farthing: give --month, or --from with --to not before it", file=sys.stderr)
        return 2

    def work(client: Any) -> None:
        rows = variance(client, *span, arguments.provider or "")
        print(render(rows, arguments.format), end="")

    return _with_ledger(arguments, work)


def run_explain(arguments: argparse.Namespace) -> int:
    """Print what stands behind the difference of one day and model."""
    from farthing.ledger.invoices import explain
    from farthing.ledger.invoices.text import words

    def work(client: Any) -> None:
        found = explain(client, arguments.day, arguments.model, arguments.provider or "", arguments.limit)
        print(words(found, arguments.limit), end="")

    return _with_ledger(arguments, work)


def _with_ledger(arguments: argparse.Namespace, work: Any) -> int:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from farthing import settings
    from farthing.ledger import LedgerError, connect

    loaded = settings.load(arguments.config)
    try:
        work(connect(loaded.ledger))
    except (LedgerError, ClickHouseError) as error:
        print(f"farthing: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


def _span(arguments: argparse.Namespace) -> tuple[date, date] | None:
    if arguments.month and not (arguments.first or arguments.last):
        first = date.fromisoformat(f"{arguments.month}-01")
        return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    if arguments.first and not arguments.month and (arguments.last or arguments.first) >= arguments.first:
        return arguments.first, arguments.last or arguments.first
    return None


def _limit(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of calls above 0")
    return int(text)
