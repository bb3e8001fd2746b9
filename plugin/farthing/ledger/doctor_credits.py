"""What `farthing doctor` compares: what the balances paid, and what the ledger bills."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from farthing.credits import StoreError
from farthing.credits.report import balances
from farthing.ledger.doctor_finding import Finding
from farthing.money import usd_text
from farthing.settings import Settings

_AGAIN = 3
_PAUSE_S = 1.0
_STALE_S = 600


@dataclass(frozen=True, slots=True)
class Books:
    """The credit store, in nano-dollars: what was ever settled, what is held, and what nobody renews."""

    settled: int
    held: int
    stale_holds: int | None
    """None: the store does not list its holds."""
    stale_nano: int


def read_books(settings: Settings) -> Books | None:
    """Return the credit store's sums, None if there is no store yet. Raises StoreError, sqlite3.Error."""
    scheme, _, rest = settings.credits.store.partition("://")
    if scheme != "sqlite":
        users = asyncio.run(balances(settings))
        return Books(sum(user.settled for user in users), sum(user.held for user in users), None, 0)
    # Opened by hand, and only to read: the store itself would tidy up what the doctor came to see.
    path = Path(unquote(rest[1:]))
    if not path.exists():
        return None
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        settled, held = db.execute(
            "SELECT coalesce(sum(settled), 0), coalesce(sum(held), 0) FROM accounts WHERE id LIKE 'user:%'"
        ).fetchone()
        stale, amount = db.execute(
            "SELECT count(*), coalesce(sum(amount), 0) FROM holds WHERE state = 'held' AND expires_ms < ?",
            (int((time.time() - _STALE_S) * 1000),),
        ).fetchone()
    finally:
        db.close()
    return Books(settled, held, stale, amount)


def findings(settings: Settings, billed: Callable[[], tuple[int, int]] | None) -> list[Finding]:
    """Compare the balances with the ledger, and look for holds that nobody ends.

    ``billed`` returns what the ledger's charges were settled at and what this machine's outbox has not
    delivered, in nano-dollars; None if there is no ledger to ask. While calls are settled the figures are of
    different moments, so that a difference must be seen several times.
    """
    books: Books | None = None
    difference = ledger = waiting = 0
    try:
        for attempt in range(_AGAIN):
            if attempt:
                time.sleep(_PAUSE_S)
            books = read_books(settings)
            if books is None or billed is None:
                break
            ledger, waiting = billed()
            difference = books.settled - ledger - waiting
            if not difference:
                break
    except (StoreError, sqlite3.Error, ValueError) as error:
        return [
            Finding(
                "credits", "FAIL", f"the credit store cannot be read: {error}",
                "calls that cost money are refused meanwhile: see docs/credits.md",
            )
        ]  # fmt: skip
    if books is None:
        return [
            Finding("credits", "warn", "there is no credit store yet", "the proxy makes it when it starts")
        ]
    found = [_holds(books)]
    if billed is not None:
        found.insert(0, _sums(books, ledger, waiting, difference))
    return found


def _sums(books: Books, ledger: int, waiting: int, difference: int) -> Finding:
    facts = {
        "settled_nano": books.settled, "ledger_nano": ledger, "outbox_nano": waiting,
        "difference_nano": difference,
    }  # fmt: skip
    sums = (
        f"balances paid {usd_text(books.settled)} USD; the ledger has {usd_text(ledger)}, the outbox "
        f"{usd_text(waiting)}"
    )
    if not difference:
        return Finding("credits", "ok", f"{sums}: equal to the nano-dollar", "", facts)
    if difference > 0:
        return Finding(
            "credits", "FAIL",
            f"{sums}: {usd_text(difference)} USD were paid for charges that are in neither",
            "see `gaps` above. Charges in outboxes of other machines count, too, and so does what was "
            "settled before this ledger was begun",
            facts,
        )  # fmt: skip
    return Finding(
        "credits", "FAIL", f"{sums}: {usd_text(-difference)} USD are billed that no balance paid",
        "a running proxy settles them from its outbox within a minute, after a restart at once. If it stays, "
        "the ledger holds charges of another credit store, or the store was restored from an older copy",
        facts,
    )  # fmt: skip


def _holds(books: Books) -> Finding:
    facts = {"held_nano": books.held, "stale": books.stale_holds, "stale_nano": books.stale_nano}
    if books.stale_holds:
        return Finding(
            "holds", "warn",
            f"{books.stale_holds} holds of {usd_text(books.stale_nano)} USD ran out more than "
            f"{_STALE_S // 60} minutes ago and are still held",
            "they end with the next call, or now: farthing balance",
            facts,
        )  # fmt: skip
    return Finding("holds", "ok", f"{usd_text(books.held)} USD are held for calls under way", "", facts)
