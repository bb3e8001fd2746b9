"""What the client is told: response headers, a stream's last event, and why a call was refused.

Credits for holds and balances, exact USD for the cost.
"""

from farthing.credits import InsufficientCreditsError
from farthing.money import credits_text, usd_text
from farthing.proxy.calls import Call, Deployment
from farthing.proxy.errors import RefusedCallError, credits_exhausted
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
    """Return the 402 for a hold that was not granted: the balance is short, or cannot be read."""
    local = f"the {settings.tiers.local!r} model"
    facts = _choice(call, deployment)
    if not isinstance(error, InsufficientCreditsError):
        return credits_exhausted(
            "Spending cannot be recorded just now, so calls that cost money are refused. "
            f"Try again later; {local}, if it is free, still works.",
            facts,
        )
    rate = settings.credits.nano_per_credit
    left = credits_text(error.available, rate)
    return credits_exhausted(
        f"Not enough credits: this call to {deployment.label} may cost up to "
        f"{credits_text(error.asked, rate)} credits and {call.account.user} has {left}. "
        f"Lower max_tokens, ask for more credits, or call {local}.",
        facts | {"x-farthing-balance": left},
    )


def _choice(call: Call, deployment: Deployment) -> dict[str, str]:
    facts = {"x-farthing-tier": deployment.tier, "x-farthing-model": deployment.label}
    return facts | ({"x-farthing-grade": call.grade.grade} if call.grade else {})
