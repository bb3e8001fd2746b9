"""Migrations for a ClickHouse cluster, rendered from the same files as for one server.

With replicas, every table becomes a Replicated one and every statement runs ON CLUSTER.

With shards, each shard is a whole ledger of its own share of charges, in a database of its own: its charges,
its arrivals, its rolls and the views over them. A charge goes to the shard that the hash of its id names, so
that all its repeats meet in one table and are dropped there. What a roll is compared with, the count of
arrivals, is that of the same shard: it is exact there, and the sum over exact shards is exact. The ledger's
database then holds Distributed tables over those of the shards, under the same names, and the small books,
which every node keeps whole. Rolls are made on each shard. Insert into the Distributed tables with
distributed_foreground_insert = 1, or an insert is answered before it is stored.

Blocks are not deduplicated on insert (replicated_deduplication_window = 0). A block of spans that is sent
again because its charges could not be stored would be taken for done, and its charges be missing; and two
blocks with the same count of arrivals are two.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from farthing.ledger import sqltext

BOOKS = frozenset(
    [
        "schema_migrations",
        "price_book",
        "hardware_costs",
        "budgets",
        "credit_roll_forward",
        "provider_invoices",
        "closings",
        "closing_lines",
        "closings_in_force",
        "closed_months",
        "months_to_correct",
        "closed_lines",
        "statement_lines",
        "statement_corrections",
    ]
)
"""Tables and views that exist once, on every node alike; all others belong to a shard."""

_KEYS = {
    "charges": "cityHash64(id)",
    "otel_traces": "cityHash64(if(SpanAttributes['farthing.charge.id'] != '', "
    "SpanAttributes['farthing.charge.id'], TraceId))",
    "otel_metrics_gauge": "rand()",
    "otel_metrics_sum": "rand()",
    "otel_metrics_histogram": "rand()",
}
_HEAD = re.compile(
    r"(?P<verb>CREATE TABLE IF NOT EXISTS|CREATE MATERIALIZED VIEW IF NOT EXISTS|CREATE OR REPLACE VIEW"
    r"|CREATE VIEW IF NOT EXISTS|ALTER TABLE)\s+(?P<name>\w+)"
)
_ENGINE = re.compile(r"\bENGINE = (?P<kind>\w*MergeTree)\b(?:\((?P<arguments>[^()]*)\))?")
_NO_DEDUPLICATION = (
    "replicated_deduplication_window = 0, replicated_deduplication_window_for_async_inserts = 0"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a ledger lives. No cluster: one server (or chDB)."""

    database: str
    cluster: str = ""
    sharded: bool = False

    @property
    def shard_database(self) -> str:
        """The database of a shard's own tables."""
        return f"{self.database}_shard" if self.sharded else self.database

    @property
    def on_cluster(self) -> str:
        """The ON CLUSTER clause, or nothing."""
        return f"ON CLUSTER '{self.cluster}'" if self.cluster else ""

    @property
    def databases(self) -> list[str]:
        """All of them."""
        return sorted({self.database, self.shard_database})


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, and the database it is for."""

    database: str
    sql: str


def render(statements: Iterable[str], layout: Layout) -> list[Statement]:
    """Return the statements of a migration as the layout needs them. Raises ValueError for a form unknown."""
    rendered: list[Statement] = []
    for statement in statements:
        if not layout.cluster:
            rendered.append(Statement(layout.database, statement))
            continue
        head = _HEAD.search(statement)
        if head is None or sqltext.first_word(statement.encode()) not in (b"CREATE", b"ALTER"):
            raise ValueError(
                f"a migration's statement that cannot be rendered for a cluster: {statement[:80]}"
            )
        name, verb = head["name"], head["verb"]
        mine = name not in BOOKS
        database = layout.shard_database if mine else layout.database
        text = f"{statement[: head.end()]} {layout.on_cluster}{statement[head.end() :]}"
        if verb.startswith("CREATE TABLE"):
            text = _replicated(text, each_node=layout.sharded and not mine)
        rendered.append(Statement(database, text))
        if layout.sharded and mine and _is_read(verb, statement):
            rendered.append(Statement(layout.database, _distributed(name, layout)))
    return rendered


def _replicated(text: str, *, each_node: bool) -> str:
    def engine(found: re.Match[str]) -> str:
        # Books are replicated over all nodes, so the path names no shard, and the replica its shard.
        path, replica = (
            ("/clickhouse/tables/{database}/{table}", "{shard}-{replica}")
            if each_node
            else ("/clickhouse/tables/{database}/{table}/{shard}", "{replica}")
        )
        more = f", {found['arguments']}" if found["arguments"] else ""
        return f"ENGINE = Replicated{found['kind']}('{path}', '{replica}'{more})"

    text = _ENGINE.sub(engine, text)
    if re.search(r"\nSETTINGS ", text):
        return f"{text}, {_NO_DEDUPLICATION}"
    return f"{text}\nSETTINGS {_NO_DEDUPLICATION}"


def _is_read(verb: str, statement: str) -> bool:
    return (verb != "ALTER TABLE" and "MATERIALIZED" not in verb) or " ADD COLUMN " in statement


def _distributed(name: str, layout: Layout) -> str:
    key = f", {_KEYS[name]}" if name in _KEYS else ""
    return (
        f"CREATE OR REPLACE TABLE {name} {layout.on_cluster} AS {layout.shard_database}.{name}\n"
        f"ENGINE = Distributed('{layout.cluster}', '{layout.shard_database}', '{name}'{key})"
    )
