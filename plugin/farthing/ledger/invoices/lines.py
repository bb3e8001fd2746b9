"""The lines of a provider's export, as they are kept."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from farthing.ledger.errors import LedgerError
from farthing.money import NANO_PER_USD, nano_from_usd

Provider = Literal["openai", "anthropic"]
Kind = Literal["usage", "cost"]

_LARGEST_NANO = 10**18 - 1
_LARGEST_COUNT = 2**63 - 1


class InvoiceError(LedgerError):
    """A file that is not imported; the text says where in it and why."""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """What a provider counts or bills for a day, a line of its own and a project.

    ``model`` is the name without its date (see `farthing.ledger.invoices.names`), ``line`` is the provider's.
    ``input_tokens`` is the whole input, cached tokens included. ``amount`` is nano-dollars, below zero for a
    credit, or None in an export of usage, which tells no money.
    """

    day: date
    model: str
    line: str
    project: str
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    requests: int = 0
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class InvoiceFile:
    """A file that was read whole. ``days`` are all that it speaks of, those without any line too."""

    name: str
    sha256: str
    provider: Provider
    kind: Kind
    days: frozenset[date]
    lines: tuple[InvoiceLine, ...]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Collected:
    """Lines while a file is read: what shares a day, line and project is added up, exactly."""

    days: set[date] = field(default_factory=set)
    _tokens: dict[tuple[date, str, str, str], list[int]] = field(default_factory=dict)
    _amounts: dict[tuple[date, str, str, str], Decimal] = field(default_factory=dict)

    def usage(self, day: date, model: str, line: str, project: str, counts: Iterable[int]) -> None:
        """Add input, output, cache read, cache write and requests. Raises ValueError if one overflows."""
        self.days.add(day)
        sums = self._tokens.setdefault((day, model, line, project), [0] * 5)
        for at, count in enumerate(counts):
            sums[at] += count
            if sums[at] > _LARGEST_COUNT:
                raise ValueError("a count is too large to be one")

    def cost(self, day: date, model: str, line: str, project: str, usd: Decimal) -> None:
        """Add an amount in USD. Raises ValueError if the sum is larger than the ledger can hold."""
        self.days.add(day)
        key = (day, model, line, project)
        total = self._amounts.get(key, Decimal(0)) + usd
        if abs(total) * NANO_PER_USD > _LARGEST_NANO:
            raise ValueError(f"{usd} USD is more than the ledger can hold")
        self._amounts[key] = total

    def lines(self) -> tuple[InvoiceLine, ...]:
        """Return all lines that are not zero, in order.

        Amounts are rounded to the nano-dollar, half to even, once they are added up.
        """
        usage = [InvoiceLine(*key, *sums) for key, sums in self._tokens.items() if any(sums)]
        amounts = {key: nano_from_usd(usd) for key, usd in self._amounts.items()}
        cost = [InvoiceLine(*key, amount=nano) for key, nano in amounts.items() if nano]
        return tuple(
            sorted((*usage, *cost), key=lambda line: (line.day, line.model, line.line, line.project))
        )


def day_of(start: datetime, end: datetime, seen: set[date]) -> date:
    """Return the UTC day of a bucket from ``start`` until ``end``. ``seen`` are the days already begun.

    Raises ValueError if the bucket is no part of one day, or the day's first one does not begin it: then the
    file holds a part of the day, and importing it would replace the whole.
    """
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    day = start.date()
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if not start < end <= midnight + timedelta(days=1):
        raise ValueError(
            f"a bucket from {start:%Y-%m-%d %H:%M} until {end:%Y-%m-%d %H:%M} is not within one UTC day"
        )
    if day not in seen and start != midnight:
        raise ValueError(
            f"the export begins {day} at {start:%H:%M}, after a part of that day; export from 00:00 UTC on"
        )
    return day


def whole(value: object, name: str) -> int:
    """Return a count: an integer of at least 0, or text or a decimal that is one (``59200.0``).

    Raises ValueError, which names ``name``.
    """
    try:
        number = (
            Decimal(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None
        )
        if (
            number is not None
            and number.is_finite()
            and 0 <= number <= _LARGEST_COUNT
            and number == int(number)
        ):
            return int(number)
    except ArithmeticError:
        pass
    raise ValueError(f"{name} is {value!r} and must be a whole number of at least 0")


def amount(value: object, name: str) -> Decimal:
    """Return an exact amount, which may be below zero. Raises ValueError, which names ``name``."""
    try:
        number = (
            Decimal(value) if isinstance(value, str | int | Decimal) and not isinstance(value, bool) else None
        )
        if number is not None and number.is_finite() and abs(number) < 10**12:
            return number
    except ArithmeticError:
        pass
    raise ValueError(f"{name} is {value!r} and must be an amount of money")


def dollars(currency: object) -> None:
    """Raise ValueError unless ``currency`` is USD, in any case."""
    if not isinstance(currency, str) or currency.strip().upper() != "USD":
        raise ValueError(f"the currency is {currency!r}; only USD can be compared with the ledger")


def text(value: object, name: str) -> str:
    """Return text, empty for None. Raises ValueError, which names ``name``."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r} and must be text")
    return value.strip()
