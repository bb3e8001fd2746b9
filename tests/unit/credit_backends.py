"""The stores that every credit test runs on. A new backend joins by adding its factory here."""

from collections.abc import Callable
from pathlib import Path

from farthing.telemetry import Account

StoreUrl = Callable[[Path], str]

BACKENDS: dict[str, StoreUrl] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'deep' / 'er' / 'credits.db'}",
}


def account(user: str, department: str = "research") -> Account:
    return Account(key_hash="0" * 64, user=user, department=department, cost_centre="CC-1")


class Clock:
    """Unix seconds that move only when told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now
