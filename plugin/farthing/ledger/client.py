"""The way to a ledger, embedded or a ClickHouse server: the same client for both."""

import socket
from typing import Any
from urllib.parse import urlsplit

from farthing.ledger.cluster import Layout
from farthing.ledger.errors import LedgerError
from farthing.settings import Ledger


def connect(ledger: Ledger) -> Any:
    """Return a clickhouse-connect client of the ledger; close it after use.

    It may be used by several threads at once. Raises LedgerError, which says what to do, if the ledger
    is down, refuses the user, or has no such database yet.
    """
    return _connect(ledger, ledger.database)


def prepare(ledger: Ledger) -> list[str]:
    """Make the database if it is not there and bring it up to date; return the migrations applied.

    For a ClickHouse server or cluster; the embedded ledger does so itself when it starts. Raises LedgerError.
    """
    from farthing.ledger.retention import expire_traces
    from farthing.ledger.schema import migrate

    layout = layout_of(ledger)
    client = _connect(ledger, None)
    try:
        for database in layout.databases:
            client.command(f"CREATE DATABASE IF NOT EXISTS `{database}` {layout.on_cluster}")
        client.database = layout.database
        applied = migrate(client, layout)
        client.database = layout.shard_database
        expire_traces(client, ledger.retention.traces_days, layout.on_cluster)
        return applied
    finally:
        client.close()


def layout_of(ledger: Ledger) -> Layout:
    """Return where the ledger lives."""
    return Layout(ledger.database, ledger.cluster, ledger.sharded)


def connect_shard(ledger: Ledger) -> Any:
    """Return a client of the shard's own tables on the node at ledger.url; see `connect`."""
    return _connect(ledger, layout_of(ledger).shard_database)


def _connect(ledger: Ledger, database: str | None) -> Any:
    try:
        from clickhouse_connect import get_client
        from clickhouse_connect.driver.exceptions import ClickHouseError
    except ImportError:
        raise LedgerError(
            "reading the ledger needs clickhouse-connect; install it: pip install 'farthing[statement]'"
        ) from None
    url = urlsplit(ledger.url)
    try:
        port = url.port or (8443 if url.scheme == "https" else 8123)
    except ValueError:
        port = 0
    if url.scheme not in ("http", "https") or not url.hostname or not port:
        raise LedgerError(f"ledger.url {ledger.url!r} must be http(s)://host:port")
    try:
        # Asked first, and apart, so that a ledger that is down costs one clear line and no retries.
        socket.create_connection((url.hostname, port), timeout=5).close()
    except OSError as error:
        raise LedgerError(
            f"the ledger at {ledger.url} does not answer ({error.strerror or error}); "
            "start it with `farthing ledger serve`, or correct ledger.url"
        ) from None
    try:
        return get_client(
            interface=url.scheme,
            host=url.hostname,
            port=port,
            username=ledger.user,
            password=ledger.password,
            database=database,
            proxy_path=url.path,
            autogenerate_session_id=False,
            client_name="farthing",
        )
    except ClickHouseError as error:
        raise LedgerError(_explain(ledger, error)) from None


def _explain(ledger: Ledger, error: Exception) -> str:
    code = getattr(error, "code", None)
    text = str(error)
    if code == 516 or "AUTHENTICATION_FAILED" in text:
        return (
            f"the ledger at {ledger.url} refuses user {ledger.user!r}; check ledger.user and ledger.password"
        )
    if code == 81 or "UNKNOWN_DATABASE" in text:
        return (
            f"the ledger at {ledger.url} has no database {ledger.database!r}; "
            "make it with `farthing ledger migrate`, or correct ledger.database"
        )
    return f"the ledger at {ledger.url} answers, but not as ClickHouse does: {text.splitlines()[0]}"
