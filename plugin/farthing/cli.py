"""The `farthing` command. Each subcommand reads its arguments here and does its work in its own room."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from farthing import __version__, scaffold, settings
from farthing.settings import Settings, SettingsError


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
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser("demo", help="run the whole stack on scripted traffic and print the statement")
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
    demo.set_defaults(run=_demo)

    init = commands.add_parser("init", help="write litellm.yaml, farthing.yaml and farthing.env for a proxy")
    init.add_argument("folder", type=Path, nargs="?", default=Path(), help="where to (default: here)")
    init.add_argument("--organisation", default="My organisation", help="name at the head of statements")
    init.add_argument("--force", action="store_true", help="replace existing files")
    _key_arguments(init, user="admin", department="platform")
    init.set_defaults(run=_init)

    key = commands.add_parser("key", help="make a key for a user and print its entry for farthing.yaml")
    _key_arguments(key)
    key.set_defaults(run=_key)

    for name, run, text in (
        ("check", _check, "read farthing.yaml and say what is wrong with it, or what it sets up"),
        ("settings", _settings, "explain every setting of farthing.yaml"),
    ):
        commands.add_parser(name, help=text, parents=[_config()]).set_defaults(run=run)

    grade = commands.add_parser(
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
        help="share of the strong tier's quality to keep, 0.5 to 1 (default: grading.quality)",
    )
    grade.set_defaults(run=_grade)

    statement = commands.add_parser(
        "statement", parents=[_config()], help="what each department, user, tier and model cost in a month"
    )
    statement.add_argument("--month", type=_month, help="YYYY-MM in UTC (default: this month)")
    statement.add_argument("--format", choices=("table", "csv", "json"), default="table")
    statement.set_defaults(run=_statement)

    balance = commands.add_parser("balance", parents=[_config()], help="what each user has left, in credits")
    balance.add_argument("--user", help="this user only")
    balance.add_argument("--format", choices=("table", "csv", "json"), default="table")
    balance.add_argument(
        "--verify",
        action="store_true",
        help="recompute every balance from its grants and holds instead, and compare; exit 1 if one differs",
    )
    balance.set_defaults(run=_balance)

    audit = commands.add_parser(
        "audit",
        parents=[_config()],
        help="how many of your past calls needed the strong model, and what routing would save",
        description=_AUDIT_HELP,
        epilog=_AUDIT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _audit_arguments(audit)
    audit.set_defaults(run=_audit)

    ledger = commands.add_parser("ledger", help="the embedded ledger, and migrations of any ledger")
    actions = ledger.add_subparsers(title="actions", metavar="ACTION", required=True)
    serve = actions.add_parser(
        "serve",
        parents=[_config()],
        help="serve the embedded ledger (OTLP in, ClickHouse's HTTP protocol out)",
    )
    serve.set_defaults(run=_ledger_serve)
    migrate = actions.add_parser(
        "migrate", parents=[_config()], help="create or update the tables of the ledger at ledger.url"
    )
    migrate.set_defaults(run=_ledger_migrate)
    return parser


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
        help="share of the strong model's quality to keep, 0.5 to 1 (default: grading.quality)",
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


def _demo(arguments: argparse.Namespace) -> int:
    from farthing.demo import run

    return run(arguments.folder, once=arguments.once, report=arguments.report)


def _new_key(arguments: argparse.Namespace) -> scaffold.NewKey:
    return scaffold.NewKey(
        scaffold.new_secret(), arguments.user, arguments.department, arguments.cost_centre, arguments.credits
    )


def _init(arguments: argparse.Namespace) -> None:
    key, cloud = _new_key(arguments), scaffold.choose_cloud(os.environ)
    scaffold.write(
        arguments.folder,
        [key],
        organisation=arguments.organisation,
        cloud=cloud,
        replace=arguments.force,
    )
    tier = " ".join(["python -m ray_deploy --port 8900", *(f"--served-name {n}" for n in cloud.served_names)])
    print(f"""Wrote litellm.yaml, farthing.yaml and farthing.env to {arguments.folder.resolve()}.

{key.user}'s key, shown this once:  {key.secret}

Start the parts, each in a terminal of its own in that folder:
  {tier}
  . ./farthing.env && farthing ledger serve
  . ./farthing.env && litellm --config litellm.yaml --host 127.0.0.1 --port 4000
