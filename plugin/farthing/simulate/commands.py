"""`farthing simulate` and `farthing simulate what-if`."""

import argparse
import sys
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Any

from farthing import settings
from farthing.ledger import LedgerError
from farthing.ledger.arguments import month as month_text
from farthing.money import nano_from_usd
from farthing.settings import Settings
from farthing.simulate.errors import DATABASE, SimulationError

_HELP = """Writes a month of charges that never happened into a database of its own in the ledger: for boards,
load tests and what-ifs. What the month is made of stands in a mix; --print-mix writes the default one,
explained. An interrupted run goes on where it stopped when it is asked for the same again. Every charge says
that it is simulated, in its gateway and its price version, and none is ever written among real ones."""
_EXAMPLES = """examples:
  farthing simulate                                      this month, a million charges of 5 000 agents
  farthing simulate --charges 10e6 --month 2026-11
  farthing simulate --print-mix > mix.yaml
  farthing simulate --mix mix.yaml --prompts ours.jsonl  your own prompts decide grades and input tokens
  farthing simulate what-if --route-to-local 0.2 --gpus +2"""
_WHAT_IF_HELP = """Computes what a month would have cost with other prices, with more calls on the local tier,
or with more hardware: exact arithmetic over the month's daily lines. It says nothing about the quality of
answers."""
_WHAT_IF_EXAMPLES = """examples:
  farthing simulate what-if --month 2026-11 --route-to-local 0.2
  farthing simulate what-if --database farthing --price-change gpt-5=-30%
  farthing simulate what-if --gpus +2 --gpu-usd-per-hour 2.5 --slots 8 --format json"""


