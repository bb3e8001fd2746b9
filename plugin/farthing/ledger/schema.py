"""Migrations: numbered .sql files, each applied once, the same on a ClickHouse server and on chDB."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from farthing.ledger import sqltext
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


def migrate(client: Any) -> list[str]:
    """Bring the client's database up to date; return the names of the migrations applied now.

    ``client`` is a clickhouse-connect client whose database exists. Repeating it changes nothing; a
    migration that failed half-way is run again whole, since each of its statements may be repeated.
    Raises LedgerError if the database holds a migration that this version does not know as it is.
    """
    client.command(_TABLE)
    applied = {
        int(version): (str(name), str(digest))
        for version, name, digest in client.query(
            "SELECT version, name, sha256 FROM schema_migrations FINAL"
        ).result_rows
    }
    known = migrations()
    _check(applied, known)
    done: list[str] = []
    for migration in known:
        if migration.version in applied:
            continue
        for statement in sqltext.split(migration.text):
            client.command(statement)
        client.command(
            "INSERT INTO schema_migrations (version, name, sha256) "
            "VALUES ({version:UInt32}, {name:String}, {sha256:String})",
            parameters={"version": migration.version, "name": migration.name, "sha256": migration.sha256},
        )
        done.append(migration.name)
    return done


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
