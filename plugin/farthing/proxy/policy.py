"""What a key and its department set: the dial, a floor and a ceiling, whose memory counts, how it is told."""

from dataclasses import dataclass, replace

from farthing.grading import GRADES, Grade, GradeName
from farthing.settings import Key, Settings
from farthing.telemetry import Account

TIER_OF: dict[GradeName, str] = {"LOW": "local", "MEDIUM": "fast", "HIGH": "strong"}
TIERS = tuple(TIER_OF[grade] for grade in GRADES)
"""The tiers from the cheapest to the strongest."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for one account's tasks. ``scope`` names who shares remembered intents and outcomes."""

    quality: float = 0.99
    floor: GradeName = "LOW"
    ceiling: GradeName = "HIGH"
    check_streams: bool = True
    stream_receipt: bool = False
    scope: str = ""

    def bounded(self, grade: Grade) -> Grade:
        """Return ``grade`` within floor and ceiling, its reason saying so if it was moved."""
        at = GRADES.index(grade.grade)
        low, high = GRADES.index(self.floor), GRADES.index(self.ceiling)
        if low <= at <= high:
            return grade
        bound = "floor" if at < low else "ceiling"
        name = GRADES[low if at < low else high]
        return Grade(name, grade.score, f"{grade.reason}; {name} by the key's {bound}", grade.source)

    def allows(self, tier: str) -> bool:
        """Return whether a routed call may be served by ``tier``."""
        return tier not in TIERS or TIERS.index(tier) <= GRADES.index(self.ceiling)

    def within_ceiling(self, tier: str) -> str:
        """Return ``tier``, or the ceiling's if it lies above."""
        return tier if self.allows(tier) else TIER_OF[self.ceiling]

    def next_tier(self, tier: str) -> str | None:
        """Return the tier to climb to from ``tier``, or None at the strongest or the ceiling."""
        at = TIERS.index(tier) + 1 if tier in TIERS else len(TIERS)
        return TIERS[at] if at < len(TIERS) and self.allows(TIERS[at]) else None


DEFAULT_POLICY = Policy()


def policy_of(account: Account, key: Key | None, settings: Settings) -> Policy:
    """Return the policy of an account; ``key`` is its entry on the key ring, None for other keys."""
    of_user = settings.grading.scope == "user"
    shares = ("user", account.department, account.user) if of_user else ("department", account.department)
    policy = Policy(quality=settings.grading.quality_of(account.department), scope="\0".join(shares))
    if key is None:
        return policy
    return replace(
        policy,
        floor=key.floor,
        ceiling=key.ceiling,
        check_streams=key.check_streams,
        stream_receipt=key.stream_receipt,
    )
