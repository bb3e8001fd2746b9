"""The demo's figures, each read from the place that keeps it, and whether they agree to the nano-dollar."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from farthing.credits.report import balances
from farthing.demo.workload import Answer
from farthing.ledger import connect
from farthing.ledger.reconcile import reconcile
from farthing.ledger.statement import statement, this_month
from farthing.money import credits_text, usd_text
from farthing.settings import Settings
from farthing.telemetry.outbox import Outbox

_FAILED_ATTEMPTS = "SELECT count() FROM charges_final WHERE kind = 'failed_attempt'"
_SUMMARIES = "SELECT count() FROM charges_final WHERE kind = 'summary'"
_SHORTENED = "SELECT count() FROM charges_final WHERE context_decision IN ('mask', 'block')"


@dataclass(frozen=True, slots=True)
class Report:
    """What `farthing demo --report` writes. USD are exact decimal text; balances are credits."""

    requests: int
    by_tier: dict[str, int]
    by_surface: dict[str, int]
    by_status: dict[str, int]
    billed_usd: str
    baseline_usd: str
    savings_usd: str
    charges_usd: str
    settled_usd: str
    ledger_rows: int
    """Charges: one per answered request, per attempt whose answer failed its check, and per summary."""
    failed_attempts: int
    summaries: int
    shortened: int
    """Requests whose history went out shorter."""
    outbox_left: int
    unpriced: int
    denied: int
    balances: dict[str, dict[str, str]]
    reconciled: bool
    stand_ins: bool
    start_up_s: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)


async def delivered(settings: Settings, within_s: float) -> tuple[int, int, int]:
    """Wait until the outbox is empty or time is up; return what is left, Σ nano-USD and the number of all."""
    outbox = Outbox(settings.telemetry.outbox)
    try:
        deadline = time.monotonic() + within_s
        while True:
            counts = await outbox.counts()
            if counts.pending == 0 or time.monotonic() > deadline:
                return (
                    counts.pending + counts.rejected,
                    counts.cost_nano,
                    counts.pending + counts.delivered + counts.rejected,
                )
            await asyncio.sleep(0.2)
    finally:
        await outbox.close()


def collect(
    settings: Settings, answers: Sequence[Answer], start_up_s: dict[str, float], *, within_s: float = 60
) -> Report:
    """Read outbox, credits and ledger, and compare their sums."""
    left, charges_nano, charges = asyncio.run(delivered(settings, within_s))
    users = asyncio.run(balances(settings))
    client = connect(settings.ledger)
    ledger = reconcile(client)
    rows = statement(client, this_month())
    settled_nano = sum(user.settled for user in users)
    by_tier: Counter[str] = Counter()
    for row in rows:
        by_tier[row.tier] += row.calls
    rate = settings.credits.nano_per_credit
    return Report(
        requests=len(answers),
        by_tier=dict(by_tier),
        by_surface=dict(Counter(answer.request.surface for answer in answers)),
        by_status=dict(Counter(str(answer.status) for answer in answers)),
        billed_usd=usd_text(ledger.cost_nano),
        baseline_usd=usd_text(ledger.baseline_nano),
        savings_usd=usd_text(ledger.savings_nano),
        charges_usd=usd_text(charges_nano),
        settled_usd=usd_text(settled_nano),
        ledger_rows=ledger.rows,
        failed_attempts=int(client.command(_FAILED_ATTEMPTS)),
        summaries=int(client.command(_SUMMARIES)),
        shortened=int(client.command(_SHORTENED)),
        outbox_left=left,
        unpriced=ledger.unpriced,
        denied=sum(answer.status == 402 for answer in answers),
        balances={
            user.name: {
                "granted": credits_text(user.granted, rate),
                "settled": credits_text(user.settled, rate),
                "held": credits_text(user.held, rate),
                "available": credits_text(user.available, rate),
            }
            for user in users
        },
        reconciled=charges_nano == settled_nano == ledger.cost_nano and charges == ledger.rows and left == 0,
        stand_ins=any(row.model.endswith("(stand-in)") for row in rows),
        start_up_s=start_up_s,
    )
