"""Two-phase spending in SQL. Each function is a part of one transaction and runs only there."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from farthing.credits.account import Crossing, State
from farthing.credits.calendar import Moment
from farthing.credits.sqlite.accounts import Book, pack, unpack_chain
from farthing.credits.store import (
    UNLIMITED,
    CallNote,
    Payer,
    Standing,
    balance_of,
)

BATCH: Final = 256
"""How many holds or accounts one transaction brings to the present at most."""

_OVERDUE: Final = """
SELECT id, chain, session_id, amount FROM holds WHERE state = 'held' AND expires_ms <= ? LIMIT ?
"""
_KNOWN: Final = "SELECT user, chain, session_id, amount, state FROM holds WHERE id = ?"
_HOLD: Final = """
INSERT INTO holds (id, user, chain, session_id, amount, state, created_ms, expires_ms)
VALUES (?, ?, ?, ?, ?, 'held', ?, ?)
ON CONFLICT (id) DO NOTHING
"""
_RELEASED: Final = """
INSERT INTO holds (id, user, chain, session_id, amount, state, created_ms, expires_ms, closed_ms)
VALUES (?, '', '', '', 0, 'released', ?, ?, ?)
"""
_SETTLE: Final = """
UPDATE holds
SET user = ?, chain = ?, session_id = ?, state = 'settled', closed_ms = ?, settled = ?, overdraft = ?,
    day = ?, tier = ?, model = ?, grade = ?, kind = ?
WHERE id = ?
"""
_SETTLE_UNKNOWN: Final = """
INSERT INTO holds (user, chain, session_id, closed_ms, settled, overdraft, day, tier, model, grade, kind, id,
    state, amount, created_ms, expires_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'settled', 0, ?4, ?4)
"""
_SESSION_LEFT: Final = "CASE WHEN started_ms IS NOT NULL THEN max_cost - settled - held END"
_HOLD_SESSION: Final = f"""
INSERT INTO sessions (id, user, department, key_hash, started_ms, last_ms, held, marks, stopped_by)
VALUES (?, ?, ?, ?, NULL, ?, ?, '', '')
ON CONFLICT (id) DO UPDATE SET held = held + excluded.held RETURNING {_SESSION_LEFT}
"""  # noqa: S608
"""A session that holds before it was ever entered is kept as one that never began."""
_FIND_LEFT: Final = f"SELECT {_SESSION_LEFT} FROM sessions WHERE id = ?"  # noqa: S608
_SETTLE_SESSION: Final = (
    f"UPDATE sessions SET held = held - ?, settled = settled + ? WHERE id = ? RETURNING {_SESSION_LEFT}"  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class Spender:
    """A payer and what follows from it, worked out before a step needs it."""

    payer: Payer
    chain: tuple[str, ...]
    packed: str

    @classmethod
    def of(cls, payer: Payer) -> "Spender":
        """Return a payer as steps need it."""
        chain = payer.chain
        return cls(payer, chain, pack(chain))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a step saw of a payer at its end: its chain, and what the cap of its session leaves."""

    payer: Payer
    states: Sequence[State]
    left: int | None

    @property
    def standing(self) -> Standing:
        """What the payer has. Left to the caller, for whom nobody waits."""
        least, short = UNLIMITED, ""
        for state in self.states:
            if state.limited and (not short or state.available < least):
                least, short = state.available, state.id
        if self.left is not None and (not short or self.left < least):
            least, short = self.left, f"session:{self.payer.session_id}"
        return Standing(balance_of(self.states[2]), least, short)


Ended = tuple[str, str, int]
"""A hold's chain, session and amount."""


def overdue(db: sqlite3.Connection, now: Moment) -> bool:
    """Return whether a lease has ended that nobody has expired yet."""
    return db.execute(_OVERDUE, (now.ms, 1)).fetchone() is not None


def expire(db: sqlite3.Connection, now: Moment) -> bool:
    """Expire holds whose lease has ended; return whether there may be more of them."""
    found = db.execute(_OVERDUE, (now.ms, BATCH)).fetchall()
    if found:
        db.executemany(
            "UPDATE holds SET state = 'expired', closed_ms = ? WHERE id = ?",
            [(now.ms, row[0]) for row in found],
        )
        _give_back(db, [row[1:] for row in found])
    return len(found) == BATCH


