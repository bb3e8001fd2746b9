"""What each subcommand of `farthing` does with its arguments: it calls its own room and prints the result."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from farthing import scaffold, settings
from farthing.settings import Settings, SettingsError
from farthing.settings_reference import reference


def demo(arguments: argparse.Namespace) -> int:
    """Run the whole stack on scripted traffic."""
    from farthing.demo import run

    return run(arguments.folder, once=arguments.once, report=arguments.report)


def _new_key(arguments: argparse.Namespace) -> scaffold.NewKey:
    return scaffold.NewKey(
        scaffold.new_secret(), arguments.user, arguments.department, arguments.cost_centre, arguments.credits
    )


def init(arguments: argparse.Namespace) -> None:
    """Write the configuration of a proxy and say how to start it."""
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


def key(arguments: argparse.Namespace) -> None:
    """Make a key and print its entry for the key ring."""
    import yaml

    key = _new_key(arguments)
    print(f"# The key, shown this once: {key.secret}\n# Its entry under `keys:` in farthing.yaml:")
    print(yaml.safe_dump([key.entry()], sort_keys=False), end="")


def check(arguments: argparse.Namespace) -> None:
    """Say what farthing.yaml sets up. Raises SettingsError for what is wrong with it."""
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


def show_settings(arguments: argparse.Namespace) -> None:
    """Print the reference of every setting."""
    print(reference(), end="")


def grade(arguments: argparse.Namespace) -> None:
    """Grade the tasks on standard input."""
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


def statement(arguments: argparse.Namespace) -> int:
    """Print a month's statement."""
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


def balance(arguments: argparse.Namespace) -> int:
    """Print balances, or verify them."""
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


def audit(arguments: argparse.Namespace) -> int:
    """Say which past calls needed the strong model."""
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


def ledger_serve(arguments: argparse.Namespace) -> int:
    """Serve the embedded ledger."""
    from farthing.ledger.server import serve

    serve(settings.load(arguments.config))
    return 0


def ledger_migrate(arguments: argparse.Namespace) -> int:
    """Bring the ledger's tables up to date."""
    from farthing.ledger import LedgerError, prepare

    try:
        applied = prepare(settings.load(arguments.config).ledger)
    except LedgerError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    print("\n".join(f"applied {name}" for name in applied) or "the ledger is up to date")
    return 0
