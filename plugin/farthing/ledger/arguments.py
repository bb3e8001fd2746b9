"""Arguments that several of the ledger's commands take."""

import argparse
from datetime import date


def month(text: str) -> str:
    """Return a month written as YYYY-MM. Raises argparse.ArgumentTypeError."""
    try:
        if len(text) != 7:
            raise ValueError
        date.fromisoformat(f"{text}-01")
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a month; write YYYY-MM, for example 2026-11"
        ) from None
    return text


def day(text: str) -> date:
    """Return a day written as YYYY-MM-DD. Raises argparse.ArgumentTypeError."""
    try:
        if len(text) != 10:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a day; write YYYY-MM-DD, for example 2026-11-24"
        ) from None