def _give_back(db: sqlite3.Connection, ended: Iterable[Ended]) -> None:
    accounts: Counter[str] = Counter()
    sessions: Counter[str] = Counter()
    for chain, session_id, amount in ended:
        for account in unpack_chain(chain):
            accounts[account] += amount
        sessions[session_id] += amount
    for table, held in (("accounts", accounts), ("sessions", sessions)):
        db.executemany(
            f"UPDATE {table} SET held = held - ? WHERE id = ?",  # noqa: S608
            [(amount, name) for name, amount in held.items() if amount],
        )


def session_left(db: sqlite3.Connection, session_id: str) -> int | None:
    """Return what a session's cost cap leaves for new holds; None if it has no cap or never began."""
    row = db.execute(_FIND_LEFT, (session_id,)).fetchone() if session_id else None
    return row[0] if row else None


def hold(
    db: sqlite3.Connection, hold_id: str, spender: Spender, amount: int, now: Moment, expires_ms: int
) -> tuple[bool, Seen]:
    """Take a hold on the whole chain or on nothing; return whether it stands, now or since before."""
    payer, account, session_id = spender.payer, spender.payer.account, spender.payer.session_id
    book = Book(db, now)
    states = book.open(payer, spender.chain)
    row = (hold_id, account.user, spender.packed, session_id, amount, now.ms, expires_ms)
    if _fits(amount, states) and db.execute(_HOLD, row).rowcount:
        whose = (session_id, account.user, account.department, account.key_hash, now.ms)
        stands, left = _hold_on_session(db, whose, amount)
        if stands:
            book.hold(spender.chain, amount)
        else:
            db.execute("DELETE FROM holds WHERE id = ?", (hold_id,))
    else:
        left = session_left(db, session_id)
        known = db.execute(_KNOWN, (hold_id,)).fetchone()
        stands = known is not None
        if stands:
            _same_user(hold_id, known[0], payer)
    book.save()
    return stands, Seen(payer, states, left)


def _fits(amount: int, states: Iterable[State]) -> bool:
    return all(state.fits(amount) for state in states)


def _hold_on_session(
    db: sqlite3.Connection, whose: tuple[str, str, str, str, int], amount: int
) -> tuple[bool, int | None]:
    """Hold on a session; return whether its cost cap allows it, and what the cap leaves then."""
    session_id = whose[0]
    if not session_id or not amount:
        return True, session_left(db, session_id)
    ((left,),) = db.execute(_HOLD_SESSION, (*whose, amount)).fetchall()
    if left is None or left >= 0:
        return True, left
    db.execute("UPDATE sessions SET held = held - ? WHERE id = ?", (amount, session_id))
    return False, left + amount


def renew(db: sqlite3.Connection, hold_ids: Sequence[str], now: Moment, expires_ms: int) -> None:
    """Extend live holds, and bring back expired ones whose money is still there."""
    book = Book(db, now)
    for hold_id in dict.fromkeys(hold_ids):
        known = db.execute(_KNOWN, (hold_id,)).fetchone()
        if known is None or known[4] not in ("held", "expired"):
            continue
        user, packed, session_id, amount, state = known
        if state == "expired":
            chain = unpack_chain(packed)
            book.load(chain)
            whose = (session_id, user, "", "", now.ms)
            fits = _fits(amount, [book[account] for account in chain])
            if not fits or not _hold_on_session(db, whose, amount)[0]:
                continue
            book.hold(chain, amount)
        db.execute(
            "UPDATE holds SET state = 'held', closed_ms = NULL, expires_ms = ? WHERE id = ?",
            (expires_ms, hold_id),
        )
    book.save()


@dataclass(frozen=True, slots=True)
class Settled:
    """What settling changed, and what was seen after it."""

    seen: Seen
    overdraft: int = 0
    crossed: tuple[Crossing, ...] = ()
    again: bool = False


