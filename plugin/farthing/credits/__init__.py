"""Balances: two-phase spending (hold, then settle or release) behind one store interface."""

from farthing.credits.store import (
    Balance,
    CreditStore,
    Discrepancy,
    InsufficientCreditsError,
    StoreError,
    open_store,
)

__all__ = ["Balance", "CreditStore", "Discrepancy", "InsufficientCreditsError", "StoreError", "open_store"]
