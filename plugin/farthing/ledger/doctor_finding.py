"""What a check of `farthing doctor` found."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["ok", "warn", "FAIL"]

NAMED = 5
"""Of ids and names, how many a line shows."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one check: ``figure`` in words, ``advice`` what to do, ``facts`` for machines."""

    check: str
    status: Status
    figure: str
    advice: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return asdict(self)


def judged(check: str, faults: int, fine: str, found: str, advice: str, facts: dict[str, Any]) -> Finding:
    """Return a finding that is ok if there are no faults, and FAIL if there are."""
    return Finding(check, "FAIL", found, advice, facts) if faults else Finding(check, "ok", fine, "", facts)


def some(ids: Sequence[str]) -> str:
    """Return the first ids, quoted, as one line."""
    return ", ".join(repr(charge_id) for charge_id in ids[:NAMED])
