"""`farthing ledger`: its actions, their arguments, and what they do."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from farthing import settings
from farthing.ledger.arguments import day, month
from farthing.ledger.errors import LedgerError
from farthing.settings import Settings


def add_parsers(subcommands: Any, config: argparse.ArgumentParser) -> None:
    """Add `ledger` to the subcommands of `farthing`; ``config`` is the parser of --config."""
    ledger = subcommands.add_parser("ledger", help="the ledger: serve it, keep it fast, close its months")
    actions = ledger.add_subparsers(title="actions", metavar="ACTION", required=True)

    def action(name: str, run: Callable[[argparse.Namespace], int], help: str, **more: Any) -> Any:
        parser = actions.add_parser(name, parents=[config], help=help, **more)
        parser.set_defaults(run=run)
        return parser

    action("serve", serve, "serve the embedded ledger (OTLP in, ClickHouse's HTTP protocol out)")
    migrate = action(
        "migrate",
        run_migrate,
        "create or update the tables of the ledger at ledger.url",
        description="Applies the migrations that the ledger lacks, and lets spans expire as "
        "ledger.retention says. Repeating it changes nothing.",
        epilog="example: farthing ledger migrate --print --cluster production --sharded > ledger.sql",
    )
    migrate.add_argument(
        "--print", action="store_true", dest="show", help="print the SQL of all migrations, and apply nothing"
    )
    migrate.add_argument(
        "--cluster", metavar="NAME", help="with --print: for this cluster (default: ledger.cluster)"
    )
    migrate.add_argument("--sharded", action="store_true", help="with --print: for its shards")
    action("status", run_status, "migrations, rows, days rolled, months closed, size")
    roll = action(
        "roll",
        run_roll,
        "sum the days that are over, so that statements and boards need not read single charges",
        description="The embedded ledger does this by itself. A ClickHouse server needs one such process, a "
        "sharded cluster one for each shard (ledger.url: a node of it). What is read is exact either way.",
        epilog="example: farthing ledger roll --every 60",
    )
    roll.add_argument("--every", type=_seconds, metavar="S", help="again every S seconds, until Ctrl-C")
    close = action(
        "close",
        run_close,
        "freeze a month's statement; what arrives later becomes correction lines",
        description="Writes the month's lines down for good, and with them the corrections of earlier closed "
        "months that no statement has yet. Closing a month again changes nothing. Close one at a time, when "
        "the outboxes of all gateways are empty (`farthing doctor`).",
        epilog="example: farthing ledger close 2026-10",
    )
    close.add_argument("month", type=month, metavar="YYYY-MM", help="in UTC")
    close.add_argument("--force", action="store_true", help="even if the month is not over")
    rebuild = action(
        "rebuild",
        run_rebuild,
        "make charges again from the spans that carry them",
        description="Inserts charges that are in otel_traces and missing from charges. Nothing is doubled.",
        epilog="example: farthing ledger rebuild --since 2026-11-01",
    )
    rebuild.add_argument(
        "--since", type=day, metavar="YYYY-MM-DD", help="spans from that day on (default: all)"
    )
    rebuild.add_argument(
        "--all",
        action="store_true",
        dest="everything",
        help="those that are not missing, too: fills new columns",
    )
    action(
        "sync",
        run_sync,
        "bring prices, budgets, hardware and the credit accounts' months into the ledger",
        description="From farthing.yaml, the price book and the credit store; run it daily. Repeating it "
        "changes nothing.",
    )
    users = action(
        "users",
        run_users,
        "roles of a ClickHouse server: finance reads all, a department its own rows",
        description="Makes a read-only role for finance and one for each department, with row policies, and "
        "the users of ledger.readers. ledger.user needs access management. The embedded ledger needs none "
        "for its readers.",
        epilog="example: farthing ledger users --print",
    )
    users.add_argument("--print", action="store_true", dest="show", help="print the SQL, and run nothing")
    action(
        "retain",
        run_retain,
        "drop single charges older than ledger.retention.charges_months",
        description="Drops the charges of closed months; their statements and sums stay. Run it monthly, "
        "after closing; on a sharded cluster for each shard.",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 86400")
    return seconds


def _with_client(
    arguments: argparse.Namespace, work: Callable[[Any, Settings], int], *, shard: bool = False
) -> int:
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from farthing.ledger.client import connect, connect_shard

    loaded = settings.load(arguments.config)
    try:
        client = (connect_shard if shard else connect)(loaded.ledger)
        try:
            return work(client, loaded)
        finally:
            client.close()
    except (LedgerError, ClickHouseError, TimeoutError) as error:
        print(f"farthing: {str(error).partition(chr(10))[0]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def serve(arguments: argparse.Namespace) -> int:
    """Serve the embedded ledger."""
    from farthing.ledger.server import serve

    serve(settings.load(arguments.config))
    return 0


def run_migrate(arguments: argparse.Namespace) -> int:
    """Bring the ledger's tables up to date, or print how."""
    from farthing.ledger.client import layout_of, prepare
    from farthing.ledger.schema import script

    ledger = settings.load(arguments.config).ledger
    if arguments.show:
        cluster = arguments.cluster if arguments.cluster is not None else ledger.cluster
        changes = {"cluster": cluster, "sharded": bool(cluster) and (arguments.sharded or ledger.sharded)}
        print(script(layout_of(type(ledger).model_validate({**ledger.model_dump(), **changes}))), end="")
        return 0
    try:
        applied = prepare(ledger)
    except LedgerError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    print("\n".join(f"applied {name}" for name in applied) or "the ledger is up to date")
    return 0


