"""What the provider's cache knows of a session, from what it was sent and what it reported. Pure."""

from farthing.context.conversation import Conversation
from farthing.context.economics import CACHED_FROM
from farthing.context.fold import Fold
from farthing.context.layout import Layout
from farthing.context.plan import Plan, Sent, Served
from farthing.telemetry import Usage

LIVES_MS = 300_000
"""How long a provider surely keeps what it was sent: Anthropic's five minutes, the shortest promised."""
_COLD_AFTER = 2
"""So many requests in a row of which the cache knew nothing: then it is not counted on."""


def warm(served: Served, last: Sent | None, now_ms: int) -> float:
    """Return how likely (0 to 1) a model's provider still has in its cache what it was sent last."""
    rates = served.price.rates_at(0)
    if last is None or rates.cache_read >= rates.input or last.cold >= _COLD_AFTER:
        return 0.0
    return 1.0 if now_ms - last.at_ms < LIVES_MS else 0.0


def note(plan: Plan, usage: Usage) -> Sent:
    """Return what is to be remembered of a request that was answered."""
    last = plan.last
    could = plan.layout.same(last.atoms) if last else 0
    gap_ms = plan.now_ms - last.at_ms if last else 0
    cold = last.cold if last else 0
    if usage.cache_read:
        cold = 0
    elif could >= CACHED_FROM and gap_ms < LIVES_MS:
        cold += 1
    acted = plan.fold if plan.payload is not plan.original else None
    return Sent(plan.now_ms, plan.layout.atoms, cold, gap_ms, acted.key if acted else "")


def breakpoints(
    conversation: Conversation, fold: Fold | None, layout: Layout, served: Served, last: Sent | None
) -> tuple[int, ...]:
    """Return where a provider that caches only what is marked is told to, as `edit.Edit` takes it.

    A write costs a quarter more and a read nine tenths less, so one read within the cache's life pays: it is
    counted on once the session's turns have followed each other as quickly as that.
    """
    if not served.marks_cache or layout.tokens < CACHED_FROM:
        return ()
    if last is None or not 0 < last.gap_ms < LIVES_MS:
        return ()
    head = (-1,) if fold and fold.segments else ()
    return (*head, conversation.entries[-1].index)
