"""The charge: the one immutable record of what a call cost, and the values it is made of."""

import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

ChargeKind = Literal["inference", "grading", "summary", "failed_attempt"]
Outcome = Literal["ok", "cancelled", "failed"]


def new_charge_id() -> str:
    """Return an id that no other charge has: 32 hex digits, those of the millisecond first, as in UUIDv7.

    The ledger sorts charges by id: so those of an hour lie beside each other.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays: key → user → department. Comes from the authenticated key only.

    ``key_hash`` is the SHA-256 of the key in hex; the key itself is never kept.
    """

    key_hash: str
    user: str
    department: str
    cost_centre: str


GATEWAY = Account(key_hash="", user="gateway", department="gateway", cost_centre="")
"""Pays for calls that no key asked for: health checks, the master key."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as reported by the provider (or counted, where a stream was cut).

    ``input_tokens`` is the whole input: uncached + ``cache_read`` + ``cache_write``.
    ``output_tokens`` includes ``reasoning``; ``cache_write`` includes ``cache_write_1h``, what was written
    to a one-hour cache.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a usage costs, by component, in nano-dollars. ``input`` is the uncached part only."""

    input: int
    output: int
    cache_read: int
    cache_write: int

    @property
    def total(self) -> int:
        """The sum of all components, in nano-dollars."""
        return self.input + self.output + self.cache_read + self.cache_write


@dataclass(frozen=True, slots=True)
class ContextUse:
    """How a call's history was sent: ``leave``, ``mask`` or ``block``; ``observe …``: what would have been.

    Input tokens of the client's request and of what was sent, as counted here. ``saved`` (nano-dollars) is
    what the input was expected to cost less; below zero in a turn that gives up a cached prefix for later
    savings. It is an estimate, apart from every sum of money billed.
    """

    decision: str
    tokens_before: int
    tokens_after: int
    saved: int


@dataclass(frozen=True, slots=True)
class Charge:
    """One settled call. Money is nano-dollars; times are UTC; empty text means "not applicable".

    ``id`` is unique for ever and is the key by which every store drops repeats.
    ``cost`` is None when the model has no price: the call is *unpriced*, which is not the same as free.
    ``baseline_cost`` is what the same usage would have cost at ``baseline_model`` (None if unpriced).
    ``climbed_from`` is the tier whose attempt failed or was not good enough before this one.
    """

    id: str
    kind: ChargeKind
    outcome: Outcome
    started: datetime
    ended: datetime
    account: Account
    session_id: str
    session_step: int
    surface: str
    """The API the client spoke: ``chat``, ``responses``, ``messages``, ``completions``, ``embeddings``, or
    LiteLLM's name of a call type that cannot be metered."""
    streamed: bool
    grade: str
    grade_score: float
    grade_source: str
    intent: str
    """Hex digest of the masked ask: calls that ask the same share it. It holds no text of theirs."""
    tier: str
    model: str
    """The model that answered; a stand-in's name says so, as in ``gpt-5 (stand-in)``."""
    provider: str
    stand_in: bool
    usage: Usage
    usage_estimated: bool
    """True if the provider reported no usage and Farthing counted the tokens itself."""
    cost: Cost | None
    price_version: str
    cost_source: str
    """``provider`` (list price per token) or ``local`` (own hardware)."""
    baseline_model: str
    baseline_cost: int | None
    held: int
    settled: int
    balance: int
    """What the user had available when the hold was taken, less this charge; calls beside it not counted."""
    climbed_from: str
    gateway_instance: str
    sequence: int
    context: ContextUse | None = None
    """None if the call has no history that was looked at."""
    agent: str = ""
    """Who made the call, as the key's entry says, else the client. A label: it pays for nothing."""
    task: str = ""
    """What the client says that the call was made for. A label, too."""
    error: str = ""
    """Why the attempt failed, as `error.type`: an exception's name, or what its check found."""
