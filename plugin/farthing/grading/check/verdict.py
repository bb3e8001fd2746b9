"""What a check says of an answer."""

from dataclasses import dataclass
from typing import Literal

Failure = Literal[
    "",
    "empty",
    "refusal",
    "cut_off",
    "invalid_json",
    "schema",
    "unknown_tool",
    "tool_arguments",
    "format",
    "repetition",
    "low_probability",
    "doubtful",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer is usable, and if not, what it fails.

    ``failure`` is empty exactly if ``ok``. ``reason`` is a short text for an operator; it never quotes
    the prompt or the answer.
    """

    ok: bool
    failure: Failure = ""
    reason: str = ""


OK = Verdict(True)


def failed(failure: Failure, reason: str) -> Verdict:
    """Return the verdict that an answer fails in one way."""
    return Verdict(False, failure, reason)
