"""`farthing trace`: one request, span by span."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from farthing import settings
from farthing.ledger.errors import LedgerError

_HELP = """Shows what was done for one request and how long each step took: grade, context, hold, every
attempt at a model, check, settle. The spans come from the ledger at ledger.url: those of other services
that write there, too."""
_EXAMPLES = """examples:
  farthing trace 0af7651916cd43dd8448eb211c80319c          by trace id: the middle of a traceparent
  farthing trace 5d1c0f0e6c5b4b7f9f0a2f4c8d7e6b5a          by charge: the response header x-farthing-charge
  farthing trace 0af7651916cd43dd8448eb211c80319c --format html --output trace.html"""


def add_parsers(subcommands: Any, config: argparse.ArgumentParser) -> None:
    """Add `trace` to the subcommands of `farthing`; ``config`` is the parser of --config."""
    parser = subcommands.add_parser(
        "trace",
        parents=[config],
        help="what was done for one request, step by step, and how long it took",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("id", metavar="TRACE_ID|CHARGE_ID")
    parser.add_argument("--format", choices=("text", "json", "html"), default="text")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the trace; 1 if there is none."""
    from farthing.ledger import connect
    from farthing.ledger.trace import find, render
    from farthing.ledger.waterfall import page

    try:
        trace_id, spans = find(connect(settings.load(arguments.config).ledger), arguments.id)
    except LedgerError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    if not spans:
        print(
            f"farthing: no span of {arguments.id!r} is in the ledger (yet: ordinary spans take seconds). "
            "Give a trace id, or the id of a charge.",
            file=sys.stderr,
        )
        return 1
    if arguments.format == "html":
        text = page(trace_id, spans)
    elif arguments.format == "json":
        text = json.dumps({"trace_id": trace_id, "spans": [asdict(span) for span in spans]}, indent=2) + "\n"
    else:
        text = render(spans) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0
