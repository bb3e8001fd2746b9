"""Recompute a credit file's running totals from its grants and holds, and tell where they differ."""

import sqlite3
from pathlib import Path

from farthing.credits.store import Discrepancy

_RECOMPUTED = """
SELECT user, 'granted', amount FROM grants
UNION ALL SELECT user, 'settled', settled FROM holds WHERE state = 'settled'
UNION ALL SELECT user, 'held', amount FROM holds WHERE state = 'held'
"""


def audit(path: Path) -> list[Discrepancy]:
    """Return what is wrong in the file at ``path``: nothing, if it is sound. Raises sqlite3.Error."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5, isolation_level=None)
    try:
        db.execute("BEGIN")  # one snapshot: traffic goes on beside it
        kept: dict[tuple[str, str], int] = {}
        for user, granted, settled, held in db.execute("SELECT user, granted, settled, held FROM accounts"):
            kept |= {(user, "granted"): granted, (user, "settled"): settled, (user, "held"): held}
        # Summed in Python: its integers cannot overflow, so a damaged file is reported, not an error.
        found = dict.fromkeys(kept, 0)
        for user, total, amount in db.execute(_RECOMPUTED):
            found[user, total] = found.get((user, total), 0) + amount
        return [
            Discrepancy(user, total, kept.get((user, total)), amount)
            for (user, total), amount in sorted(found.items())
            if kept.get((user, total)) != amount
        ]
    finally:
        db.close()
