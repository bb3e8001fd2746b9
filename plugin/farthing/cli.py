"""The `farthing` command: its subcommands and their arguments. What they do is in commands.py."""

import argparse
import sys
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from farthing import __version__, commands
from farthing.context import commands as context_commands
from farthing.ledger import commands as ledger_commands
from farthing.ledger import (
    doctor_commands,
    focus_commands,
    invoice_commands,
    statement_commands,
    trace_commands,
)
from farthing.settings import SettingsError
from farthing.simulate import commands as simulate_commands


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return its exit status (2: wrong arguments or settings, 1: it failed)."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except (SettingsError, FileExistsError) as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()  # the reader (head, less) has enough: nothing to report
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="farthing",
        description="Grades, routes, pays for and bills every model call that passes a LiteLLM proxy.",
        epilog="Start with `farthing demo`, or `farthing init` for a proxy of your own.",
    )
    parser.add_argument("--version", action="version", version=f"farthing {__version__}")
    subcommands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = subcommands.add_parser(
        "demo", help="run the whole stack on scripted traffic and print the statement"
    )
    demo.add_argument(
        "--once", action="store_true", help="exit when done, instead of staying up until Ctrl-C"
    )
    demo.add_argument("--report", type=Path, metavar="FILE", help="write the figures to FILE as JSON")
    demo.add_argument(
        "--folder",
        type=Path,
        default=Path(".farthing/demo"),
        metavar="DIR",
        help="where the demo keeps its files; emptied at the start (default: %(default)s)",
    )
    demo.set_defaults(run=commands.demo)

    init = subcommands.add_parser(
        "init", help="write litellm.yaml, farthing.yaml and farthing.env for a proxy"
    )
    init.add_argument("folder", type=Path, nargs="?", default=Path(), help="where to (default: here)")
    init.add_argument("--organisation", default="My organisation", help="name at the head of statements")
    init.add_argument("--force", action="store_true", help="replace existing files")
    _key_arguments(init, user="admin", department="platform")
    init.set_defaults(run=commands.init)

    key = subcommands.add_parser("key", help="make a key for a user and print its entry for farthing.yaml")
    _key_arguments(key)
    key.add_argument(
        "--stream-receipt",
        action="store_true",
        help="settled figures in a field `farthing` of a stream's last event (not for strict clients)",
    )
    key.add_argument("--admin", action="store_true", help="may grant, cap and stop on the balance page")
    key.set_defaults(run=commands.key)

    for name, run, text in (
        ("check", commands.check, "read farthing.yaml and say what is wrong with it, or what it sets up"),
        ("settings", commands.show_settings, "explain every setting of farthing.yaml"),
    ):
        subcommands.add_parser(name, help=text, parents=[_config()]).set_defaults(run=run)

    grade = subcommands.add_parser(
        "grade",
        parents=[_config()],
        help="grade tasks read as JSON lines",
        description='Reads {"prompt": …} or {"messages": […], "tools": […]} per line from standard input and '
        'writes {"grade", "score", "reason", "source", "micros"} for each: the learned score alone, without '
        "cache, judge or outcomes. micros: microseconds spent on the line.",
        epilog="""example: echo '{"prompt": "Hi"}' | farthing grade""",
    )
    grade.add_argument(
        "--quality",
        type=_quality,
        help="share of the strong tier's quality to aim at, 0.5 to 1 (default: grading.quality)",
    )
    grade.set_defaults(run=commands.grade)

    statement_commands.add_parsers(subcommands, _config())

    balance = subcommands.add_parser(
        "balance", parents=[_config()], help="what each user has left, in credits"
    )
    balance.add_argument("--user", help="this user only")
    balance.add_argument(
        "--all", action="store_true", help="those of the organisation, its departments and keys, too"
    )
    balance.add_argument("--format", choices=("table", "csv", "json"), default="table")
    how = balance.add_mutually_exclusive_group()
    how.add_argument(
        "--watch", action="store_true", help="show them again whenever they change, until Ctrl-C"
    )
    how.add_argument(
        "--verify",
        action="store_true",
        help="recompute every balance from its grants and holds instead, and compare; exit 1 if one differs",
    )
    balance.set_defaults(run=commands.balance)

    _credits_parser(
        subcommands.add_parser("credits", help="prepare the store, grant credits, read its books")
    )

    _context_parser(
        subcommands.add_parser(
            "context", help="shorter histories: what would be made of one, what is remembered of them"
        )
    )

    audit = subcommands.add_parser(
        "audit",
        parents=[_config()],
        help="how many of your past calls needed the strong model, and what routing would save",
        description=_AUDIT_HELP,
        epilog=_AUDIT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _audit_arguments(audit)
    audit.set_defaults(run=commands.audit)

    trace_commands.add_parsers(subcommands, _config())
    doctor_commands.add_parsers(subcommands, _config())
    focus_commands.add_parsers(subcommands, _config())
    invoice_commands.add_parsers(subcommands, _config())
    simulate_commands.add_parsers(subcommands, _config())

    ledger_commands.add_parsers(subcommands, _config())
    return parser


def _credits_parser(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    init = actions.add_parser(
        "init",
        parents=[_config()],
        help="prepare a new Redis (an SQLite file needs nothing)",
        description="Marks an empty Redis as Farthing's credit store. A gateway spends from no Redis "
        "without the mark, so that one that came back empty after a failure is not taken for a new one: "
        "restore that from its append-only file or a replica instead.",
    )
    init.set_defaults(run=commands.credits_init)
    apply = actions.add_parser(
        "apply",
        parents=[_config()],
        help="bring the grants and budgets of farthing.yaml into the store, without a restart of the proxy",
    )
    apply.set_defaults(run=commands.credits_apply)
    grant = actions.add_parser(
        "grant",
        parents=[_config()],
        help="give credits to a user, a department or the organisation",
        epilog="example: farthing credits grant --user ada 500 --until 2026-12-31 --reason 'sprint 12'",
    )
    whom = grant.add_mutually_exclusive_group(required=True)
    whom.add_argument("--user")
    whom.add_argument("--department", help="one that has a monthly budget in farthing.yaml")
    whom.add_argument("--organisation", action="store_true", help="if it has a monthly budget")
    grant.add_argument("credits", type=_credits, help="how many, such as 500 or 12.5")
    grant.add_argument(
        "--until", type=date.fromisoformat, metavar="YYYY-MM-DD", help="last day to spend them (not over)"
    )
    grant.add_argument("--reason", required=True, help="kept in the journal")
    grant.set_defaults(run=commands.credits_grant)
    journal = actions.add_parser(
        "journal", parents=[_config()], help="what was granted, expired, capped and stopped, and by whom"
    )
    journal.add_argument("--last", type=_positive, default=50, metavar="N", help="default: %(default)s")
    journal.set_defaults(run=commands.credits_journal)
    roll = actions.add_parser(
        "roll-forward",
        parents=[_config()],
        help="a month of each limited account: opening + granted + adjusted - settled - expired = closing",
    )
    roll.add_argument("--month", type=_month, help="YYYY-MM in credits.time_zone (default: this month)")
    roll.add_argument("--format", choices=("table", "csv", "json"), default="table")
    roll.set_defaults(run=commands.credits_roll_forward)


def _context_parser(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    explain = actions.add_parser(
        "explain",
        parents=[_config()],
        help="say of a conversation in a file what would be kept, why, and what it would save",
        description="Replays a conversation turn by turn as the proxy would send it, and prints what was "
        "shortened where and why, what the input costs with and without that at each model's prices, and "
        "what the next request would hold. No model is asked (summaries are Farthing's own), and nothing is "
        "stored.",
        epilog="example: farthing context explain chat.json --model gpt-5 --model claude-sonnet-4-5",
    )
    explain.add_argument(
        "file", metavar="FILE", help="a request body as JSON, or its list of messages; - for stdin"
    )
    explain.add_argument(
        "--model",
        action="append",
        metavar="MODEL",
        help="at whose prices; may be given again (default: cost.baseline_model)",
    )
    explain.set_defaults(run=context_commands.explain)
    erase = actions.add_parser(
        "erase",
        parents=[_config()],
        help="forget all conversations of a user, for good",
        description="Deletes what is remembered of a user's conversations (summaries, originals of what was "
        "left out, figures) at context.path, without asking, and writes the file anew so that no byte of it "
        "is left there. What the proxy is still preparing for the user is dropped; it need not be stopped. "
        "Charges are not touched: they hold no text.",
        epilog="example: farthing context erase --user ada",
    )
    erase.add_argument("--user", required=True)
    erase.set_defaults(run=context_commands.erase)
    key = actions.add_parser(
        "key",
        help="print a new key for context.key",
        epilog='example: export FARTHING_CONTEXT_KEY="$(farthing context key)", and in farthing.yaml '
        "context: {key: os.environ/FARTHING_CONTEXT_KEY}. What was kept with another key cannot be read.",
    )
    key.set_defaults(run=context_commands.key)


def _config() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        "--config", metavar="FILE", help="farthing.yaml (default: $FARTHING_CONFIG, else ./farthing.yaml)"
    )
    return parent


def _key_arguments(parser: argparse.ArgumentParser, user: str = "", department: str = "") -> None:
    parser.add_argument("--user", default=user or None, required=not user, help="who holds the key")
    parser.add_argument(
        "--department", default=department or None, required=not department, help="who is charged"
    )
    parser.add_argument("--cost-centre", default="", help="the department's finance code")
    parser.add_argument(
        "--credits", type=_whole, default=10_000, help="credits granted (default: %(default)s)"
    )


_AUDIT_HELP = """Check your last 100 LLM calls: how many truly required the strong model?

Grades past calls and prints, for each intent, what they cost, the tier that would have done, the saving with
a range, and the calls that would stay. It asks no model; a file is audited without any network."""
_AUDIT_EXAMPLES = """FILE is one of
  an export of LiteLLM's spend logs (table LiteLLM_SpendLogs): JSON array, JSON lines or CSV, with its column
  names; prompts are in it if LiteLLM ran with general_settings: {store_prompts_in_spend_logs: true}
  requests as JSON lines: {"prompt": …} or {"messages": […], "tools": […], "model": …, "usage": …}; where no
  usage is given, tokens are counted and called an estimate
  -  for standard input
Without FILE the ledger at ledger.url is read: its charges hold no prompts, but the grade they were given.

examples:
  farthing audit spend.jsonl --last 100
  psql "$DATABASE_URL" -c 'COPY (SELECT * FROM "LiteLLM_SpendLogs") TO STDOUT CSV HEADER' | farthing audit -
  farthing audit requests.jsonl --baseline gpt-5 --fast gpt-5-mini --quality 0.95
  farthing audit spend.csv --local-cost 0.20 --format json > audit.json
  farthing audit --days 7"""


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="calls to audit (default: the ledger)")
    parser.add_argument("--last", type=_positive, metavar="N", help="the newest N calls only (default: all)")
    parser.add_argument(
        "--days",
        type=_positive,
        metavar="D",
        help="calls of the last D days only (default: all of FILE; 30 days of the ledger)",
    )
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table")
    parser.add_argument(
        "--baseline",
        metavar="MODEL",
        help="the strong model: what calls that name no model ran on (default: cost.baseline_model)",
    )
    parser.add_argument(
        "--quality",
        type=_quality,
        help="share of the strong model's quality to aim at, 0.5 to 1 (default: grading.quality)",
    )
    parser.add_argument("--fast", metavar="MODEL", help="the fast tier's model (default: gpt-5-mini)")
    parser.add_argument(
        "--local-cost",
        type=_amount,
        metavar="USD",
        help="the local tier's price per million tokens (default: own hardware's in cost.prices, else 0)",
    )
    parser.add_argument(
        "--no-excerpts", action="store_true", help="do not show the beginning of each intent's first ask"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _amount(text: str) -> Decimal:
    try:
        usd = Decimal(text)
    except InvalidOperation:
        usd = Decimal(-1)
    if not (usd.is_finite() and 0 <= usd <= 10**6):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount in USD, such as 0.20")
    return usd


def _credits(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    if not (amount.is_finite() and 0 < amount <= 10**12):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of credits above 0")
    return amount


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of credits")
    return int(text)


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        quality = 0.0
    if not 0.5 <= quality <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a quality: write a number from 0.5 to 1, as 0.99")
    return quality


def _month(text: str) -> str:
    try:
        return datetime.strptime(text, "%Y-%m").strftime("%Y-%m")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a month: write it as 2026-11") from None