def settle(
    db: sqlite3.Connection,
    hold_id: str,
    spender: Spender,
    amount: int,
    note: CallNote,
    thresholds: Sequence[int],
    now: Moment,
) -> Settled:
    """Replace a hold, in whatever state it is but settled, by what was really spent."""
    payer, packed, session_id = spender.payer, spender.packed, spender.payer.session_id
    held_on: Sequence[str] = spender.chain
    reserved, state = 0, ""
    known = db.execute(_KNOWN, (hold_id,)).fetchone()
    if known is not None:
        user, was_packed, was_session, was_amount, state = known
        _same_user(hold_id, user, payer)
        if user:  # else it was released before it was ever held: nothing is known of it
            session_id = was_session
            if was_packed != packed:
                packed, held_on = was_packed, unpack_chain(was_packed)
        if state == "held":
            reserved = was_amount
    book = Book(db, now)
    states = book.open(payer, spender.chain)
    if state == "settled":
        book.save()
        return Settled(Seen(payer, states, session_left(db, payer.session_id)), again=True)
    book.load(held_on)
    overdraft = max(0, amount - reserved)
    book.settle(held_on, reserved, amount, overdraft, note.tier)
    crossed = book.crossed(held_on, thresholds)
    book.save()
    ended = (now.ms, amount, overdraft, now.day, note.tier, note.model, note.grade, note.kind)
    db.execute(
        _SETTLE if known else _SETTLE_UNKNOWN, (payer.account.user, packed, session_id, *ended, hold_id)
    )
    left = None
    if session_id:
        found = db.execute(_SETTLE_SESSION, (reserved, amount, session_id)).fetchall()
        left = found[0][0] if found else None
    if session_id != payer.session_id:
        left = session_left(db, payer.session_id)
    return Settled(Seen(payer, states, left), overdraft, crossed)


def release(db: sqlite3.Connection, hold_id: str, now: Moment) -> None:
    """End a live hold; remember an unknown one as released; leave any other as it is."""
    known = db.execute(_KNOWN, (hold_id,)).fetchone()
    if known is None:
        db.execute(_RELEASED, (hold_id, now.ms, now.ms, now.ms))
    elif known[4] == "held":
        db.execute("UPDATE holds SET state = 'released', closed_ms = ? WHERE id = ?", (now.ms, hold_id))
        _give_back(db, [known[1:4]])


def _same_user(hold_id: str, holder: str, payer: Payer) -> None:
    if holder not in ("", payer.account.user):
        raise ValueError(f"hold {hold_id!r} belongs to user {holder!r}, not {payer.account.user!r}")


def unsettled(db: sqlite3.Connection, hold_ids: Sequence[str]) -> set[str]:
    """Return those ids that no settlement is known for."""
    found = "SELECT 1 FROM holds WHERE id = ? AND state = 'settled'"
    return {hold_id for hold_id in hold_ids if db.execute(found, (hold_id,)).fetchone() is None}


def prune(db: sqlite3.Connection, before_ms: int, limit: int) -> int:
    """Fold holds that ended before ``before_ms`` into the totals, and forget them and quiet sessions."""
    ended = db.execute(
        "SELECT id, chain, settled, overdraft, day, tier FROM holds"
        " WHERE state <> 'held' AND closed_ms < ? ORDER BY closed_ms LIMIT ?",
        (before_ms, limit),
    ).fetchall()
    db.executemany(
        """
        INSERT INTO spending (account, day, tier, folded_settled, folded_overdraft, folded_calls)
        VALUES (?, ?, ?, ?, ?, 1)
        ON CONFLICT (account, day, tier) DO UPDATE
        SET folded_settled = folded_settled + excluded.folded_settled,
            folded_overdraft = folded_overdraft + excluded.folded_overdraft,
            folded_calls = folded_calls + 1
        """,
        [
            (account, day, tier, settled, overdraft)
            for _, chain, settled, overdraft, day, tier in ended
            if settled is not None
            for account in unpack_chain(chain)
        ],
    )
    db.executemany("DELETE FROM holds WHERE id = ?", [row[:1] for row in ended])
    quiet = db.execute(
        """
        DELETE FROM sessions
        WHERE id IN (SELECT id FROM sessions WHERE last_ms < ? AND held = 0 ORDER BY last_ms LIMIT ?)
        RETURNING started_ms
        """,
        (before_ms, limit - len(ended)),
    ).fetchall()
    return len(ended) + sum(started_ms is not None for (started_ms,) in quiet)
