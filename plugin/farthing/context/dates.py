"""The days, months and years that a text names, however they are written."""

import re
from typing import NamedTuple

_LONG = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTHS = {name[:length]: number for number, name in enumerate(_LONG, 1) for length in (3, 4, len(name))}
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
_YEAR = r"(?P<year>(?:19|20)\d\d)\b"
_DAY = r"\b(?P<day>\d\d?)(?:st|nd|rd|th)?\b"
_DATES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?P<year>(?:19|20)\d\d)-(?P<month>\d\d)-(?P<day>\d\d)",
        rf"{_DAY}(?: of)? {_MONTH}(?:,? {_YEAR})?",
        rf"\b{_MONTH} {_DAY}(?:,? {_YEAR})?",
        rf"\b{_MONTH},? {_YEAR}",
        rf"\b(?:in|during|of|since|until|by) {_MONTH}",
        rf"\b(?:in|during|of|since|until|by) {_YEAR}",
    )
]


class Date(NamedTuple):
    """A day, a month or a year; what is not said is None."""

    year: int | None
    month: int | None
    day: int | None

    def within(self, other: "Date") -> bool:
        """Say whether all that ``other`` says is so of this date."""
        return all(b is None or a == b for a, b in zip(self, other, strict=True))


def dates(text: str) -> list[Date]:
    """Return the dates in ``text``, each part of it read once, those written most fully first."""
    found = []
    for pattern in _DATES:
        for match in pattern.finditer(text):
            parts = match.groupdict()
            month = parts.get("month") or ""
            found.append(
                Date(
                    int(parts["year"]) if parts.get("year") else None,
                    int(month) if month.isdigit() else _MONTHS.get(month.lower()),
                    int(parts["day"]) if parts.get("day") else None,
                )
            )
        text = pattern.sub(" ", text)
    return found
