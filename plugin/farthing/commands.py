"""What each subcommand of `farthing` does with its arguments: it calls its own room and prints the result."""

import argparse
import asyncio
import getpass
import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from farthing import scaffold, settings
from farthing.money import credits_text
from farthing.settings import Settings, SettingsError
from farthing.settings_reference import reference

_WATCH_EVERY_S = 0.5
_NO_CREDITS = {"stop", "resume"}


def demo(arguments: argparse.Namespace) -> int:
    """Run the whole stack on scripted traffic."""
    from farthing.demo import run

    return run(arguments.folder, once=arguments.once, report=arguments.report)


def _new_key(arguments: argparse.Namespace, *, stream_receipt: bool, admin: bool) -> scaffold.NewKey:
    return scaffold.NewKey(
        scaffold.new_secret(),
        arguments.user,
        arguments.department,
        arguments.cost_centre,
        arguments.credits,
        stream_receipt=stream_receipt,
        admin=admin,
    )


def init(arguments: argparse.Namespace) -> None:
    """Write the configuration of a proxy and say how to start it."""
    key, cloud = _new_key(arguments, stream_receipt=True, admin=True), scaffold.choose_cloud(os.environ)
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
see its balance fall at http://127.0.0.1:4000/farthing/ (sign in with the key),
and read, in that folder: . ./farthing.env && farthing balance && farthing statement""")
    if cloud.stand_in:
        print(
            "\nNo OPENAI_API_KEY or ANTHROPIC_API_KEY is set: the fast and strong tiers are stand-ins, the\n"
            "local model at the cloud models' list prices. litellm.yaml says where to put real ones."
        )


def key(arguments: argparse.Namespace) -> None:
    """Make a key and print its entry for the key ring."""
    import yaml

    key = _new_key(arguments, stream_receipt=arguments.stream_receipt, admin=arguments.admin)
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
        f"Credits: {_without_password(loaded.credits.store)}\nCharges: {loaded.telemetry.outbox} → "
        f"{loaded.telemetry.otlp_endpoint}\nLedger: {loaded.ledger.url}, database {loaded.ledger.database}"
    )
    named = {*loaded.credits.departments, *loaded.loops.departments, *grading.departments}
    if unused := sorted(named - set(departments)):
        print(f"No key here is of {', '.join(unused)}: what is set for it concerns LiteLLM's own keys alone.")


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//…@", url)


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


def balance(arguments: argparse.Namespace) -> int:
    """Print balances, once or whenever they change, or verify them."""
    from farthing.credits import StoreError
    from farthing.credits.report import balances, render

    loaded = settings.load(arguments.config)
    shown = ""
    try:
        if arguments.verify:
            return asyncio.run(_verify_balances(loaded))
        while True:
            rows = asyncio.run(balances(loaded, arguments.user, every_kind=arguments.all))
            if arguments.user and not rows:
                print(
                    f"farthing: no user {arguments.user!r} on the key ring or in the store", file=sys.stderr
                )
                return 1
            text = render(rows, arguments.format, loaded.credits.nano_per_credit)
            if text != shown:
                clear = "\033[H\033[2J" if arguments.watch and sys.stdout.isatty() else ""
                print(clear + text, end="", flush=True)
                shown = text
            if not arguments.watch:
                return 0
            time.sleep(_WATCH_EVERY_S)
    except StoreError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def _verify_balances(loaded: Settings) -> int:
    from farthing.credits.report import verify

    found = await verify(loaded)
    for item in found:
        print(
            f"{item.account}: {item.total} is kept as {item.kept} and adds up to {item.recomputed} nano-USD"
        )
    print("every balance adds up" if not found else f"{len(found)} totals do not add up")
    return 1 if found else 0


def _with_store(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    from farthing.credits import StoreError

    try:
        return asyncio.run(work())
    except (StoreError, ValueError) as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1


def credits_init(arguments: argparse.Namespace) -> int:
    """Prepare the credit store."""
    url = settings.load(arguments.config).credits.store
    if url.startswith("sqlite:"):
        print("An SQLite store makes its file by itself: nothing to do.")
        return 0

    async def work() -> int:
        from farthing.credits.redis import initialise

        print(f"The Redis is now Farthing's credit store {await initialise(url)}.")
        return 0

    return _with_store(work)


def credits_apply(arguments: argparse.Namespace) -> int:
    """Bring the grants and budgets of farthing.yaml into the store."""
    from farthing.credits.calendar import Calendar
    from farthing.credits.grants import give_what_is_configured
    from farthing.credits.report import opened

    loaded = settings.load(arguments.config)

    async def work() -> int:
        async with opened(loaded) as store:
            await give_what_is_configured(store, loaded, Calendar(loaded.credits.time_zone))
            limited = [balance for balance in await store.balances() if balance.limited]
        print(f"The store has the grants and budgets of farthing.yaml: {len(limited)} accounts are limited.")
        return 0

    return _with_store(work)


def credits_grant(arguments: argparse.Namespace) -> int:
    """Grant credits, once."""
    from farthing.credits.account import ORGANISATION, account_id
    from farthing.credits.calendar import Calendar
    from farthing.credits.report import opened

    loaded = settings.load(arguments.config)
    account = ORGANISATION
    if arguments.user:
        account = account_id("user", arguments.user)
    elif arguments.department:
        account = account_id("department", arguments.department)
    calendar = Calendar(loaded.credits.time_zone)
    expires_ms = calendar.ends_ms(arguments.until) if arguments.until else None
    if expires_ms is not None and expires_ms <= time.time() * 1000:
        print(f"farthing: --until {arguments.until} is over: nothing was granted", file=sys.stderr)
        return 2

    async def work() -> int:
        async with opened(loaded) as store:
            known = await store.balances([account])
            if not known or not known[0].limited:
                raise ValueError(
                    f"{account} is not known, or has no budget that credits could be added to: put the user "
                    "on the key ring, or set a monthly budget under credits in farthing.yaml"
                )
            before = known[0]
            after = await store.grant(
                f"cli:{uuid.uuid4().hex}",
                account,
                loaded.credits.nano(arguments.credits),
                department=before.department,
                user=before.user,
                expires_ms=expires_ms,
                actor=f"farthing credits ({getpass.getuser()})",
                reason=arguments.reason,
            )
        left = [credits_text(one.available, loaded.credits.nano_per_credit) for one in (before, after)]
        print(f"{account}: {left[0]} → {left[1]} credits")
        return 0

    return _with_store(work)


def credits_journal(arguments: argparse.Namespace) -> int:
    """Print the journal, the newest last."""
    from farthing.credits.report import opened, table

    loaded = settings.load(arguments.config)
    rate = loaded.credits.nano_per_credit

    async def work() -> int:
        async with opened(loaded) as store:
            acts = await store.journal(limit=arguments.last)
        lines = [
            (
                datetime.fromtimestamp(act.at_ms / 1000, UTC).isoformat(timespec="seconds"),
                act.actor,
                act.action,
                act.target,
                act.reason,
                act.ref,
                "" if act.action in _NO_CREDITS or act.ref == "steps" else credits_text(act.amount, rate),
            )
            for act in reversed(acts)
        ]
        print(table([("at", "by", "what", "whose", "reason", "of", "credits"), *lines], left=6), end="")
        return 0

    return _with_store(work)


def credits_roll_forward(arguments: argparse.Namespace) -> int:
    """Print how each account's month came to its closing balance."""
    from farthing.credits.calendar import Calendar
    from farthing.credits.report import opened, render_rolls
    from farthing.credits.roll_forward import roll_forward

    loaded = settings.load(arguments.config)
    month = arguments.month or Calendar(loaded.credits.time_zone).at(int(time.time() * 1000)).month

    async def work() -> int:
        async with opened(loaded) as store:
            rolls = await roll_forward(store, month)
        print(render_rolls(rolls, arguments.format, loaded.credits.nano_per_credit), end="")
        return 0

    return _with_store(work)


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
