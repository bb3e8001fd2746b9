"""Stops sessions that go too far: steps, cost, time, and agents that go round in circles.

Asked before a model is chosen, where a 429 harms nobody else.
"""

import time
from dataclasses import replace
from typing import Any

from farthing.credits import CreditStore, StoreError
from farthing.credits.loops import (
    LoopLimits,
    explain,
    find_loop,
    last_step_note,
    mark_of,
    verdict,
    with_note,
)
from farthing.credits.store import RunCaps
from farthing.money import credits_text
from farthing.proxy.calls import Call
from farthing.proxy.errors import loop_stopped
from farthing.settings import Settings
from farthing.telemetry import attributes as attr

_LOOPING = {"chat", "responses", "messages", "completions"}
"""The surfaces that agents loop on. Embeddings come in thousands that are no conversation: they are no steps,
but they are held on the session that they name, within its cap on credits."""


class LoopGuard:
    """Counts a call in its session's run, and refuses it at a cap."""

    def __init__(self, settings: Settings, store: CreditStore) -> None:
        self._settings = settings
        self._store = store
        loops = settings.loops
        self._limits = LoopLimits(loops.repeats, loops.polls, loops.cycles, loops.stalls)

    async def admit(self, call: Call, data: dict[str, Any]) -> None:
        """Let a call in, perhaps with a note to the agent added to ``data``; else raise a 429.

        A store that fails stops nobody here: the hold decides about what costs money.
        """
        if call.surface not in _LOOPING:
            return
        loops, credits = self._settings.loops, self._settings.credits
        caps = loops.of(call.account.department)
        cost = None if caps.credits is None else credits.nano(caps.credits)
        # Where the conversation names itself, many may share the name: its depth counts, not its calls.
        counted = caps.steps if call.session_named else None
        try:
            run = await self._store.enter(call.payer, RunCaps(loops.idle_s, counted, cost), mark_of(data))
        except StoreError as error:
            call.span.add_event("farthing.loops.unknown", {attr.ERROR_TYPE: type(error).__name__})
            return
        if run.max_steps is None and caps.steps is not None:
            steps = run.steps if call.session_named else call.session_step
            let_in = run.entered and steps <= caps.steps
            run = replace(run, steps=min(steps, caps.steps), max_steps=caps.steps, entered=let_in)
        loop = find_loop(data, run.marks, self._limits)
        now_ms = int(time.time() * 1000)
        wall_s = caps.wall_s if call.session_named else None
        stop = verdict(run, wall_s=wall_s, now_ms=now_ms, loop=loop)
        if stop:
            call.span.set_attributes(
                {attr.LOOP_STOP: stop.kind, attr.LOOP_REASON: loop.reason if loop else ""}
            )
            spent = credits_text(run.settled, credits.nano_per_credit)
            raise loop_stopped(explain(run, stop, spent), stop.kind)
        note = last_step_note(run, wall_s=wall_s, now_ms=now_ms) if loops.tell_agent else None
        if note:
            call.payload = dict(data)  # what is graded is the client's own turn
            data.update(with_note(data, call.surface, note))
