"""What an attempt is charged: from its real usage and the price of the model that answered. Pure."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from farthing.cost import PriceBook, count_text, input_estimate
from farthing.proxy.calls import Attempt, Call
from farthing.telemetry import Charge, Usage
from farthing.telemetry.charge import ContextUse, Cost, Outcome


def charge_of(
    call: Call,
    attempt: Attempt,
    usage: Usage,
    outcome: Outcome,
    *,
    prices: PriceBook,
    baseline_model: str,
    instance: str,
    sequence: int,
    estimated: bool,
) -> Charge:
    """Return the charge of an attempt that ends now, or has ended when its answer was whole.

    ``estimated``: nobody but us counted the tokens. ``instance`` and ``sequence`` number the gateway's
    charges.
    """
    deployment, price = attempt.deployment, attempt.deployment.price
    cost = prices.cost(price, usage) if price else None
    settled = cost.total if cost else 0
    failed = outcome == "failed"
    # A failed attempt answered nobody, a grading is ours, what follows a recall is of the same answer: the
    # baseline would have made none of them.
    compared = call.kind == "inference" and not failed and not call.recalled
    baseline = prices.price(baseline_model) if compared else None
    return Charge(
        id=attempt.id,
        kind="failed_attempt" if failed else call.kind,
        outcome=outcome,
        started=_utc(attempt.started_ns),
        ended=_utc(attempt.answered_ns or time.time_ns()),
        account=call.account,
        session_id=call.session_id,
        session_step=call.session_step,
        surface=call.surface,
        streamed=attempt.streamed,
        grade=call.grade.grade if call.grade else "",
        grade_score=call.grade.score if call.grade else 0.0,
        grade_source=call.grade.source if call.grade else "",
        intent=call.decision.intent if call.decision else "",
        tier=deployment.tier,
        model=deployment.label,
        provider=deployment.provider,
        stand_in=deployment.stand_in,
        usage=usage,
        usage_estimated=estimated,
        cost=cost,
        price_version=price.version if price else prices.version,
        cost_source=price.source if price else "provider",
        baseline_model=baseline_model,
        baseline_cost=prices.cost(baseline, usage).total if baseline else None,
        held=attempt.held,
        settled=settled,
        balance=attempt.available + attempt.held - settled,
        climbed_from="" if failed else call.failed_tier,
        gateway_instance=instance,
        sequence=sequence,
        context=_context_of(call, attempt, cost, failed),
        agent=call.agent,
        task=call.task,
        error=attempt.failure if failed else "",
    )


def _context_of(call: Call, attempt: Attempt, cost: Cost | None, failed: bool) -> ContextUse | None:
    """Return how the history was sent; None for a failed attempt, which saved nothing.

    Sending it once more, with what was looked up, saved nothing either.
    """
    use = attempt.plan.use if attempt.plan and not failed else None
    if use and cost and call.recalled:
        return replace(use, tokens_before=use.tokens_after, saved=cost.output - cost.total)
    return use


def counted_usage(payload: Mapping[str, Any], answered: str) -> Usage:
    """Return the usage of an answer that nobody counted: what was asked and what was streamed of it."""
    return Usage(input_estimate(payload), count_text(answered))


def _utc(ns: int) -> datetime:
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).replace(microsecond=ns // 1000 % 1_000_000)
