"""Puts the plugin together from farthing.yaml: one set of parts per process."""

import asyncio
import atexit
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from farthing.context.keeper import Keeper
from farthing.context.memory import RecollectionError, open_memory
from farthing.cost import PriceBook, encoding
from farthing.credits import CreditStore, StoreError, open_store
from farthing.credits.calendar import Calendar
from farthing.credits.grants import give_what_is_configured
from farthing.credits.recovery import Recovery
from farthing.embedding import Embedder
from farthing.grading.cache import IntentCache, open_cache
from farthing.grading.check import LearnedCheck
from farthing.grading.judge import Judge
from farthing.grading.learned import LearnedGrader
from farthing.grading.outcomes import FileOutcomes, RetryWatch, ShiftRules
from farthing.grading.pipeline import Pipeline
from farthing.proxy.alarms import Alarms
from farthing.proxy.calls import Calls
from farthing.proxy.charge_log import ChargeLog
from farthing.proxy.climb_down import ClimbDown
from farthing.proxy.climbing import Climber
from farthing.proxy.comparing import Comparing
from farthing.proxy.deployments import Deployments
from farthing.proxy.feedback import Feedback
from farthing.proxy.holds import Holds
from farthing.proxy.hooks import Classifier, FarthingHooks
from farthing.proxy.judging import Judging
from farthing.proxy.loop_guard import LoopGuard
from farthing.proxy.meter import Meter
from farthing.proxy.recalling import Recaller
from farthing.proxy.shortening import Shortening
from farthing.proxy.summarising import Summarising
from farthing.proxy.tree import Tree
from farthing.settings import Grading, Settings, load
from farthing.telemetry import Account
from farthing.telemetry.delivery import Delivery
from farthing.telemetry.metrics import Metrics
from farthing.telemetry.outbox import Outbox
from farthing.telemetry.spans import ChargeSpans
from farthing.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from farthing.proxy.key_ring import KeyRing

log = logging.getLogger("farthing")

_RETRY_EVERY_S = 1.0
_LOOK_EVERY_S = 10.0
_RECOVER_EVERY_S = 60.0
_PRUNE_EVERY_S, _PRUNE_BATCH = 300.0, 100


@dataclass(frozen=True, slots=True)
class Farthing:
    """The plugin's parts that LiteLLM is told about, and what they stand on."""

    settings: Settings
    hooks: FarthingHooks
    classifier: Classifier
    meter: Meter
    calls: Calls
    charge_log: ChargeLog
    store: CreditStore
    calendar: Calendar
    alarms: Alarms
    holds: Holds
    outbox: Outbox
    delivery: Delivery
    tracing: Tracing
    metrics: Metrics
    cache: IntentCache | None
    outcomes: FileOutcomes | None
    shortening: Shortening | None

    def key_ring(self) -> "KeyRing":
        """Return the key ring. Needs the proxy, which the SDK alone does not have."""
        from farthing.proxy.key_ring import KeyRing

        return KeyRing(self.settings)

    def mount_pages(self) -> None:
        """Put the balance page into LiteLLM's web application, where this process is its proxy."""
        proxy_server = sys.modules.get("litellm.proxy.proxy_server")
        if proxy_server is None:
            return
        from farthing.proxy.pages import application, litellm_identity, mount

        identify = litellm_identity(self.settings)
        mount(proxy_server.app, application(self.settings, self.store, self.calendar, identify))

    async def end_calls(self) -> None:
        """Settle the calls that nobody waits for any more, such as the SDK's streams left half read.

        They are charged what they were sent, and what is known to have come of them.
        """
        for call in self.calls.under_way():
            await self.meter.abandon(call)

    async def close(self, flush_s: float = 5.0) -> None:
        """Deliver what is pending, for at most ``flush_s`` seconds, and close. What is left stays on disk.

        Calls still under way are ended first: see `end_calls`.
        """
        await self.end_calls()
        await self.meter.idle()
        if self.shortening:
            await self.shortening.close()
        await self.holds.close()
        await self.alarms.close()
        await self.charge_log.retry()
        await self.delivery.flush(flush_s)
        await self.delivery.close()
        await asyncio.to_thread(self.tracing.shutdown)
        await asyncio.to_thread(self.metrics.shutdown)
        if self.cache:
            await self.cache.close()
        if self.outcomes:
            await asyncio.to_thread(self.outcomes.close)
        await self.outbox.close()
        await self.store.close()