Then ask:
{scaffold.curl("http://127.0.0.1:4000", key.secret)}
and read, in that folder: . ./farthing.env && farthing balance && farthing statement""")
    if cloud.stand_in:
        print(
            "\nNo OPENAI_API_KEY or ANTHROPIC_API_KEY is set: the fast and strong tiers are stand-ins, the\n"
            "local model at the cloud models' list prices. litellm.yaml says where to put real ones."
        )


def _key(arguments: argparse.Namespace) -> None:
    import yaml

    key = _new_key(arguments)
    print(f"# The key, shown this once: {key.secret}\n# Its entry under `keys:` in farthing.yaml:")
    print(yaml.safe_dump([key.entry()], sort_keys=False), end="")


def _check(arguments: argparse.Namespace) -> None:
    from farthing.cost import PriceBook

    loaded = settings.load(arguments.config)
    if PriceBook(loaded.cost).price(loaded.cost.baseline_model) is None:
        raise SettingsError(
            f"cost.baseline_model = {loaded.cost.baseline_model!r}: has no price, so savings are not "
            "known; name a model that LiteLLM prices, or add it to cost.prices"
        )
    departments = sorted({key.department for key in loaded.keys})
    grading = loaded.grading
    print(
        f"farthing.yaml is well formed: {len(loaded.keys)} keys of {len({key.user for key in loaded.keys})} "
        f"users in {len(departments)} departments ({', '.join(departments)}).\n"
        f"Grading: mode {grading.mode}, quality {grading.quality}, judge {grading.judge.when}\n"
        f"Credits: {loaded.credits.store}\nCharges: {loaded.telemetry.outbox} → "
        f"{loaded.telemetry.otlp_endpoint}\nLedger: {loaded.ledger.url}, database {loaded.ledger.database}"
    )


def _settings(arguments: argparse.Namespace) -> None:
    print(settings.reference(), end="")


def _grade(arguments: argparse.Namespace) -> None:
    from farthing.grading import grade_lines
    from farthing.grading.learned import ArtifactError, LearnedGrader

    configured = arguments.config or os.environ.get("FARTHING_CONFIG") or Path("farthing.yaml").exists()
    # Grading needs no proxy: without a file, the default dial does.
    dial = (settings.load(arguments.config) if configured else Settings()).grading.quality
    try:
        grader = LearnedGrader.load(quality=arguments.quality or dial)
    except (ArtifactError, FileNotFoundError) as error:
        raise SettingsError(str(error)) from None
    for line in grade_lines(sys.stdin, grader):
        print(line)


def _statement(arguments: argparse.Namespace) -> int:
    from farthing.ledger import LedgerError, connect
    from farthing.ledger.statement import render, statement, this_month

    loaded = settings.load(arguments.config)
    month = arguments.month or this_month()
    try:
        rows = statement(connect(loaded.ledger), month)
    except LedgerError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    print(render(rows, arguments.format, organisation=loaded.organisation, month=month), end="")
    return 0


def _balance(arguments: argparse.Namespace) -> int:
    from farthing.credits import StoreError
    from farthing.credits.report import balances, render

    loaded = settings.load(arguments.config)
    if arguments.verify:
        return _verify_balances(loaded)
    try:
        rows = asyncio.run(balances(loaded, arguments.user))
    except StoreError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    if arguments.user and not rows:
        print(f"farthing: no user {arguments.user!r} on the key ring or in the store", file=sys.stderr)
        return 1
    print(render(rows, arguments.format, loaded.credits.nano_per_credit), end="")
    return 0


def _verify_balances(loaded: Settings) -> int:
    from farthing.credits import StoreError
    from farthing.credits.report import verify

    try:
        found = asyncio.run(verify(loaded))
    except StoreError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    for item in found:
        print(f"{item.user}: {item.total} is kept as {item.kept} and adds up to {item.recomputed} nano-USD")
    print("every balance adds up" if not found else f"{len(found)} totals do not add up")
    return 1 if found else 0


def _audit(arguments: argparse.Namespace) -> int:
    from farthing.audit import AuditError, AuditOptions, audit
    from farthing.ledger import LedgerError

    configured = arguments.config or os.environ.get("FARTHING_CONFIG") or Path("farthing.yaml").exists()
    # A file needs neither a gateway nor its settings.
    needed = configured or arguments.file is None
    loaded = settings.load(arguments.config) if needed else Settings()
    options = AuditOptions(
        file=arguments.file,
        last=arguments.last,
        days=arguments.days,
        form=arguments.format,
        baseline=arguments.baseline,
        quality=arguments.quality,
        fast=arguments.fast,
        local_cost=arguments.local_cost,
        excerpts=not arguments.no_excerpts,
    )
    try:
        print(audit(options, loaded), end="")
    except AuditError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 2
    except LedgerError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    return 0


def _ledger_serve(arguments: argparse.Namespace) -> int:
    from farthing.ledger.server import serve

    serve(settings.load(arguments.config))
    return 0


def _ledger_migrate(arguments: argparse.Namespace) -> int:
    from farthing.ledger import LedgerError, prepare

    try:
        applied = prepare(settings.load(arguments.config).ledger)
    except LedgerError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    print("\n".join(f"applied {name}" for name in applied) or "the ledger is up to date")
    return 0
