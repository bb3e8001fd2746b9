"""One audit, from its source to its report."""

import heapq
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain

from farthing.audit.calls import LeftOut, PastCall
from farthing.audit.errors import AuditError
from farthing.audit.files import read_file
from farthing.audit.grading import assessor
from farthing.audit.ledger import read_ledger
from farthing.audit.notes import Facts
from farthing.audit.render import Format, render
from farthing.audit.summary import Summary
from farthing.audit.verdict import Tariff, verdict
from farthing.cost import ModelPrice, PriceBook
from farthing.settings import CostSettings, Price, Settings

DEFAULT_FAST = "gpt-5-mini"
LEDGER_DAYS = 30
_TOLD = 20
"""Bad lines told one by one; of further ones only their count."""
_LOCAL = "local tier"
_FREE = Price(input=Decimal(0), output=Decimal(0), source="local")


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """What to audit and how.

    ``file`` is a path, ``-`` for standard input, or None for the ledger. ``last`` keeps the newest calls
    (None: all); ``days`` those begun within so many days (None: all of a file, 30 days of the ledger).
    ``quality`` is the dial, None for the settings'; one that is given also cuts recorded scores anew.
    ``local_cost`` is USD per million tokens of the local tier, None for the price that ``cost.prices``
    gives own hardware, else 0.
    """

    file: str | None = None
    last: int | None = None
    days: int | None = None
    form: Format = "table"
    baseline: str | None = None
    quality: float | None = None
    fast: str | None = None
    local_cost: Decimal | None = None
    excerpts: bool = True


def audit(options: AuditOptions, settings: Settings) -> str:
    """Return the report as text, ending in a line feed. Bad lines are told on standard error.

    Raises AuditError if there is nothing to audit, and LedgerError if the ledger cannot be read.
    """
    tariff = _tariff(options, settings)
    now = datetime.now(UTC)
    if options.file is None:
        days = LEDGER_DAYS if options.days is None else options.days
        found = read_ledger(settings.ledger, now - timedelta(days=days), options.last)
        facts = Facts(source="ledger", days=days, other_nano=found.other_nano)
        return _report(found.calls, replace(tariff, climbs=found.climbs), facts, options, settings)
    told = _Told(options.file)
    calls = told.kept(read_file(options.file, told.bad))
    if options.days is not None:
        calls = told.since(calls, now - timedelta(days=options.days))
    if options.last is not None:
        calls = _newest(calls, options.last)
    facts = Facts(source="file", days=options.days, left_out=told.left_out)
    return _report(calls, tariff, facts, options, settings)


def _report(
    calls: Iterable[PastCall], tariff: Tariff, facts: Facts, options: AuditOptions, settings: Settings
) -> str:
    calls = iter(calls)
    first = next(calls, None)  # what is wrong with the source is said before the grader is loaded
    if first is None:
        raise AuditError(_nothing(facts, options))
    quality = settings.grading.quality if options.quality is None else options.quality
    judge = assessor(quality, regrade=options.quality is not None)
    summary = Summary()
    for call in chain([first], calls):
        summary.add(verdict(call, judge, tariff))
    return render(summary, facts, tariff, options.form, judge.method, excerpts=options.excerpts)


def _nothing(facts: Facts, options: AuditOptions) -> str:
    if options.file is None:
        return (
            f"the ledger holds no answered call of the last {facts.days} days; take more with --days, "
            "or name a file of calls"
        )
    left = ", ".join(f"{number} {name}" for name, number in sorted(facts.left_out.items()))
    return f"{options.file}: holds no call to audit" + (f" (left out: {left})" if left else "")


class _Told:
    """Counts what is left out of an audit, and tells of bad lines."""

    def __init__(self, name: str) -> None:
        self._name = "standard input" if name == "-" else name
        self.left_out: Counter[str] = Counter()

    def bad(self, number: int, why: str) -> None:
        self.left_out["bad lines"] += 1
        if self.left_out["bad lines"] <= _TOLD:
            print(f"farthing: {self._name}, line {number}: {why}", file=sys.stderr)
        elif self.left_out["bad lines"] == _TOLD + 1:
            print("farthing: further bad lines are counted, not listed", file=sys.stderr)

    def kept(self, found: Iterable[PastCall | LeftOut]) -> Iterator[PastCall]:
        for one in found:
            if isinstance(one, PastCall):
                yield one
            else:
                self.left_out[one] += 1

    def since(self, calls: Iterable[PastCall], start: datetime) -> Iterator[PastCall]:
        for call in calls:
            if call.started is None:
                self.left_out["undated"] += 1
            elif call.started >= start:
                yield call


def _newest(calls: Iterable[PastCall], last: int) -> Iterator[PastCall]:
    """Yield the newest calls, by their time where it is known, else by their place; holding no more."""
    heap: list[tuple[datetime, int, PastCall]] = []
    at = datetime.min.replace(tzinfo=UTC)
    for number, call in enumerate(calls):
        # A call without a time stands where the one before it stands.
        at = call.started or at
        entry = (at, number, call)
        if len(heap) < last:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
    return (call for _, _, call in sorted(heap, key=lambda entry: entry[:2]))


def _tariff(options: AuditOptions, settings: Settings) -> Tariff:
    own = [price for price in settings.cost.prices.values() if price.source == "local"]
    if options.local_cost is not None:
        own = [Price(input=options.local_cost, output=options.local_cost, source="local")]
    # Of several models on own hardware none is known to be the tier's: the dearest promises least.
    dearest = max(own, key=lambda price: price.input + price.output, default=_FREE)
    local = PriceBook(CostSettings(prices={_LOCAL: dearest})).price(_LOCAL)
    assert local is not None
    book = PriceBook(settings.cost)
    baseline = options.baseline or settings.cost.baseline_model
    _priced(book, baseline, "--baseline")
    return Tariff(book, local, _priced(book, options.fast or DEFAULT_FAST, "--fast"), baseline)


def _priced(book: PriceBook, model: str, option: str) -> ModelPrice:
    price = book.price(model)
    if price is None:
        raise AuditError(
            f"{option} {model}: has no price; name a model that LiteLLM prices, or add it to cost.prices"
        )
    return price
