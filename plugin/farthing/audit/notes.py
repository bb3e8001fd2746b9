"""What an audit says in words: the answer first, and at the end all that its figures leave out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from farthing.audit.summary import Summary, wilson
from farthing.audit.verdict import TIERS, Tariff
from farthing.cost import ModelPrice
from farthing.cost.price import RATES_PER_NANO

RANGE_NOTE = (
    "Range: a call whose score lies just below a cut might as well need the next tier. Low takes each such "
    "call at that tier, high at its own and without climbs; the saving named is the mean, climbs taken off."
)
PAID_NOTE = "Paid is LiteLLM's recorded spend where there is one, else the tokens at the model's price."
TOKENS_NOTE = (
    "A cheaper tier is taken to use the same tokens, cached ones included; its own count will differ."
)
HARDWARE_NOTE = "The local tier's fixed cost, your own hardware, is in no amount."
CLIMBS_NOTE = (
    "Climbs: a cheaper answer that fails its check is asked again of the model that was paid, at that price "
    "too, counted with {odds}."
)
ODDS_NOTE = "each call's own odds, as calibrated on the grader's training data; your models' will differ"
NO_PROMPT_NOTE = (
    "{count} kept no prompt and cannot be assessed; they are in what you paid and in no saving. LiteLLM "
    "keeps prompts with general_settings: {{store_prompts_in_spend_logs: true}}."
)
NOT_GRADED_NOTE = (
    "{count} were not graded, for their client named its model; they are in what you paid and in no saving."
)
_LEFT_OUT = {
    "bad lines": "{count} bad line(s) were skipped.",
    "failed": "{count} failed call(s) are left out: nobody was answered.",
    "cached": "{count} call(s) answered by LiteLLM's own cache are left out: no tier was asked.",
    "other": "{count} call(s) that generate no text (embeddings, images, …) are left out: they have no tier.",
    "undated": "{count} call(s) without a time are left out by --days.",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What was audited. ``other_nano``: gradings, summaries and failed attempts, from the ledger."""

    source: Literal["file", "ledger"]
    days: int | None = None
    other_nano: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)


def headline(summary: Summary, facts: Facts) -> str:
    """Return the answer, in one line."""
    total = summary.total
    strong = total.places["strong"]
    calls = f"Of your last {total.calls:,} call{'s' * (total.calls != 1)}"
    if not total.assessed:
        return f"{calls}, none can be assessed: {_unassessable(facts).format(count='all')}"
    if total.assessed < total.calls:
        calls += f", {total.assessed:,} can be assessed:"
    else:
        calls += ","
    said = f"{calls} {strong:,} needed the strong model."
    if not total.cheaper and total.places["unpriced"]:
        return f"{said} {total.places['unpriced']:,} cannot be compared: they have no price."
    if not total.cheaper:
        return f"{said} None would have been cheaper on another tier."
    places = _places(total.paid_movable)
    paid, cost, saving = _bill(total.paid_movable, total.expected, places)
    low, high = _dollars(total.low, places), _dollars(total.high, places)
    return (
        f"{said} {total.cheaper:,} would have been answered by a cheaper tier: you paid {paid}, they would "
        f"have cost {cost}, saving {saving} ({low} … {high})."
    )


def second_line(summary: Summary) -> str:
    """Return what stands beside the answer: the whole bill, the unsure calls, and how far this carries."""
    total = summary.total
    places = _places(total.paid)
    share = round(100 * total.expected / total.paid) if total.paid else 0
    paid, cost, _ = _bill(total.paid, total.expected, places)
    said = [f"The whole bill: {paid} paid, {cost} routed, {share} % less."]
    if total.places["unsure"]:
        said.append(
            f"{total.places['unsure']:,} of the {total.cheaper:,} are unsure: counted by half, "
            "they would stay unless judged."
        )
    if total.places["fits"]:
        said.append(f"{total.places['fits']:,} already cost no more than on the tier that would do.")
    if total.assessed:
        low, high = wilson(total.places["strong"], total.assessed)
        said.append(
            f"Of traffic like this, {round(100 * low)} to {round(100 * high)} % needs the strong model "
            "(95 % confidence)."
        )
    return " ".join(said)


def notes(summary: Summary, facts: Facts, tariff: Tariff, method: str) -> list[str]:
    """Return how the figures were made and what they leave out."""
    total = summary.total
    said = [
        f"Graded by {method}. Local tier: {_per_million(tariff.local)} per million tokens; "
        f"fast tier: {tariff.fast.model}, {_per_million(tariff.fast)}; prices: {tariff.book.version}.",
        RANGE_NOTE,
        *([PAID_NOTE] if facts.source == "file" else []),
        TOKENS_NOTE,
        HARDWARE_NOTE,
        _climbs(tariff),
    ]
    if total.unpriced:
        models = ", ".join(name for name, _ in summary.unpriced_models.most_common(5))
        said.append(
            f"{total.unpriced:,} call(s) have no price ({models}): they are in no amount. Add the models to "
            "cost.prices."
        )
    if total.estimated:
        said.append(
            f"{total.estimated:,} call(s) reported no usage: their tokens are counted here, an estimate."
        )
    if summary.unanswered:
        said.append(
            f"{summary.unanswered:,} call(s) have no answer recorded: only their input is in the amounts, "
            "which are too low by their output."
        )
    if summary.cut:
        said.append(f"{summary.cut:,} stored prompt(s) were shortened by LiteLLM: counted as unsure.")
    if total.places["unassessable"]:
        said.append(_unassessable(facts).format(count=f"{total.places['unassessable']:,} call(s)"))
    if summary.stand_ins:
        said.append(
            f"{summary.stand_ins:,} call(s) were answered by a stand-in: their price is the named model's "
            "list price, and no provider sends a bill."
        )
    if facts.source == "ledger":
        said.append(
            "Beside these calls, gradings, summaries and failed attempts cost "
            f"{_dollars(facts.other_nano, 6)}: in no amount above."
        )
    said += [
        text.format(count=f"{facts.left_out[name]:,}")
        for name, text in _LEFT_OUT.items()
        if facts.left_out.get(name)
    ]
    return said


def _climbs(tariff: Tariff) -> str:
    shares = [f"{float(share):.1%} of {TIERS[grade]}" for grade, share in tariff.climbs.items()]
    return CLIMBS_NOTE.format(
        odds=f"the share measured in the ledger, {', '.join(shares)}" if shares else ODDS_NOTE
    )


def _unassessable(facts: Facts) -> str:
    return NO_PROMPT_NOTE if facts.source == "file" else NOT_GRADED_NOTE


def _per_million(price: ModelPrice) -> str:
    rates = price.rates_at(0)
    sent, written = (f"${rate * 1_000_000 / RATES_PER_NANO / 1e9:g}" for rate in (rates.input, rates.output))
    return sent if sent == written else f"{sent} in, {written} out"


def _places(nano: int) -> int:
    """Two decimals from 10 dollars on, four from a cent, else six."""
    return 2 if nano >= 10**10 else 4 if nano >= 10**7 else 6


def _bill(paid: int, saving: int, places: int) -> tuple[str, str, str]:
    """Return what was paid, what it would have cost, and the saving: as shown, the first less the last."""
    paid, saving = round(paid, places - 9), round(saving, places - 9)
    return _dollars(paid, places), _dollars(paid - saving, places), _dollars(saving, places)


def _dollars(nano: int, places: int) -> str:
    whole, rest = divmod(round(nano, places - 9), 10**9)
    return f"${whole:,}.{rest // 10 ** (9 - places):0{places}d}"
