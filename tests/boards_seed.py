"""Metrics of two gateways over a time range, as rows of the collector's tables, and what they add up to.

One gateway sends growth, as Farthing's do; the other totals since it started, as other senders do, and it is
started anew half-way. Some points come twice.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from farthing.telemetry.metrics import OVERHEAD_BUCKETS
from tests.ledger_seed import HOSTILE, Row, insert

STEP = timedelta(hours=2)
DELTA, TOTAL = 1, 2
GRADE_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_DENIALS = tuple(
    {"farthing.denial.reason": reason, "farthing.account.department": department}
    for reason in ("credit", "loop")
    for department in ("engineering", HOSTILE)
)
_GRADES = tuple(
    {"farthing.grade": "LOW", "farthing.grade.source": "learned", "farthing.grade.cache": cache}
    for cache in ("exact", "near", "miss")
)


@dataclass(slots=True)
class Metrics:
    """Rows by table; what counters grew by within the range; every overhead and grading time in it."""

    rows: dict[str, list[Row]] = field(
        default_factory=lambda: {name: [] for name in ("gauge", "sum", "histogram")}
    )
    grown: Counter[tuple[str, frozenset[tuple[str, str]]]] = field(default_factory=Counter)
    overhead_s: list[float] = field(default_factory=list)
    newest_pending: dict[str, float] = field(default_factory=dict)


def metrics(since: datetime, until: datetime, seed: int = 1) -> Metrics:
    """Return the metrics from shortly before ``since`` until ``until``."""
    rng = random.Random(seed)
    made = Metrics()
    for gateway, temporality in (("gw-1", DELTA), ("gw-2", TOTAL)):
        totals: Counter[Any] = Counter()
        buckets: Counter[Any] = Counter()
        started = since - STEP
        for at in (since - STEP / 4, *_times(since, until)):
            if temporality == TOTAL and at == since + (until - since) // 2 // STEP * STEP:
                started, totals, buckets = at - STEP / 2, Counter(), Counter()
            common = {
                "ServiceName": "farthing",
                "ResourceAttributes": {"service.instance.id": gateway},
                "StartTimeUnix": at - STEP if temporality == DELTA else started,
                "TimeUnix": at,
            }
            for name, attributes in [
                *(("farthing.denials", one) for one in _DENIALS),
                *(("farthing.grades", one) for one in _GRADES),
                ("farthing.grade.saved", {"farthing.grade.cache": "exact"}),
            ]:
                growth = rng.choice([0, 0, 1, 3])
                series = (name, frozenset(attributes.items()))
                totals[series] += growth
                if at >= since:
                    made.grown[series] += growth
                row = common | {
                    "MetricName": name, "Attributes": attributes, "AggregationTemporality": temporality,
                    "IsMonotonic": True, "Value": growth if temporality == DELTA else totals[series],
                }  # fmt: skip
                made.rows["sum"].append(row)
                if temporality == TOTAL and rng.random() < 0.1:
                    made.rows["sum"].append(row)
            _histograms(rng, made, common, temporality, buckets, at >= since)
            _outbox(rng, made, common, gateway)
    return made


def seed(client: Any, since: datetime, until: datetime) -> Metrics:
    """Insert `metrics` into the ledger behind a clickhouse-connect client and return them."""
    made = metrics(since, until)
    for table, rows in made.rows.items():
        insert(client, rows, f"otel_metrics_{table}")
    return made


def _times(since: datetime, until: datetime) -> Iterator[datetime]:
    while since <= until:
        yield since
        since += STEP


def _histograms(
    rng: random.Random, made: Metrics, common: Row, temporality: int, buckets: Counter[Any], within: bool
) -> None:
    for name, bounds, attributes in (
        ("farthing.overhead.duration", OVERHEAD_BUCKETS, {"farthing.surface": "chat"}),
        ("farthing.grade.duration", GRADE_BOUNDS, {"farthing.grade.source": "judge"}),
        ("farthing.grade.duration", GRADE_BOUNDS, {"farthing.grade.source": "learned"}),
    ):
        # Now and then one lies above every bound.
        seen = [rng.choice([rng.lognormvariate(-5.5, 0.8)] * 399 + [9.0]) for _ in range(rng.randrange(40))]
        if name == "farthing.overhead.duration" and within:
            made.overhead_s += seen
        counts = [0] * (len(bounds) + 1)
        for value in seen:
            counts[sum(value > bound for bound in bounds)] += 1
        key = (name, *attributes.items())
        for place, count in enumerate(counts):
            buckets[key, place] += count
        if temporality == TOTAL:
            counts = [buckets[key, place] for place in range(len(counts))]
        made.rows["histogram"].append(
            common
            | {
                "MetricName": name, "Attributes": attributes, "AggregationTemporality": temporality,
                "Count": sum(counts), "Sum": 0.0, "BucketCounts": counts, "ExplicitBounds": list(bounds),
            }
        )  # fmt: skip


def _outbox(rng: random.Random, made: Metrics, common: Row, gateway: str) -> None:
    made.newest_pending[gateway] = pending = float(int(rng.paretovariate(1.1) * 3))
    for name, value in (("pending", pending), ("lag_s", pending / 20)):
        made.rows["gauge"].append(
            common
            | {
                "MetricName": f"farthing.outbox.{name}",
                "Attributes": {"farthing.gateway.instance": gateway},
                "Value": value,
            }
        )
