"""Balances: two-phase spending (hold, then settle or release) on a tree of accounts, behind one interface."""

from farthing.credits.store import (
    Balance,
    CallNote,
    CreditStore,
    Discrepancy,
    InsufficientCreditsError,
    Payer,
    Settlement,
    Standing,
    StoreError,
    open_store,
)

__all__ = [
    "Balance",
    "CallNote",
    "CreditStore",
    "Discrepancy",
    "InsufficientCreditsError",
    "Payer",
    "Settlement",
    "Standing",
    "StoreError",
    "open_store",
]
