"""The state of calls under way in this process: one `Call` per request, one `Attempt` per model tried."""

import asyncio
import itertools
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import Span

from farthing.context.plan import Plan
from farthing.context.recall import MOST_ROUNDS
from farthing.cost import ModelPrice
from farthing.credits import Payer
from farthing.grading import Grade
from farthing.grading.check import Verdict
from farthing.grading.decision import Decision
from farthing.proxy.errors import RefusedCallError
from farthing.proxy.policy import DEFAULT_POLICY, Policy
from farthing.telemetry import Account, Charge
from farthing.telemetry.charge import ChargeKind

TOKEN = "farthing_call"  # noqa: S105
"""The metadata entry by which LiteLLM's hooks find the call they belong to. The proxy overwrites it on
every request, so a client cannot choose it; LiteLLM's own call id can be sent by clients."""

_KEEP = 2_000
_DEAD_AFTER_NS = 7_200 * 10**9


@dataclass(frozen=True, slots=True)
class Deployment:
    """The model deployment that LiteLLM picked for an attempt."""

    id: str
    tier: str
    model: str
    """The model's name without its provider, as priced; a stand-in's is the model it stands in for."""
    provider: str
    stand_in: bool
    price: ModelPrice | None
    window: int | None = None
    """Input tokens that it can take; None: unknown."""

    @property
    def label(self) -> str:
        """The name people see: a stand-in always says that it is one."""
        return f"{self.model} (stand-in)" if self.stand_in else self.model


@dataclass(slots=True)
class Attempt:
    """One try of one deployment. Its id is its hold's and its charge's id."""

    id: str
    call_type: str
    deployment: Deployment
    held: int
    available: int
    """What the user has left beside all holds, in nano-dollars, as last seen."""
    streamed: bool
    started_ns: int = field(default_factory=time.time_ns)
    answered: list[str] = field(default_factory=list)
    """Text streamed so far: what a cut stream is charged for."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended: bool = False
    charge: Charge | None = None
    guarded: bool = False
    """True while a gate reads its stream: then only the gate knows how the attempt ends."""
    plan: Plan | None = None
    """How its history was sent; None if it has none that was looked at."""
    verdict: Verdict | None = None
    """What the answer's check found, once there is an answer that was checked."""
    answered_ns: int = 0
    """When its answer was whole, Unix nanoseconds; 0 if it never was."""
    error: str = ""
    """What broke it off, if something did: an exception's name."""

    @property
    def failure(self) -> str:
        """Why it failed, as `error.type`; empty if nothing says so."""
        return self.error or (self.verdict.failure if self.verdict else "")


