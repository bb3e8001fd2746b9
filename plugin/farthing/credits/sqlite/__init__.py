"""The credit store in one SQLite file, shared by all proxy workers of a machine."""

from farthing.credits.sqlite.store import SQLiteCreditStore

__all__ = ["SQLiteCreditStore"]
