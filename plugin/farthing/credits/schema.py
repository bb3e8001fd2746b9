"""The SQLite schema of a credit store.

Every amount is checked to be an integer: SQLite would turn an overflowing sum into a float.
"""

SCHEMA_VERSION = 1

TABLES = """
CREATE TABLE IF NOT EXISTS accounts (
    user TEXT PRIMARY KEY,
    department TEXT NOT NULL,
    granted INTEGER NOT NULL DEFAULT 0 CHECK (typeof(granted) = 'integer' AND granted >= 0),
    settled INTEGER NOT NULL DEFAULT 0 CHECK (typeof(settled) = 'integer' AND settled >= 0),
    held INTEGER NOT NULL DEFAULT 0 CHECK (typeof(held) = 'integer' AND held >= 0)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS grants (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (typeof(amount) = 'integer' AND amount >= 0),
    updated_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holds (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (typeof(amount) = 'integer' AND amount >= 0),
    state TEXT NOT NULL CHECK (state IN ('held', 'settled', 'released', 'expired')),
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    closed_ns INTEGER,
    settled INTEGER CHECK (typeof(settled) IN ('integer', 'null') AND settled >= 0),
    overdraft INTEGER CHECK (typeof(overdraft) IN ('integer', 'null') AND overdraft >= 0),
    CHECK ((state = 'held') = (closed_ns IS NULL)),
    CHECK ((state = 'settled') = (settled IS NOT NULL AND overdraft IS NOT NULL))
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS holds_live ON holds (user, expires_ns) WHERE state = 'held';
"""
