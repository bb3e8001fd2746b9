"""A Redis of the benchmark alone, and stores filled with many accounts."""

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from farthing.credits import open_store
from farthing.credits.redis import initialise
from farthing.demo.stack import free_port
from farthing.telemetry import Account

PLENTY = 10**15
"""Nano-dollars: more than any run spends."""
DEPARTMENTS = 100


def account_of(number: int) -> Account:
    """The nth user, who has one key."""
    return Account(f"key-{number}", f"user-{number}", f"department-{number % DEPARTMENTS}", "")


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """Run redis-server as docs/credits.md says it must be run, and yield its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit(
            "bench.credits needs redis-server on the PATH (Debian: apt-get install redis-server)"
        )
    port = free_port()
    kept = [
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--save",
        "",
        "--maxmemory-policy",
        "noeviction",
    ]
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *kept],
        stdout=subprocess.DEVNULL,
    )
    try:
        client = redis.Redis(port=port)
        deadline = time.monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        client.close()
        yield port
    finally:
        process.kill()
        process.wait()


async def new_store(url: str) -> None:
    """Make an empty store with limits on organisation and departments, and one user to copy."""
    if url.startswith("redis"):
        await initialise(url)
    store = open_store(url)
    await store.plan("organisation:", PLENTY)
    for number in range(DEPARTMENTS):
        await store.plan(f"department:department-{number}", PLENTY)
    account = account_of(0)
    await store.grant("user-0's", "user:user-0", PLENTY, department=account.department)
    await store.plan("key:key-0", PLENTY, department=account.department, user=account.user)
    await store.close()


def fill(url: str, first: int, last: int) -> None:
    """Add users and their keys, from the ``first`` to before the ``last``, as copies of user 0."""
    if url.startswith("sqlite"):
        _fill_sqlite(Path(url.removeprefix("sqlite:///")), first, last)
    else:
        _fill_redis(url, first, last)


def _fill_sqlite(path: Path, first: int, last: int) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    for template in ("user:user-0", "key:key-0"):
        cursor = db.execute("SELECT * FROM accounts WHERE id = ?", (template,))
        names, row = [column[0] for column in cursor.description], cursor.fetchone()
        places = ", ".join("?" * len(names))
        db.executemany(
            f"INSERT INTO accounts ({', '.join(names)}) VALUES ({places})",
            (_copy(dict(zip(names, row, strict=True)), number) for number in range(first, last)),
        )
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _copy(row: dict[str, Any], number: int) -> tuple[Any, ...]:
    account = account_of(number)
    kind = row["id"].partition(":")[0]
    own = {
        "id": f"{kind}:{account.user if kind == 'user' else account.key_hash}",
        "department": account.department,
    }
    return tuple((row | own | ({"user": account.user} if row["user"] else {})).values())


# In Redis the copies are made by Redis itself: a million over the wire would take minutes.
_COPY = """
local function copy(template, id, department, user)
  local record = cjson.decode(redis.call('GET', '{farthing}:account:' .. template))
  for at, text in ipairs(record) do
    if text == 'department-0' then record[at] = department end
    if text == 'user-0' then record[at] = user end
  end
  redis.call('SET', '{farthing}:account:' .. id, cjson.encode(record))
  redis.call('ZADD', '{farthing}:accounts', 0, id)
end
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
  local department, user = 'department-' .. number % tonumber(ARGV[3]), 'user-' .. number
  copy('user:user-0', 'user:' .. user, department, user)
  copy('key:key-0', 'key:key-' .. number, department, user)
end
"""


def _fill_redis(url: str, first: int, last: int) -> None:
    client = redis.Redis.from_url(url)
    for begin in range(first, last, 10_000):
        client.eval(_COPY, 1, "{farthing}:accounts", begin, min(last, begin + 10_000), DEPARTMENTS)
    client.close()