def assemble(settings: Settings | None = None, *, sdk_account: Account | None = None) -> Farthing:
    """Return the parts for ``settings`` (default: farthing.yaml), with credits granted and crashes mended.

    ``sdk_account`` pays for the calls of LiteLLM's SDK, which has no keys. Raises SettingsError,
    StoreError or OutboxError: a gateway that cannot bill must not start.
    """
    settings = settings or load()
    calendar = Calendar(settings.credits.time_zone)
    store = open_store(settings.credits.store, calendar=calendar)
    outbox = Outbox(
        settings.telemetry.outbox,
        fsync=settings.telemetry.outbox_fsync,
        fsync_ms=settings.telemetry.outbox_fsync_ms,
        most_bytes=settings.telemetry.outbox_max_bytes,
    )
    alarms = Alarms(settings)
    # As long as both know a charge: one that the store has forgotten would be settled twice.
    look_back_s = min(settings.telemetry.outbox_keep_s, (settings.credits.keep_days - 1) * 86_400)
    recovery = Recovery(store, outbox, look_back_s, settings.credits.thresholds, alarms.raise_for)
    _run_now(lambda: give_what_is_configured(store, settings, calendar))
    _run_now(recovery.run)
    encoding()  # loaded now (0.2 s), not in the first request
    tracing = Tracing(settings.telemetry, instance=outbox.instance)
    atexit.register(tracing.shutdown)
    metrics = Metrics(settings.telemetry, instance=outbox.instance)
    atexit.register(metrics.shutdown)
    cache = _open_cache(settings.grading)
    outcomes = _open_outcomes(settings.grading)
    delivery = Delivery.from_settings(outbox, settings.telemetry)
    spans = ChargeSpans(
        settings.telemetry.service_name,
        outbox.instance,
        mirror_gen_ai_cost=settings.telemetry.mirror_gen_ai_cost,
    )
    charge_log = ChargeLog(outbox, spans, on_full=settings.telemetry.on_outbox_full)
    prices = PriceBook(settings.cost)
    holds = Holds(settings, prices, store, charge_log, alarms)
    keeper = _open_keeper(settings)
    tree = Tree(tracing.tracer, capture_content=settings.telemetry.capture_content)
    meter = Meter(
        settings,
        pipeline=_pipeline(settings.grading, cache, outcomes),
        prices=prices,
        holds=holds,
        charge_log=charge_log,
        tree=tree,
        metrics=metrics,
        chores=(
            delivery.start,
            _every(_RETRY_EVERY_S, charge_log.retry),
            _every(_RETRY_EVERY_S, alarms.post_waiting),
            _every(_LOOK_EVERY_S, lambda: _look_at(outbox, metrics)),
            _every(_RECOVER_EVERY_S, recovery.run),
            # Three tries before a lease ends.
            _every(settings.credits.hold_ttl_s / 4, holds.renew),
            _every(_PRUNE_EVERY_S, lambda: _prune(store, settings.credits.keep_days)),
            *((_every(_PRUNE_EVERY_S, lambda: asyncio.to_thread(keeper.prune)),) if keeper else ()),
        ),
    )
    if meter.prices.price(settings.cost.baseline_model) is None:
        log.warning(
            "farthing: cost.baseline_model %r has no price, so savings are unknown",
            settings.cost.baseline_model,
        )
    calls = Calls()
    feedback = Feedback(outcomes)
    climber = Climber(settings, meter, calls, LearnedCheck.load(), feedback, _proxy_router)
    recaller = Recaller(settings, meter, calls, climber, keeper, _proxy_router)
    comparing = Comparing(settings, meter, calls, feedback, _proxy_router)
    deployments = Deployments(settings, prices)
    loops = LoopGuard(settings, store)
    shortening = None
    if keeper is not None:
        summarising = Summarising(settings, keeper, meter, calls, deployments, _proxy_router)
        shortening = Shortening(keeper, tree, summarising)
        meter.on_settled = shortening.settled
    hooks = FarthingHooks(
        settings, meter, calls, climber, recaller, comparing, loops, deployments, shortening, sdk_account
    )
    judging = Judging(settings.grading.judge, meter, calls, _proxy_router)
    climb_down = ClimbDown(settings, prices, store, deployments, _proxy_router)
    classifier = Classifier(settings, meter, calls, judging, climb_down, sdk_account)
    with contextlib.suppress(RuntimeError):  # no loop yet: the first call starts the chores
        asyncio.get_running_loop()
        meter.start_chores()
    return Farthing(
        settings,
        hooks,
        classifier,
        meter,
        calls,
        charge_log,
        store,
        calendar,
        alarms,
        holds,
        outbox,
        delivery,
        tracing,
        metrics,
        cache,
        outcomes,
        shortening,
    )


