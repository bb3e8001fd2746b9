"""What answers teach about their intents: checks, and comparisons with the strong tier, become outcomes."""

from farthing.grading import GRADES
from farthing.grading.check import Verdict
from farthing.grading.outcomes import Kind, Outcomes
from farthing.proxy.calls import Attempt, Call
from farthing.proxy.policy import TIERS


class Feedback:
    """Records outcomes; nothing without ``outcomes``."""

    def __init__(self, outcomes: Outcomes | None) -> None:
        self._outcomes = outcomes

    def checked(self, call: Call, attempt: Attempt, verdict: Verdict) -> None:
        """Record what the check of an attempt's answer found."""
        self._record(call, attempt, "check", verdict.ok)

    def compared(self, call: Call, attempt: Attempt, agrees: bool) -> None:
        """Record whether an attempt's answer said what the strong tier says."""
        self._record(call, attempt, "comparison", agrees)

    def _record(self, call: Call, attempt: Attempt, kind: Kind, good: bool) -> None:
        tier = attempt.deployment.tier
        if self._outcomes and call.decision and call.decision.intent and tier in TIERS:
            grade = GRADES[TIERS.index(tier)]
            self._outcomes.record(call.policy.scope, call.decision.intent, grade, kind, good)