def add_parsers(subcommands: Any, config: argparse.ArgumentParser) -> None:
    """Add `simulate` to the subcommands of `farthing`; ``config`` is the parser of --config."""
    parser = subcommands.add_parser(
        "simulate",
        parents=[config],
        help="write a month that never happened, or compute what a month would have cost otherwise",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--charges", type=_count, default=10**6, metavar="N", help="about how many (default: 1e6)"
    )
    _month_argument(parser)
    parser.add_argument("--mix", type=Path, metavar="FILE", help="what differs from the default mix, as YAML")
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE", help="JSON lines as `farthing grade` takes them; - for stdin"
    )
    parser.add_argument("--database", default=DATABASE, help="where to (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="write into a stopped ledger's folder, not to ledger.url"
    )
    parser.add_argument(
        "--force", action="store_true", help="delete the month first if it was simulated from another mix"
    )
    parser.add_argument("--print-mix", action="store_true", help="print the default mix, explained, and stop")
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    what_if = actions.add_parser(
        "what-if",
        parents=[config],
        help="what a month would have cost otherwise",
        description=_WHAT_IF_HELP,
        epilog=_WHAT_IF_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _month_argument(what_if)
    what_if.add_argument(
        "--database",
        default=DATABASE,
        help="whose month; your real one is in ledger.database (default: %(default)s)",
    )
    what_if.add_argument(
        "--folder", type=Path, metavar="DIR", help="read a stopped ledger's folder, not ledger.url"
    )
    what_if.add_argument(
        "--route-to-local",
        type=_fraction,
        metavar="SHARE",
        help="share of cloud answers to move, such as 0.2",
    )
    what_if.add_argument(
        "--from", dest="source", choices=("fast", "strong", "cloud"), default="cloud",
        help="the tiers it is moved from (default: %(default)s: both, evenly)",
    )  # fmt: skip
    what_if.add_argument(
        "--price-change", type=_change, action="append", default=[], metavar="MODEL=±N%",
        help="such as gpt-5=-30%%; may be given again",
    )  # fmt: skip
    what_if.add_argument("--gpus", type=_nodes, default=0, metavar="±N", help="nodes of own hardware to add")
    what_if.add_argument(
        "--gpu-usd-per-hour", type=_usd, metavar="USD", help="what one costs (default: as those there are)"
    )
    what_if.add_argument(
        "--slots",
        type=_slots,
        default=1,
        metavar="N",
        help="calls a node serves at a time (default: %(default)s)",
    )
    what_if.add_argument("--format", choices=("table", "json"), default="table")
    what_if.set_defaults(run=run_what_if)


def run(arguments: argparse.Namespace) -> int:
    """Write a simulated month."""
    from farthing.simulate import default_text, load, plan, report
    from farthing.simulate.month import fill, opened

    if arguments.print_mix:
        print(default_text(), end="")
        return 0
    loaded = _settings(arguments)
    try:
        prompts = _prompts(arguments.prompts, loaded) if arguments.prompts else None
        mix = load(arguments.mix)
        if prompts is not None:
            from farthing.simulate.prompts import apply

            mix = apply(mix, prompts)
        rates = plan.rates(mix, loaded.cost)
        month = date.fromisoformat(f"{arguments.month or _this_month()}-01")
        if arguments.database == loaded.ledger.database:
            raise SimulationError(f"database {arguments.database} is ledger.database: real charges go there")
        with opened(loaded.ledger, arguments.database, arguments.folder) as client:
            done = fill(
                client, mix, rates, month, arguments.charges, again=arguments.force, progress=_show_progress
            )
    except (LedgerError, SimulationError) as error:
        print(f"farthing simulate: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nfarthing simulate: interrupted; ask for the same again to go on", file=sys.stderr)
        return 130
    print(report.simulated(done, month, arguments.database, report.assumptions(mix, rates, prompts)))
    return 0


def run_what_if(arguments: argparse.Namespace) -> int:
    """Compute a what-if."""
    from farthing.simulate import report, whatif
    from farthing.simulate.month import opened

    loaded = _settings(arguments)
    try:
        if not (arguments.route_to_local or arguments.price_change or arguments.gpus):
            raise SimulationError("say what to change: --route-to-local, --price-change or --gpus")
        with opened(loaded.ledger, arguments.database, arguments.folder, make=False) as client:
            now = whatif.read(client, arguments.month or _this_month())
        then, told = now, list[str]()
        if share := arguments.route_to_local:
            tiers = ("fast", "strong") if arguments.source == "cloud" else (arguments.source,)
            then = whatif.route_to_local(then, share, tiers)
            told.append(
                f"{float(share):.1%} of the answers of {' and '.join(tiers)} run on the local tier, taken "
                "evenly from each model; a token there costs, and takes, what one of the month's local "
                "answers did"
            )
        for model, by in arguments.price_change:
            then = whatif.change_price(then, model, by)
            told.append(f"every price of {model} changes by {float(by):+.1%}, also where it is the baseline")
        if arguments.gpus:
            then = whatif.add_nodes(then, arguments.gpus, arguments.gpu_usd_per_hour)
            told.append(f"{arguments.gpus:+d} nodes of own hardware all month; nothing moves there by itself")
    except (LedgerError, SimulationError) as error:
        print(f"farthing simulate: {error}", file=sys.stderr)
        return 1
    print(report.compared(now, then, arguments.slots, told, arguments.format == "json"))
    return 0


def _settings(arguments: argparse.Namespace) -> Settings:
    import os

    configured = arguments.config or os.environ.get("FARTHING_CONFIG") or Path("farthing.yaml").exists()
    # A stopped ledger's folder needs no farthing.yaml.
    return settings.load(arguments.config) if configured or not arguments.folder else Settings()


def _prompts(path: Path, loaded: Settings) -> Any:
    from farthing.grading.learned import ArtifactError, LearnedGrader
    from farthing.simulate import prompts

    try:
        grader = LearnedGrader.load(quality=loaded.grading.quality)
        if str(path) == "-":
            return prompts.read(sys.stdin, grader)
        with path.open(encoding="utf-8") as lines:
            return prompts.read(lines, grader)
    except (ArtifactError, OSError, UnicodeDecodeError) as error:
        raise SimulationError(f"--prompts {path}: {error}") from None


def _show_progress(progress: Any) -> None:
    if sys.stderr.isatty():
        done = progress.requests / progress.of
        ending = "\n" if progress.requests == progress.of else "\r"
        print(
            f"{done:6.1%}  {progress.per_second:12,.0f} requests/s", end=ending, file=sys.stderr, flush=True
        )


def _this_month() -> str:
    return datetime.now(UTC).strftime("%Y-%m")


def _month_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--month", type=month_text, help="YYYY-MM in UTC (default: this month)")


def _number(text: str, meaning: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise argparse.ArgumentTypeError(f"{text!r} is not {meaning}")
    return value


def _count(text: str) -> int:
    value = _number(text, "a number of charges, such as 1e6")
    if not 1 <= value <= 10**9 or value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1e9")
    return int(value)


def _fraction(text: str) -> Fraction:
    value = _number(text, "a share, such as 0.2")
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0, at most 1")
    return Fraction(value)


def _change(text: str) -> tuple[str, Fraction]:
    model, separator, change = text.rpartition("=")
    if not separator or not model or not change.endswith("%"):
        raise argparse.ArgumentTypeError(f"{text!r}: write MODEL=-30% or MODEL=+10%")
    by = _number(change[:-1], "a change in percent, such as -30%")
    if not -100 <= by <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r}: a price cannot change by {change}")
    return model, Fraction(by) / 100


def _nodes(text: str) -> int:
    value = _number(text, "a number of nodes, such as +2")
    if value != int(value) or not -1000 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from -1000 to 1000")
    return int(value)


def _usd(text: str) -> int:
    value = _number(text, "an amount in USD, such as 2.5")
    if not 0 <= value <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount in USD from 0 to a million")
    return nano_from_usd(value)


def _slots(text: str) -> int:
    value = _number(text, "a number of calls, such as 8")
    if value != int(value) or not 1 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 10000")
    return int(value)
