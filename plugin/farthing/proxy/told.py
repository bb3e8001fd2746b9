"""What the client is told: response headers, a stream's last event, and why a call was refused.

Credits for holds and balances, exact USD for the cost.
"""

from farthing.credits import InsufficientCreditsError
from farthing.money import credits_text, usd_text
from farthing.proxy.calls import Call, Deployment
from farthing.proxy.charge_log import UnrecordableError
from farthing.proxy.errors import RefusedCallError, cannot_record, credits_exhausted, session_exhausted
from farthing.proxy.holds import LocalShareError
from farthing.settings import Settings


def headers(call: Call, settings: Settings) -> dict[str, str]:
    """Return the response headers of a call; the cost is there once it is settled.

    After a climb they tell of the attempt that answered; the failed ones are charges of their own.
    """
    call = call.answering
    attempt = call.attempt
    if attempt is None:
        return {}
    rate = settings.credits.nano_per_credit
    facts = _choice(call, attempt.deployment) | {
        "x-farthing-held": credits_text(attempt.held, rate),
        "x-farthing-balance": credits_text(attempt.available, rate),
        "x-farthing-charge": attempt.id,
    }
    if attempt.charge:
        cost = attempt.charge.cost
        facts["x-farthing-cost"] = usd_text(cost.total) if cost else "unpriced"
    return facts


def receipt(call: Call, settings: Settings) -> dict[str, str]:
    """Return the same figures as a stream's last event carries them."""
    return {name.removeprefix("x-farthing-"): value for name, value in headers(call, settings).items()}


def refusal(call: Call, deployment: Deployment, error: Exception, settings: Settings) -> RefusedCallError:
    """Return the 402 for a hold that was not granted: credits are short, or cannot be read.

    Where it is the outbox that cannot keep the charge, the client gets a 503.
    Where it is the session's own cap that is reached, the client gets a 429.
    """
    local = f"the {settings.tiers.local!r} model"
    facts = _choice(call, deployment)
    if isinstance(error, LocalShareError):
        return credits_exhausted(
            f"{call.account.user} has no credits left, and the local tier's time for empty balances is used "
            "up just now. Try again in a minute, or ask for more credits.",
            facts,
            reason="local_share",
        )
    if isinstance(error, UnrecordableError):
        return cannot_record(
            f"{error}, so calls that cost money are refused. Try again later; {local}, if it is free, may "
            "still work.",
            facts,
        )
    if not isinstance(error, InsufficientCreditsError):
        return credits_exhausted(
            "Spending cannot be recorded just now, so calls that cost money are refused. "
            f"Try again later; {local}, if it is free, still works.",
            facts,
            reason="credit_store",
        )
    rate = settings.credits.nano_per_credit
    asked, left = credits_text(error.asked, rate), credits_text(error.available, rate)
    kind, _, name = error.standing.short.partition(":")
    who = {
        "organisation": "the organisation",
        "department": f"the department {name}",
        "user": name,
        "key": "this key",
        "session": "this session",
    }[kind]
    facts["x-farthing-balance"] = credits_text(error.standing.balance.available, rate)
    message = f"this call to {deployment.label} may cost up to {asked} credits and {who} has {left} left."
    if kind == "session":
        return session_exhausted(
            f"This session has reached its cap on credits: {message} Lower max_tokens, call {local}, or have "
            "an admin raise its cap at /farthing/ (or loops.credits in farthing.yaml).",
            facts,
        )
    return credits_exhausted(
        f"Not enough credits: {message} Lower max_tokens, ask for more credits, or call {local}.", facts
    )


def _choice(call: Call, deployment: Deployment) -> dict[str, str]:
    facts = {"x-farthing-tier": deployment.tier, "x-farthing-model": deployment.label}
    if call.climbed_down_from:
        facts["x-farthing-climbed-down-from"] = call.climbed_down_from
    return facts | ({"x-farthing-grade": call.grade.grade} if call.grade else {})