async def _look_at(outbox: Outbox, metrics: Metrics) -> None:
    counts = await outbox.counts()
    metrics.outbox.saw(counts.pending, counts.rejected, counts.oldest_s, counts.bytes)


async def _prune(store: CreditStore, keep_days: float) -> None:
    before_ms = int((time.time() - keep_days * 86_400) * 1000)
    try:
        pruned = _PRUNE_BATCH
        while pruned:
            pruned = await store.prune(before_ms, _PRUNE_BATCH)
            await asyncio.sleep(0)  # requests come between
    except StoreError:
        log.exception("farthing: the credit store was not tidied; tried again later")


def _open_keeper(settings: Settings) -> Keeper | None:
    """Return what keeps histories short; None if they are to go out as they are, or it cannot be opened."""
    context = settings.context
    if context.mode == "off":
        return None
    try:
        memory = open_memory(context)
    except RecollectionError:
        log.exception("farthing: context.path cannot be opened; histories go out as they are")
        return None
    advance = settings.credits.nano(context.summary.advance)
    return Keeper(context, memory, lru_cache(maxsize=1)(Embedder.load), advance)


def _open_cache(grading: Grading) -> IntentCache | None:
    cache = grading.cache
    return (
        open_cache(cache.size, cache.ttl_s, cache.near or False, cache.redis or None) if cache.size else None
    )


def _open_outcomes(grading: Grading) -> FileOutcomes | None:
    outcomes = grading.outcomes
    rules = ShiftRules(half_life_s=outcomes.half_life_days * 86_400)
    return FileOutcomes(outcomes.path, rules) if outcomes.learn else None


def _pipeline(grading: Grading, cache: IntentCache | None, outcomes: FileOutcomes | None) -> Pipeline:
    judge, retry_s = grading.judge, grading.outcomes.retry_within_s
    asked = judge.when != "never"
    return Pipeline(
        LearnedGrader.load(quality=grading.quality),
        cache,
        Judge(timeout_s=judge.timeout_ms / 1000, at_once=judge.at_once) if asked else None,
        outcomes,
        RetryWatch(within_s=retry_s) if outcomes and retry_s else None,
        judge_always=judge.when == "always",
        realm=(judge.when, judge.model) if asked else (),
    )


def _proxy_router() -> Any:
    """Return the proxy's router; None in the SDK, whose calls are neither judged nor climb."""
    proxy_server = sys.modules.get("litellm.proxy.proxy_server")
    return getattr(proxy_server, "llm_router", None)


def _run_now(work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    # LiteLLM imports plugins from inside its event loop, which cannot wait for a coroutine.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(work())).result()


def _every(seconds: float, work: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], None]:
    """Return a starter that repeats ``work`` on the running loop; starting again on the same loop is free."""
    running: dict[str, asyncio.Task[None]] = {}

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception:  # the next time may go better
                log.exception("farthing: a chore failed")

    def start() -> None:
        task = running.get("task")
        loop = asyncio.get_running_loop()
        if task is None or task.done() or task.get_loop() is not loop:
            running["task"] = loop.create_task(repeat())

    return start
