"""Balances: two-phase spending (hold, then settle or release) behind one store interface."""

from farthing.credits.store import (
    Balance,
    CreditStore,
    InsufficientCreditsError,
    StoreError,
    open_store,
)

__all__ = ["Balance", "CreditStore", "InsufficientCreditsError", "StoreError", "open_store"]
