"""The report of an audit: a table that answers in its first line; JSON and CSV for programs."""

import csv
import io
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal

from farthing.audit.notes import Facts, headline, notes, second_line
from farthing.audit.summary import Summary, Sums, wilson
from farthing.audit.verdict import Tariff
from farthing.money import usd_text

Format = Literal["table", "json", "csv"]

TOP_INTENTS = 20
_WIDTH = 110
_HEAD = ("calls", "paid USD", "would cost", "saving USD", "low …", "… high", "stay")
_FIELDS = (
    "intent", "tier", "calls", "moves", "unsure", "strong", "fits", "not_comparable", "not_assessable",
    "unpriced", "estimated", "paid_usd", "would_cost_usd", "saving_usd", "saving_low_usd", "saving_high_usd",
    "first_ask",
)  # fmt: skip
_FORMULA_STARTS = ("=", "+", "-", "@", "\t")


def render(
    summary: Summary, facts: Facts, tariff: Tariff, form: Format, method: str, *, excerpts: bool = True
) -> str:
    """Return the report as text, ending in a line feed.

    ``table`` shows the dearest intents and sums up the rest; ``csv`` has a row for each intent, ``json``
    everything. Amounts in csv and json are exact decimal text (empty, null: no call has a price).
    ``excerpts``: show the beginning of each intent's first ask.
    """
    if form == "csv":
        return _csv(summary, excerpts)
    said = notes(summary, facts, tariff, method)
    if form == "json":
        return _json(summary, facts, said, excerpts)
    return _table(summary, facts, said, excerpts)


def _table(summary: Summary, facts: Facts, said: Sequence[str], excerpts: bool) -> str:
    out = [headline(summary, facts), second_line(summary), ""]
    tiers = [(sums.label, *_figures(sums)) for sums in (*summary.by_tier, summary.total)]
    out += _aligned([("would do", *_HEAD), *tiers], left=1)
    ranked = summary.by_cost
    top, rest = ranked[:TOP_INTENTS], ranked[TOP_INTENTS:]
    shown = excerpts and any(sums.excerpt for sums in ranked)
    rows: list[tuple[str, ...]] = [("intent", "would do", *_HEAD, "first ask" if shown else "")]
    rows += [
        (sums.label[:12] or "(none)", sums.tier, *_figures(sums), sums.excerpt if shown else "")
        for sums in top
    ]
    if rest:
        rows.append((f"{len(rest):,} others", "", *_figures(_together(rest)), ""))
    out += ["", *_aligned(rows, left=2, text_last=True)]
    if summary.dearest:
        stay = summary.total.stays
        out += ["", f"It would not move {stay:,} calls. The dearest of them:"]
        out += _aligned(
            [("call", "model", "paid USD", "why"), *(
                (one.call.name, one.call.model or "(none named)", _six(one.paid),
                 "needs the strong model" if one.place == "strong" else "the grader is unsure")
                for one in summary.dearest
            )],
            left=2, text_last=True,
        )  # fmt: skip
    out += ["", *(textwrap.fill(note, _WIDTH, break_on_hyphens=False) for note in said)]
    return "\n".join(out) + "\n"


def _together(parts: Sequence[Sums]) -> Sums:
    whole = Sums()
    for part in parts:
        whole.merge(part)
    return whole


def _figures(sums: Sums) -> tuple[str, ...]:
    if not sums.priced:
        return (f"{sums.calls:,}", "unpriced", *["-"] * 4, f"{sums.stays:,}")
    # What a reader subtracts on the page must come out on the page.
    paid, saving = round(sums.paid, -3), round(sums.expected, -3)
    return (
        f"{sums.calls:,}", _six(paid), _six(paid - saving), _six(saving), _six(sums.low),
        _six(sums.high), f"{sums.stays:,}",
    )  # fmt: skip


def _six(nano: int | None) -> str:
    """Return an amount with six decimals, rounded half to even; nano-dollars show in csv and json."""
    if nano is None:
        return "unpriced"
    whole, rest = divmod(round(nano, -3), 10**9)
    return f"{whole:,}.{rest // 1000:06d}"


def _aligned(rows: Sequence[tuple[str, ...]], *, left: int, text_last: bool = False) -> list[str]:
    """Return rows as lines: the first ``left`` columns, and the last if it is text, flush left."""
    last = len(rows[0]) - 1
    widths = [max(len(row[i]) for row in rows) for i in range(last + 1)]
    if text_last:
        widths[last] = 0
    return [
        "  ".join(
            cell.ljust(width) if i < left or (text_last and i == last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _values(sums: Sums, excerpts: bool) -> dict[str, str | int | None]:
    places = sums.places
    amounts = (sums.paid, sums.paid - sums.expected, sums.expected, sums.low, sums.high)
    values = (
        sums.label, sums.tier, sums.calls, places["moves"], places["unsure"], places["strong"],
        places["fits"], places["unpriced"], places["unassessable"], sums.unpriced, sums.estimated,
        *(usd_text(nano) if sums.priced else None for nano in amounts), sums.excerpt if excerpts else "",
    )  # fmt: skip
    return dict(zip(_FIELDS, values, strict=True))


def _csv(summary: Summary, excerpts: bool) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, _FIELDS, lineterminator="\n")
    writer.writeheader()
    for sums in summary.by_cost:
        row = _values(sums, excerpts)
        ask = str(row["first_ask"])
        # A prompt is a stranger's text: a spreadsheet must not take it for a formula.
        writer.writerow(row | {"first_ask": f"'{ask}" if ask.startswith(_FORMULA_STARTS) else ask})
    return out.getvalue()


def _json(summary: Summary, facts: Facts, said: Sequence[str], excerpts: bool) -> str:
    total = summary.total
    low, high = wilson(total.places["strong"], total.assessed)
    share = total.places["strong"] / total.assessed if total.assessed else None
    document = {
        "answer": headline(summary, facts),
        "source": facts.source,
        "days": facts.days,
        "currency": "USD",
        "calls": total.calls,
        "assessed": total.assessed,
        "needed_strong": total.places["strong"],
        "needed_strong_share": {"point": share, "low95": low, "high95": high},
        "cheaper": total.cheaper,
        "paid_for_cheaper_usd": usd_text(total.paid_movable),
        "cheaper_would_cost_usd": usd_text(total.paid_movable - total.expected),
        "other_charges_usd": usd_text(facts.other_nano),
        "left_out": dict(facts.left_out),
        "total": _named(total, excerpts, "all"),
        "tiers": [_named(sums, excerpts, sums.label) for sums in summary.by_tier],
        "intents": [
            _values(sums, excerpts)
            | {"stays": [{"call": name, "why": place} for name, place in sums.staying], "stay": sums.stays}
            for sums in summary.by_cost
        ],
        "notes": list(said),
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _named(sums: Sums, excerpts: bool, tier: str) -> Mapping[str, object]:
    values: dict[str, object] = {**_values(sums, excerpts), "tier": tier}
    return {name: value for name, value in values.items() if name not in ("intent", "first_ask")}
