"""How single values are written: amounts rounded for reading, and text that no spreadsheet runs."""

import unicodedata
from decimal import Decimal
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def spreadsheet_text(text: str) -> str:
    """Return text that a spreadsheet shows instead of running it.

    A cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line end may be taken for a formula, and
    names come from whoever names a user or a model. Such text gets an apostrophe in front, as OWASP advises
    (owasp.org/www-community/attacks/CSV_Injection); quotes alone do not help. Numbers are not touched.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def printable(text: str) -> str:
    """Return text for a terminal: what would move its cursor or turn text around becomes ``�``."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}"
        if unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign != "\u200d"
        else sign
        for sign in text
    )


def rounded(nano: int | None, digits: int, unknown: str = "unknown") -> str:
    """Return nano-dollars in USD with 0 to 9 ``digits`` behind the point, rounded half to even."""
    if nano is None:
        return unknown
    step = 10 ** (9 - digits)
    units, rest = divmod(abs(nano), step)
    units += 2 * rest > step or (2 * rest == step and units % 2 == 1)
    sign = "-" if nano < 0 and units else ""
    whole, part = divmod(units, 10**digits)
    return f"{sign}{whole:,}" + (f".{part:0{digits}d}" if digits else "")


def nano(usd: Decimal | Any | None) -> int | None:
    """Return an amount that has at most nine decimals as nano-dollars; None stays None."""
    return None if usd is None else int(Decimal(usd).scaleb(9))
