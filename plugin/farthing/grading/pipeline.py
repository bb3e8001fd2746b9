"""The way to a grade: intent cache → learned score → near intents → judge if unsure → own outcomes.

Each step costs more than the one before and is taken only if those before left something open.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter

from farthing.grading.cache import Hit, IntentCache, Remembered
from farthing.grading.cache.values import Vector
from farthing.grading.decision import Decision
from farthing.grading.grade import Grade
from farthing.grading.intent import facts_of, intent_of, room_of
from farthing.grading.judge import Ask, Judge, combine
from farthing.grading.learned import Cuts, LearnedGrader
from farthing.grading.outcomes import Outcomes, RetryWatch
from farthing.grading.task import Task

_NEAR_SCORES = 0.1
"""Most that the learned scores of two asks may differ if one is to stand for the other."""


class Pipeline:
    """Grades tasks for accounts. One per process; everything in it is shared by all requests."""

    def __init__(
        self,
        learned: LearnedGrader,
        cache: IntentCache | None = None,
        judge: Judge | None = None,
        outcomes: Outcomes | None = None,
        retries: RetryWatch | None = None,
        *,
        judge_always: bool = False,
        realm: Sequence[str] = (),
    ) -> None:
        """``realm``: whatever else, beside artifact and dial, must be equal for a grade to be reused."""
        self._learned, self._cache, self._judge = learned, cache, judge
        self._outcomes, self._retries = outcomes, retries
        self._always = judge_always
        self._realm = "\0".join((learned.version, *realm))
        self._cuts: dict[float, Cuts] = {}
        self._took = _Durations()

    async def grade(
        self, task: Task, scope: str, quality: float, ask: Ask | None = None, session_id: str = ""
    ) -> Decision:
        """Return the decision for ``task`` of the account scope ``scope`` at the dial ``quality``.

        ``ask`` calls the judge's model; without it nothing is judged. The same ask again in the session
        ``session_id`` tells that its last grade did not please; without a session nothing is told.
        """
        started = perf_counter()
        realm = f"{self._realm}\0{quality}"
        intent = intent_of(task, scope, realm)
        hit = await self._cache.exact(intent) if self._cache else None
        decision = self._recalled(hit, intent, started) if hit else None
        if decision is None:
            decision = await self._worked_out(task, room_of(scope, realm), quality, ask, intent, started)
        decision = self._shifted(decision, scope)
        if session_id and self._retries and self._outcomes:
            name = decision.grade.grade
            retry = self._retries.seen(session_id, intent, task, name, time.monotonic())
            if retry:
                self._outcomes.record(scope, retry.intent, retry.grade, "retry", False)
        return decision

    def _recalled(self, hit: Hit, intent: str, started: float) -> Decision:
        known = hit.remembered
        grade = Grade(known.grade, known.score, f"cache ({hit.layer}): {known.reason}", "cache")
        saved = self._took.of(known.source) - (perf_counter() - started)
        return Decision(grade, intent, hit.layer, max(0.0, saved))

    async def _worked_out(
        self, task: Task, room: str, quality: float, ask: Ask | None, intent: str, started: float
    ) -> Decision:
        cuts = self._cuts.setdefault(quality, self._learned.cuts(quality))
        seen = self._learned.assess(task, cuts)
        grade = Grade(cuts.name(seen.score), seen.score, seen.reason, "learned")
        layer = "miss" if self._cache else ""
        decision = Decision(grade, intent, layer)
        judged = self._judge is not None and (self._always or seen.unsure)
        vector, facts = (seen.vector, facts_of(task)) if judged else (None, "")
        if vector is not None:
            near = await self._near(room, vector, facts, seen.score)
            if self._cache and near:
                await self._cache.put(intent, room, None, facts, near.remembered)  # no vector: no drift
                return self._recalled(near, intent, started)
            if ask is None:
                return decision
            decision = await self._judged(decision, task, ask)
            if decision.judge_failure:
                return decision  # not remembered: the next repeat may find the judge awake
        self._took.add(decision.grade.source, perf_counter() - started)
        if self._cache:
            grade = decision.grade
            known = Remembered(grade.score, grade.grade, grade.source, grade.reason)
            await self._cache.put(intent, room, vector, facts, known)
        return decision

    async def _near(self, room: str, vector: Vector, facts: str, score: float) -> Hit | None:
        """Return a near intent that was judged: it saves a judgement, which is what takes long."""
        hit = await self._cache.near(room, vector, facts) if self._cache else None
        return hit if hit and abs(hit.remembered.score - score) <= _NEAR_SCORES else None

    async def _judged(self, decision: Decision, task: Task, ask: Ask) -> Decision:
        assert self._judge is not None
        learned = decision.grade
        judged = await self._judge.judge(task, ask)
        if judged.grade is None:
            return replace(decision, judge_failure=judged.failure)
        name = combine(learned.grade, judged.grade, always=self._always)
        reason = f"judge said {judged.grade}; {learned.reason}"
        return replace(decision, grade=Grade(name, learned.score, reason, "judge"))

    def _shifted(self, decision: Decision, scope: str) -> Decision:
        if self._outcomes is None:
            return decision
        before = decision.grade
        name, why = self._outcomes.shift(scope, decision.intent, before.grade)
        if name == before.grade:
            return decision
        return replace(decision, grade=Grade(name, before.score, f"{why}; {before.reason}", "outcome"))


class _Durations:
    """How long grading lately took, in seconds, by who graded: an exponential mean."""

    _WEIGHT = 0.1

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def add(self, source: str, seconds: float) -> None:
        mean = self._means.get(source, seconds)
        self._means[source] = mean + self._WEIGHT * (seconds - mean)

    def of(self, source: str) -> float:
        return self._means.get(source, 0.0)
