"""`farthing ledger sync`: prices, hardware, budgets and the credit accounts' months, beside the charges.

Repeating it changes nothing. A price or budget that changed becomes a new row; a price's former one ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from farthing.cost import PriceBook
from farthing.cost.price import ModelPrice
from farthing.credits.calendar import Calendar
from farthing.credits.report import opened
from farthing.credits.roll_forward import roll_forward
from farthing.money import NANO_PER_USD
from farthing.settings import Settings

_RATE = Decimal(10) ** -24
"""USD in one unit of a rate (farthing.cost.price)."""
_STEP = Decimal(10) ** -15
_LARGEST = Decimal(10) ** 9 - 1


@dataclass(frozen=True, slots=True)
class Synced:
    """How many rows were written to each table."""

    prices: int
    hardware: int
    budgets: int
    accounts: int


async def sync(client: Any, settings: Settings, book: PriceBook, months: Iterable[str] = ()) -> Synced:
    """Bring the books in the ledger up to date with farthing.yaml, the price book and the credit store.

    ``months`` (YYYY-MM) are those whose roll-forward is written; default: this month and the last. Prices are
    those of the models that the ledger has charges of, their baselines and those priced in farthing.yaml.
    Raises StoreError, and what the client raises.
    """
    now = datetime.fromtimestamp(int(client.command("SELECT toUnixTimestamp(now())")), UTC)
    calendar = Calendar(settings.credits.time_zone)
    this = calendar.at(int(now.timestamp() * 1000)).month
    return Synced(
        _prices(client, settings, book, now),
        _hardware(client, settings),
        _budgets(client, settings, this),
        await _accounts(client, settings, sorted({*months} or {_before(this), this})),
    )


def _prices(client: Any, settings: Settings, book: PriceBook, now: datetime) -> int:
    names = {settings.cost.baseline_model, *settings.cost.prices}
    found = client.query("SELECT DISTINCT model, provider FROM charges_daily").result_rows
    providers = {str(model): str(provider) for model, provider in found}
    names |= {*providers}
    names |= {
        str(row[0]) for row in client.query("SELECT DISTINCT baseline_model FROM charges_daily").result_rows
    }
    known = {
        str(row[0]): row
        for row in client.query(
            "SELECT model, valid_from, price_version, input_usd, output_usd, cache_read_usd, "
            "cache_write_usd, source FROM price_book FINAL WHERE valid_to IS NULL"
        ).result_rows
    }
    columns = (
        "model", "price_version", "valid_from", "valid_to", "input_usd", "output_usd", "cache_read_usd",
        "cache_write_usd", "source",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for name in sorted(names - {""}):
        price = book.price(name, provider=providers.get(name, ""))
        if price is None:
            continue
        amounts = _amounts(price)
        before = known.get(name)
        if before is not None and (before[2], *before[3:7], before[7]) == (
            price.version,
            *amounts,
            price.source,
        ):
            continue
        if before is not None:
            rows.append((name, before[2], before[1], now, *before[3:8]))
        rows.append((name, price.version, now, None, *amounts, price.source))
    _insert(client, "price_book", columns, rows)
    return len(rows)


def _amounts(price: ModelPrice) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    # Of prices that rise with the size of the input, those of the smallest.
    rates = price.tiers[0][1]
    first, second, third, fourth = (
        (rate * _RATE).quantize(_STEP)
        for rate in (rates.input, rates.output, rates.cache_read, rates.cache_write)
    )
    return first, second, third, fourth


def _hardware(client: Any, settings: Settings) -> int:
    columns = ("node", "tier", "valid_from", "valid_to", "usd_per_hour", "method", "note")
    rows = [
        (
            one.node, one.tier, _midnight(one.valid_from), one.valid_to and _midnight(one.valid_to),
            one.usd_per_hour.quantize(Decimal("1e-9")), one.method, one.note,
        )
        for one in settings.ledger.hardware
    ]  # fmt: skip
    return _insert_new(client, "hardware_costs", columns, rows)


def _budgets(client: Any, settings: Settings, month: str) -> int:
    credits = settings.credits
    wanted = {("organisation", ""): credits.organisation.monthly}
    wanted |= {("department", name): own.monthly for name, own in credits.departments.items()}
    for key in settings.keys:
        if key.monthly is not None:
            # Each of a user's keys brings its own credits to the one balance.
            wanted["user", key.user] = (wanted.get(("user", key.user)) or 0) + key.monthly
    first = date.fromisoformat(f"{month}-01")
    rows = [
        (first, scope, name, _usd(credits.nano(amount)))
        for (scope, name), amount in sorted(wanted.items())
        if amount is not None
    ]
    return _insert_new(client, "budgets", ("month", "scope", "name", "amount_usd"), rows)


async def _accounts(client: Any, settings: Settings, months: list[str]) -> int:
    columns = (
        "month", "account", "kind", "department", "opening", "granted", "adjusted", "settled", "expired",
        "overdraft", "closing",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    async with opened(settings) as store:
        known = {balance.account: balance for balance in await store.balances()}
        for month in months:
            for roll in await roll_forward(store, month):
                kind, _, name = roll.account.partition(":")
                department = name if kind == "department" else known[roll.account].department
                amounts = (
                    roll.opening, roll.granted, roll.adjusted, roll.settled, roll.expired, roll.overdraft,
                    roll.closing,
                )  # fmt: skip
                rows.append(
                    (date.fromisoformat(f"{month}-01"), roll.account, kind, department, *map(_usd, amounts))
                )
    return _insert_new(client, "credit_roll_forward", columns, rows)


def _insert_new(client: Any, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> int:
    known = {
        tuple(row)
        for row in client.query(f"SELECT {', '.join(columns)} FROM {table} FINAL").result_rows  # noqa: S608
    }
    fresh = [row for row in rows if tuple(map(_naive, row)) not in {tuple(map(_naive, old)) for old in known}]
    _insert(client, table, columns, fresh)
    return len(fresh)


def _naive(value: Any) -> Any:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def _insert(client: Any, table: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if rows:
        client.insert(table, rows, column_names=list(columns))


def _usd(nano: int) -> Decimal:
    amount = Decimal(nano) / NANO_PER_USD
    # An account without an end to its credits must not break the others' rows.
    return max(min(amount, _LARGEST), -_LARGEST).quantize(Decimal("1e-9"))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _before(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year - (number == 1):04}-{(number - 2) % 12 + 1:02}"
