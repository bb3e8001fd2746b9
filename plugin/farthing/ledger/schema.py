"""Migrations: numbered .sql files, each applied once, the same for a ClickHouse server, a cluster, chDB."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from farthing.ledger import sqltext
from farthing.ledger.cluster import Layout, Statement, render
from farthing.ledger.errors import LedgerError

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32,
    name String,
    sha256 String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY version
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file. ``sha256`` is of its text, so that a later edit of an applied file is noticed."""

    version: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """The SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Return every migration of this version of Farthing, in order."""
    folder = files("farthing.ledger") / "migrations"
    found = [
        Migration(int(file.name.partition("_")[0]), file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.version)


def migrate(client: Any, layout: Layout | None = None) -> list[str]:
    """Bring the client's database up to date; return the names of the migrations applied now.

    ``client`` is a clickhouse-connect client whose databases exist. Repeating it changes nothing; a
    migration that failed half-way is run again whole, since each of its statements may be repeated.
    Raises LedgerError if the database holds a migration that this version does not know as it is.
    """
    layout = layout or Layout(client.database)
    _run(client, render([_TABLE.strip()], layout))
    applied = applied_migrations(client)
    known = migrations()
    _check(applied, known)
    done: list[str] = []
    for migration in known:
        if migration.version in applied:
            continue
        _run(client, render(sqltext.split(migration.text), layout))
        client.command(
            "INSERT INTO schema_migrations (version, name, sha256) "
            "VALUES ({version:UInt32}, {name:String}, {sha256:String})",
            parameters={"version": migration.version, "name": migration.name, "sha256": migration.sha256},
        )
        done.append(migration.name)
    return done


def applied_migrations(client: Any) -> dict[int, tuple[str, str]]:
    """Return name and SHA-256 of each applied migration, by its number."""
    return {
        int(version): (str(name), str(digest))
        for version, name, digest in client.query(
            "SELECT version, name, sha256 FROM schema_migrations FINAL"
        ).result_rows
    }


def script(layout: Layout) -> str:
    """Return all migrations as the SQL that `migrate` would run on an empty ledger, for a reader."""
    parts = [
        f"CREATE DATABASE IF NOT EXISTS {name} {layout.on_cluster}".rstrip() + ";\n"
        for name in layout.databases
    ]
    database = ""
    texts = [("schema_migrations", _TABLE.strip())] + [(one.name, one.text) for one in migrations()]
    for name, text in texts:
        parts.append(f"\n-- {name}\n")
        for statement in render(sqltext.split(text), layout):
            if statement.database != database:
                database = statement.database
                parts.append(f"USE {database};\n")
            parts.append(f"{statement.sql};\n")
    return "".join(parts)


def _run(client: Any, statements: list[Statement]) -> None:
    home = client.database
    try:
        for statement in statements:
            client.database = statement.database
            client.command(statement.sql)
    finally:
        client.database = home


def _check(applied: dict[int, tuple[str, str]], known: list[Migration]) -> None:
    by_version = {migration.version: migration for migration in known}
    for version, (name, digest) in sorted(applied.items()):
        if version not in by_version:
            raise LedgerError(
                f"the ledger was written by a newer Farthing (migration {name} is not known here); "
                "upgrade Farthing"
            )
        if by_version[version].sha256 != digest:
            raise LedgerError(
                f"migration {name} was applied with another text than this version of Farthing has; "
                "install the version that wrote the ledger, or start with a new ledger"
            )
