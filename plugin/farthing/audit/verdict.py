"""The verdict on one past call: the tier that would have done, and what that would have saved.

A call graded below HIGH *moves* if its grade's tier would have cost less than what was paid, expected climbs
included: a cheaper answer that fails its check costs its own price and what was paid, too. The probability of
that is the share measured in the ledger, if there is one, else the call's own, by the grader's calibration.

A doubtful call, whose score lies just below a cut, is expected to save the mean of what its own tier and the
next would have saved, and its range is of the two. All amounts are whole nano-dollars, each rounded once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, get_args

from farthing.audit.calls import PastCall
from farthing.audit.grading import Assessor, Judged
from farthing.cost import ModelPrice, PriceBook
from farthing.grading import GradeName, task_from
from farthing.grading.intent import intent_of

Place = Literal["moves", "unsure", "strong", "fits", "unpriced", "unassessable"]
"""Where a call belongs: *moves* to a cheaper tier; might move, but the grader is *unsure*; needs the *strong*
model; *fits* already, its grade's tier being no cheaper; cannot be compared (*unpriced*); has no prompt or
grade (*unassessable*)."""
PLACES: tuple[Place, ...] = get_args(Place)

TIERS: dict[GradeName | None, str] = {
    "LOW": "local",
    "MEDIUM": "fast",
    "HIGH": "strong",
    None: "not assessable",
}
"""The tier that would have done, by grade."""

_EXCERPT_CHARS = 48
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Tariff:
    """What the tiers cost. ``climbs`` are the measured shares of a tier's calls that climb, by its grade."""

    book: PriceBook
    local: ModelPrice
    fast: ModelPrice
    baseline_model: str
    """Taken to have answered the calls that name no model."""
    climbs: Mapping[GradeName, Fraction] = field(default_factory=dict)

    def paid(self, call: PastCall) -> int | None:
        """Return what a call cost, in nano-dollars: by its record, else by its tokens; None if unknown."""
        if call.paid is not None or call.recorded:
            return call.paid
        price = self.book.price(call.model or self.baseline_model, provider=call.provider)
        return self.book.cost(price, call.usage).total if price else None

    def saving(self, call: PastCall, grade: GradeName, paid: int, fails: Fraction) -> tuple[int, int]:
        """Return what the tier of ``grade`` would have saved: as expected, and without a climb.

        Neither is below 0: nothing moves to lose by it.
        """
        if grade == "HIGH":
            return 0, 0
        saved = paid - self.book.cost(self.local if grade == "LOW" else self.fast, call.usage).total
        return max(0, saved - round(paid * self.climbs.get(grade, fails))), max(0, saved)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one call. Money is nano-dollars.

    ``least`` … ``most`` is the range of the ``saving``: without doubtful calls … without climbs. All are 0
    unless the call ``moves`` or is ``unsure``. ``paid`` is None if unpriced.
    """

    call: PastCall
    place: Place
    grade: GradeName | None
    intent: str
    excerpt: str
    paid: int | None
    saving: int = 0
    least: int = 0
    most: int = 0


def verdict(call: PastCall, assessor: Assessor, tariff: Tariff) -> Verdict:
    """Return the verdict on ``call``: graded now if its prompt is at hand, else as it was recorded."""
    paid = tariff.paid(call)
    if call.recorded:
        intent, excerpt = call.recorded.intent, ""
        if call.recorded.grade is None:
            return Verdict(call, "unassessable", None, intent, "", paid)
        judged = assessor.recorded(call.recorded, call.recorded.grade)
    elif call.payload is None:
        return Verdict(call, "unassessable", None, "", "", paid)
    else:
        task = task_from(call.payload)
        if not (task.ask.strip() or task.images or task.audio or task.documents or task.tool_results):
            return Verdict(call, "unassessable", None, "", "", paid)
        judged, intent = assessor.judge(task), intent_of(task, "", assessor.realm)
        excerpt = _excerpt(task.ask)
    return _moved(Verdict(call, "fits", judged.grade, intent, excerpt, paid), judged, tariff)


def _moved(one: Verdict, judged: Judged, tariff: Tariff) -> Verdict:
    """Return the verdict on a graded call, which so far ``fits`` where it ran."""
    if one.call.recorded and one.call.recorded.climbed:
        return one  # a cheaper tier's attempt failed before it: nothing cheaper would have done
    if judged.grade == "HIGH":
        return replace(one, place="strong")
    if one.paid is None:
        return replace(one, place="unpriced")
    expected, most = tariff.saving(one.call, judged.grade, one.paid, judged.fails)
    if not expected:
        return one
    perhaps: GradeName = "HIGH" if one.call.cut else judged.perhaps
    other, other_most = tariff.saving(one.call, perhaps, one.paid, judged.fails)
    mean, least = round(Fraction(expected + other, 2)), min(expected, other)
    place: Place = "moves" if least else "unsure"
    return replace(one, place=place, saving=mean, least=least, most=max(most, other_most))


def _excerpt(ask: str) -> str:
    text = _BLANKS.sub(" ", ask[: 8 * _EXCERPT_CHARS]).strip()
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return text if len(text) <= _EXCERPT_CHARS else f"{text[: _EXCERPT_CHARS - 1]}…"