@dataclass(slots=True)
class Call:
    """One request of one account, from the door to its charge."""

    account: Account
    surface: str
    span: Span
    """What its spans hang from: the request's own span, or that of the step it is made for."""
    payload: Mapping[str, Any]
    session_id: str = ""
    session_step: int = 1
    session_named: bool = False
    """True if the client named the session: one that names itself may be many that began alike."""
    wants_usage: bool = True
    """False if the client streams chat without asking for usage: then the usage chunk is ours alone."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    policy: Policy = DEFAULT_POLICY
    kind: ChargeKind = "inference"
    routed: bool = False
    """True if the grade chose the model: only such calls are judged, kept below a ceiling, and climb."""
    decision: Decision | None = None
    plan: Plan | None = None
    """How the history of the next attempt goes out."""
    attempt: Attempt | None = None
    failed_tier: str = ""
    """The tier of the last attempt that failed: the next charge's ``climbed_from``."""
    refusal: RefusedCallError | None = None
    """What the client was told if an attempt was refused for want of credits."""
    parent: "Call | None" = None
    """The call on whose behalf this one is made: its trace is shared, its attempts are its own."""
    climbed_to: "Call | None" = None
    """The call that answered in place of this one."""
    recalls: bool = False
    """True if the model is offered farthing_recall (see recalling.py)."""
    recalled: int = 0
    """Times that the model has been asked again with what it looked up."""
    closed: bool = False
    opened_ns: int = field(default_factory=time.time_ns)

    climbed_down_from: str = ""
    """The tier that the grade asked for, if the balance was too short for it."""
    agent: str = ""
    task: str = ""
    """What its charges are labelled with (see labels.py)."""
    grading: Span | None = None
    """The span of its grading, while it is graded."""
    denied: bool = False
    """True once its refusal has been counted."""
    added_ns: int = 0
    """Time that the request has waited for Farthing, until its first model is called."""
    called: bool = False
    """True once its first model is called."""

    @property
    def payer(self) -> Payer:
        """Who pays: the account, and the session it pays for."""
        return Payer(self.account, self.session_id)

    @property
    def grade(self) -> Grade | None:
        """The task's grade, once it is known."""
        return self.decision.grade if self.decision else None

    @property
    def answering(self) -> "Call":
        """The call whose answer the client gets: this one, or the one it climbed to."""
        return self.climbed_to.answering if self.climbed_to else self

    @property
    def may_recall(self) -> bool:
        """Whether an answer that looks something up is followed by another."""
        return self.recalls and self.recalled < MOST_ROUNDS

    @property
    def goes_on(self) -> bool:
        """Whether it goes on from its parent's answer, with what that looked up."""
        return self.parent is not None and self.recalled > self.parent.recalled

    @property
    def root(self) -> "Call":
        """The request's own call."""
        return self.parent.root if self.parent else self

    def child(
        self, kind: ChargeKind, payload: Mapping[str, Any], surface: str = "", span: Span | None = None
    ) -> "Call":
        """Return a call of the same account, session and trace, made on behalf of this one.

        An answer (``inference``) keeps the grade it was asked for; a grading has none. ``span`` is that of
        the step it is made for, if it has one.
        """
        answers = kind == "inference"
        return Call(
            self.account,
            surface or self.surface,
            span or self.span,
            payload,
            self.session_id,
            self.session_step,
            self.session_named,
            policy=self.policy,
            kind=kind,
            routed=answers and self.routed,
            decision=self.decision if answers else None,
            wants_usage=self.wants_usage,
            parent=self,
            recalls=answers and self.recalls,
            recalled=self.recalled if answers else 0,
            agent=self.agent,
            task=self.task,
        )


class Calls:
    """The calls of this process, found by their token. Beyond some thousands, those that have ended
    are forgotten."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._limit = 2 * _KEEP

    def add(self, call: Call, data: dict[str, Any]) -> None:
        """Remember a call and write its token where every later hook of the request will see it."""
        self._calls[call.token] = call
        self._forget()
        buckets = [name for name in ("litellm_metadata", "metadata") if isinstance(data.get(name), dict)]
        for name in buckets:
            data[name].pop(TOKEN, None)
        # `metadata` beside `litellm_metadata` is the client's own and may be sent upstream: leave it be.
        if not buckets:
            data["metadata"] = {}
        # In place: LiteLLM's logging already holds this very dict.
        data[buckets[0] if buckets else "metadata"][TOKEN] = call.token

    def _forget(self) -> None:
        # Never a call under way: its answer would be free. One that never ended is dead after an hour or two.
        if len(self._calls) <= self._limit:
            return
        dead = time.time_ns() - _DEAD_AFTER_NS
        for token, call in list(itertools.islice(self._calls.items(), len(self._calls) - _KEEP)):
            if call.closed or call.opened_ns < dead:
                del self._calls[token]
        # The next scan waits until as many again have come: a scan is paid for by the calls between.
        self._limit = max(2 * _KEEP, len(self._calls) + _KEEP)

    def under_way(self) -> list[Call]:
        """Return the calls with an attempt that has not ended."""
        return [call for call in self._calls.values() if call.attempt and not call.attempt.ended]

    def of(self, data: Mapping[str, Any]) -> Call | None:
        """Return the call that a hook's request data or log record belongs to, or None."""
        params = data.get("litellm_params")
        for holder in (data, params if isinstance(params, Mapping) else {}):
            for name in ("litellm_metadata", "metadata"):
                call = self.of_metadata(holder.get(name))
                if call is not None:
                    return call
        return None

    def of_metadata(self, metadata: Any) -> Call | None:
        """Return the call named in a metadata dict, or None."""
        token = metadata.get(TOKEN) if isinstance(metadata, Mapping) else None
        return self._calls.get(token) if isinstance(token, str) else None
