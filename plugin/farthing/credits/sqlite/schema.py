"""The SQLite schema of a credit store.

Every amount is checked to be an integer: SQLite would turn an overflowing sum into a float. Times are Unix
milliseconds, amounts nano-dollars.
"""

SCHEMA_VERSION = 2


def _whole(*columns: str, least: int | None = 0, default: str = " DEFAULT 0") -> str:
    bound = "" if least is None else " AND {0} >= " + str(least)
    line = "{0} INTEGER NOT NULL" + default + " CHECK (typeof({0}) = 'integer'" + bound + ")"
    return ",\n    ".join(line.format(column) for column in columns)


def _cap(*columns: str) -> str:
    line = "{0} INTEGER CHECK (typeof({0}) IN ('integer', 'null') AND {0} >= 0)"
    return ",\n    ".join(line.format(column) for column in columns)


TABLES = f"""
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    department TEXT NOT NULL,
    user TEXT NOT NULL,
    {_whole("limited")},
    {_whole("granted", least=None)},
    {_whole("expired", "settled", "held", "overdraft")},
    {_cap("monthly", "roll_over")},
    month TEXT NOT NULL,
    {_whole("base", "warned")},
    due_ms INTEGER,
    lots TEXT NOT NULL,
    day TEXT NOT NULL,
    today TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX accounts_due ON accounts (due_ms) WHERE due_ms IS NOT NULL;
CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    {_whole("amount", default="")},
    expires_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX grants_account ON grants (account);
CREATE TABLE holds (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    chain TEXT NOT NULL,
    session_id TEXT NOT NULL,
    {_whole("amount", default="")},
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'released', 'expired')),
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    closed_ms INTEGER,
    {_cap("settled", "overdraft")},
    day TEXT,
    tier TEXT,
    model TEXT,
    grade TEXT,
    kind TEXT,
    CHECK ((state = 'held') = (closed_ms IS NULL)),
    CHECK ((state = 'settled') = (settled IS NOT NULL AND overdraft IS NOT NULL AND day IS NOT NULL))
) WITHOUT ROWID;
CREATE INDEX holds_live ON holds (expires_ms) WHERE state = 'held';
CREATE INDEX holds_of_user ON holds (user, closed_ms) WHERE state = 'settled';
CREATE INDEX holds_closed ON holds (closed_ms) WHERE state <> 'held';
CREATE TABLE spending (
    account TEXT NOT NULL,
    day TEXT NOT NULL,
    tier TEXT NOT NULL,
    {_whole("settled", "overdraft", "calls")},
    {_whole("folded_settled", "folded_overdraft", "folded_calls")},
    PRIMARY KEY (account, day, tier)
) WITHOUT ROWID;
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    department TEXT NOT NULL,
    key_hash TEXT NOT NULL,
    started_ms INTEGER,
    last_ms INTEGER NOT NULL,
    {_whole("steps", "settled", "held")},
    {_cap("max_steps", "max_cost")},
    marks TEXT NOT NULL,
    stopped_by TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_last ON sessions (last_ms);
CREATE TABLE journal (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    {_whole("amount", least=None)},
    month TEXT NOT NULL,
    ref TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX journal_target ON journal (target);
CREATE TABLE buckets (
    id TEXT PRIMARY KEY,
    level_ms REAL NOT NULL,
    at_ms INTEGER NOT NULL
) WITHOUT ROWID;
"""