def run_status(arguments: argparse.Namespace) -> int:
    """Print the ledger's status; 1 if migrations are pending."""
    from farthing.ledger.status import status

    def work(client: Any, loaded: Settings) -> int:
        found = status(client)
        print(
            f"{loaded.ledger.url}, database {loaded.ledger.database}: {found.disk_bytes / 1e6:.1f} MB on disk"
        )
        print(f"migrations  {len(found.applied)} applied; pending: {', '.join(found.pending) or 'none'}")
        if found.oldest and found.newest:
            print(f"charges     from {found.oldest:%Y-%m-%d %H:%M} to {found.newest:%Y-%m-%d %H:%M} UTC")
        print(f"days        {found.days_rolled} rolled, {found.days_open} summed from their charges")
        closed = ", ".join(f"{one:%Y-%m}" for one in found.closed) or "none"
        print(f"closed      {closed}; {found.corrections} correction lines not booked yet")
        if found.late:
            print(f"late        {found.late} charges came for days whose charges are dropped: in no sum")
        for table, rows in found.rows.items():
            print(f"  {table:28} {rows:>14,} rows")
        return 1 if found.pending else 0

    return _with_client(arguments, work)


def run_roll(arguments: argparse.Namespace) -> int:
    """Roll once, or until Ctrl-C."""
    from farthing.ledger.rolls import WHOLE_DAY, Roller

    def work(client: Any, _: Settings) -> int:
        roller, tidied = Roller(client), 0.0
        while True:
            for one in roller.run(settled=arguments.every is None):
                hour = "" if one.slot == WHOLE_DAY else f" {datetime.fromtimestamp(one.slot * 3600, UTC):%H}h"
                print(f"rolled {one.day}{hour}: {one.arrivals} rows arrived so far", flush=True)
            if time.monotonic() - tidied > 3600:
                roller.tidy()
                tidied = time.monotonic()
            if arguments.every is None:
                return 0
            time.sleep(arguments.every)

    return _with_client(arguments, work, shard=True)


def run_close(arguments: argparse.Namespace) -> int:
    """Close a month."""
    from farthing.ledger.closing import close_month

    def work(client: Any, _: Settings) -> int:
        done = close_month(client, arguments.month, force=arguments.force)
        how = "closed" if done.new else f"was closed on {done.closed_at:%Y-%m-%d %H:%M} UTC"
        print(
            f"{arguments.month} {how}: {done.lines} lines, {done.corrections} corrections of earlier months"
        )
        return 0

    return _with_client(arguments, work)


def run_rebuild(arguments: argparse.Namespace) -> int:
    """Rebuild charges from spans."""
    from farthing.ledger.rebuild import rebuild

    def work(client: Any, _: Settings) -> int:
        total = rebuild(
            client,
            arguments.since,
            everything=arguments.everything,
            tell=lambda at, count: print(f"{at}: {count} charges", flush=True) if count else None,
        )
        print(f"{total} charges inserted" if total else "no charge was missing")
        return 0

    return _with_client(arguments, work, shard=True)


def run_sync(arguments: argparse.Namespace) -> int:
    """Bring the books up to date."""
    from farthing.cost import PriceBook
    from farthing.credits import StoreError
    from farthing.ledger.books import sync

    def work(client: Any, loaded: Settings) -> int:
        try:
            done = asyncio.run(sync(client, loaded, PriceBook(loaded.cost)))
        except StoreError as error:
            raise LedgerError(str(error)) from None
        print(
            f"written: {done.prices} prices, {done.hardware} lines of hardware, {done.budgets} budgets, "
            f"{done.accounts} months of credit accounts"
        )
        return 0

    return _with_client(arguments, work)


def run_users(arguments: argparse.Namespace) -> int:
    """Make roles and users, or print how."""
    from farthing.ledger.client import layout_of
    from farthing.ledger.users import statements

    def work(client: Any, loaded: Settings) -> int:
        rows = client.query(
            "SELECT DISTINCT department FROM charges_daily WHERE department != ''"
        ).result_rows
        departments = {str(row[0]) for row in rows} | {key.department for key in loaded.keys}
        made = statements(layout_of(loaded.ledger), departments, loaded.ledger.readers)
        if arguments.show:
            print("".join(f"{one};\n" for one in made), end="")
            return 0
        for one in made:
            client.command(one)
        print(f"roles for finance and {len(departments)} departments, {len(loaded.ledger.readers)} users")
        return 0

    return _with_client(arguments, work)


def run_retain(arguments: argparse.Namespace) -> int:
    """Drop what is older than the retention."""
    from farthing.ledger.client import connect_shard
    from farthing.ledger.closing import closed_months
    from farthing.ledger.retention import drop_charges

    def work(client: Any, loaded: Settings) -> int:
        months = loaded.ledger.retention.charges_months
        if months is None:
            print("ledger.retention.charges_months is not set: charges are kept for ever")
            return 0
        shard = connect_shard(loaded.ledger)
        try:
            dropped, kept = drop_charges(shard, months, closed_months(client))
        finally:
            shard.close()
        print(f"dropped: {', '.join(dropped) or 'nothing'}")
        if kept:
            print(f"kept, because they are not closed: {', '.join(kept)}", file=sys.stderr)
        return 0

    return _with_client(arguments, work)
