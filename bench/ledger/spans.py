"""Real charge spans in OTLP batches, as a gateway's sender posts them; many from few, by their ids."""

import gzip
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from farthing.telemetry import Account, Charge, Cost, Usage
from farthing.telemetry.delivery import MOST_SPANS
from farthing.telemetry.spans import ChargeSpans

_DAY = datetime(2026, 10, 20, tzinfo=UTC)
_MODELS = {"local": ("qwen3-8b", "local"), "fast": ("gpt-5-mini", "openai"), "strong": ("gpt-5", "openai")}
_PLACEHOLDER = b"batch-00000"


def batches(distinct: int, seed: int = 1) -> list[bytes]:
    """Return ``distinct`` serialised requests of 512 charges each, of 5 000 agents on one day."""
    rng = random.Random(seed)
    spans = ChargeSpans("farthing", "bench")
    return [
        b"".join(
            spans.finish(_charge(rng, at * MOST_SPANS + place, place)).payload for place in range(MOST_SPANS)
        )
        for at in range(distinct)
    ]


def numbered(payload: bytes, batch: int) -> bytes:
    """Return the request with ids of its own, compressed as the sender compresses it."""
    return gzip.compress(payload.replace(_PLACEHOLDER, b"batch-%05d" % batch), 1)


def _charge(rng: random.Random, number: int, place: int) -> Charge:
    agent = int(5000 * rng.random() ** 2)
    tier = rng.choices(["local", "fast", "strong"], [55, 32, 13])[0]
    usage = Usage(int(rng.lognormvariate(7.5, 0.8)), int(rng.lognormvariate(5.5, 0.8)), 0, 0, 0)
    rate = {"local": 0, "fast": 250, "strong": 1250}[tier]
    cost = Cost(usage.input_tokens * rate, usage.output_tokens * 8 * rate, 0, 0)
    started = _DAY + timedelta(seconds=rng.randrange(86_000), microseconds=rng.randrange(10**6))
    return replace(
        _ONE,
        id=f"{_PLACEHOLDER.decode()}-{place:03d}",
        started=started,
        ended=started + timedelta(milliseconds=rng.randrange(200, 20_000)),
        account=Account(f"{agent:064x}", f"user-{agent // 5}", f"department-{agent % 6}", f"CC-{agent % 6}"),
        session_id=f"session-{number // 7}",
        session_step=number % 7 + 1,
        grade={"local": "LOW", "fast": "MEDIUM", "strong": "HIGH"}[tier],
        grade_score=round(rng.random(), 6),
        intent=f"{rng.randrange(5000):016x}",
        tier=tier,
        model=_MODELS[tier][0],
        provider=_MODELS[tier][1],
        usage=usage,
        cost=cost,
        baseline_cost=usage.input_tokens * 1250 + usage.output_tokens * 10_000,
        held=cost.total * 3,
        settled=cost.total,
        balance=rng.randrange(10**12),
        sequence=number + 1,
    )


_ONE = Charge(
    id="", kind="inference", outcome="ok", started=_DAY, ended=_DAY, account=Account("", "", "", ""),
    session_id="", session_step=1, surface="chat", streamed=True, grade="LOW", grade_score=0.5,
    grade_source="learned", intent="", tier="local", model="", provider="", stand_in=False,
    usage=Usage(), usage_estimated=False, cost=None, price_version="bench", cost_source="provider",
    baseline_model="gpt-5", baseline_cost=None, held=0, settled=0, balance=0, climbed_from="",
    gateway_instance="bench", sequence=0,
)  # fmt: skip
