"""The tables of a statement page."""

from collections.abc import Sequence
from itertools import groupby

from farthing.ledger.cells import nano, rounded
from farthing.ledger.html.figures import Department, Record
from farthing.ledger.html.markup import Markup, join, named, tag
from farthing.ledger.lines import StatementLine, Totals, totals
from farthing.money import usd_text


def money(amount: int | None, digits: int, unknown: str = "unknown", sign: bool = False) -> Markup:
    """Return an amount in nano-dollars, rounded for reading; the element's value is the exact one."""
    if amount is None:
        return tag("em", unknown)
    shown = rounded(amount, digits)
    plus = "+" if sign and amount > 0 and shown.strip("0.,") else ""
    return tag("data", plus + shown.replace("-", "−"), value=usd_text(amount))


def usage(lines: Sequence[StatementLine], digits: int, note: str) -> Markup:
    """Return the lines of a month, grouped by user, and their total."""
    bodies = []
    for (centre, user), group in groupby(lines, lambda line: (line.cost_centre, line.user)):
        mine = list(group)
        sums = totals(mine)
        who = join(named(user), tag("small", "cost centre ", named(centre)))
        head = tag("tr", tag("th", who, scope="rowgroup", colspan=2), *_figures(sums, digits), class_="group")
        rows = [
            tag("tr", tag("td", line.tier or "-"), tag("td", named(line.model), _remarks(line)),
                *_figures(line, digits), class_="line")
            for line in mine
        ]  # fmt: skip
        bodies.append(tag("tbody", head, *rows))
    return tag(
        "div",
        tag("table", tag("caption", note), _head(), *bodies, _foot(totals(lines), digits)),
        class_="scroll",
    )


def corrections(lines: Sequence[StatementLine], digits: int) -> Markup:
    """Return what closed months got later, one line each, and its total."""
    heads = ("Month", "User", "Tier", "Model", "Calls", "Cost", "Baseline", "Saved")
    rows = [
        tag("tr", tag("td", line.of_month), tag("td", named(line.user)), tag("td", line.tier),
            tag("td", named(line.model), _remarks(line)), tag("td", f"{line.calls:,}", class_="n"),
            *_amounts(line, digits))
        for line in lines
    ]  # fmt: skip
    sums = totals(lines)
    foot = tag("tr", tag("th", "All corrections", scope="row", colspan=4),
               tag("td", f"{sums.calls:,}", class_="n"), *_amounts(sums, digits))  # fmt: skip
    caption = "What came for a month after it was closed. The statement of that month stays as it was."
    return _plain(caption, heads, 4, rows, foot)


def departments(found: Sequence[Department], digits: int) -> Markup:
    """Return one line for each department, and the total of all."""
    heads = ("Department", "Calls", "Cost", "Share", "Saved", "Budget", "Used")
    whole = totals([line for one in found for line in (*one.usage, *one.corrections)])
    rows = []
    for one in sorted(found, key=lambda one: (-(one.total.cost_nano or 0), one.name)):
        sums = one.total
        limit = nano(one.budget["budget_usd"]) if one.budget else None
        used = percent(sums.cost_nano or 0, limit) if limit else "-"
        over = "n bad" if limit and (sums.cost_nano or 0) > limit else "n"
        rows.append(
            tag("tr", tag("th", named(one.name, "(no department)"), scope="row"),
                tag("td", f"{sums.calls:,}", class_="n"),
                tag("td", money(sums.cost_nano, digits, "unpriced"), class_="n"),
                tag("td", percent(sums.cost_nano or 0, whole.cost_nano), class_="n"),
                tag("td", money(sums.savings_nano, digits), class_="n"),
                tag("td", money(limit, digits, "none"), class_="n"), tag("td", used, class_=over))
        )  # fmt: skip
    foot = tag("tr", tag("th", "All departments", scope="row"), tag("td", f"{whole.calls:,}", class_="n"),
               tag("td", money(whole.cost_nano, digits), class_="n"),
               tag("td", "100 %" if whole.cost_nano else "-", class_="n"),
               tag("td", money(whole.savings_nano, digits), class_="n"), tag("td"), tag("td"))  # fmt: skip
    return _plain("Amounts in USD, corrections included.", heads, 1, rows, foot)


def effects(variance: Record, digits: int, compared: str) -> Markup:
    """Return what a change on the month before is made of."""
    rows = [
        tag("tr", tag("th", label, tag("small", about), scope="row"),
            tag("td", money(nano(variance[name]), digits, sign=True), class_="n"))
        for label, about, name in (
            ("Volume", "more or fewer tokens", "volume_usd"),
            ("Mix", "other models, more cache, longer answers", "mix_usd"),
            ("Price", "the same tokens at other prices", "price_usd"),
        )
    ]  # fmt: skip
    first = tag(
        "tr",
        tag("th", "Month before", scope="row"),
        tag("td", money(nano(variance["before_usd"]), digits), class_="n"),
    )
    foot = tag(
        "tr",
        tag("th", "This month, as charged", scope="row"),
        tag("td", money(nano(variance["now_usd"]), digits), class_="n"),
    )
    return _plain(compared, ("", "USD"), 1, [first, *rows], foot)


def hardware(rows: Sequence[Record], digits: int) -> Markup:
    """Return the department's part of the cost of own hardware."""
    heads = ("Tier", "Calls", "Hours busy", "In use", "Idle", "Total", "Charged above")
    body = [
        tag("tr", tag("th", row["tier"], scope="row"), tag("td", f"{row['calls']:,}", class_="n"),
            tag("td", f"{row['busy_hours']:,f}", class_="n"),
            *(tag("td", money(nano(row[name]), digits), class_="n")
              for name in ("used_usd", "idle_usd", "total_usd", "charged_usd")))
        for row in rows
    ]  # fmt: skip
    method = rows[0]["method"]
    caption = f"For information: not in the amount charged. Idle cost is shared by the method “{method}”."
    return _plain(caption, heads, 1, body, None)


def percent(part: int, whole: int | None) -> str:
    """Return a share with one decimal, cut off; a dash if there is no whole."""
    if not whole:
        return "-"
    tenths = abs(part) * 1000 // abs(whole)
    minus = "−" if (part < 0) != (whole < 0) and tenths else ""
    return f"{minus}{tenths // 10:,}.{tenths % 10} %"


def _plain(
    caption: str, heads: Sequence[str], names: int, rows: Sequence[Markup], foot: Markup | None
) -> Markup:
    head = tag(
        "tr",
        *(tag("th", one, scope="col", class_=None if at < names else "n") for at, one in enumerate(heads)),
    )
    return tag(
        "div",
        tag(
            "table",
            tag("caption", caption),
            tag("thead", head),
            tag("tbody", *rows),
            tag("tfoot", foot) if foot else None,
        ),
        class_="scroll",
    )


def _head() -> Markup:
    names = (
        ("User · tier", "Model"),
        ("Calls", "Tokens in", "cached", "Tokens out", "Cost", "Baseline", "Saved"),
    )
    return tag(
        "thead",
        tag("tr", *(tag("th", name, scope="col") for name in names[0]),
            *(tag("th", name, scope="col", class_="n") for name in names[1])),
    )  # fmt: skip


def _foot(sums: Totals, digits: int) -> Markup:
    return tag("tfoot", tag("tr", tag("th", "Total", scope="row", colspan=2), *_figures(sums, digits)))


def _figures(line: StatementLine | Totals, digits: int) -> list[Markup]:
    return [
        tag("td", f"{line.calls:,}", class_="n"),
        tag("td", f"{line.input_tokens:,}", class_="n"),
        tag("td", f"{line.cached_tokens:,}", class_="n soft"),
        tag("td", f"{line.output_tokens:,}", class_="n"),
        *_amounts(line, digits),
    ]


def _amounts(line: StatementLine | Totals, digits: int) -> list[Markup]:
    saved = line.savings_nano
    return [
        tag("td", money(line.cost_nano, digits, "unpriced"), class_="n"),
        tag("td", money(line.baseline_nano, digits, "-"), class_="n"),
        tag("td", money(saved, digits), class_="n bad" if saved is not None and saved < 0 else "n"),
    ]


def _remarks(line: StatementLine) -> Markup | None:
    found = []
    if line.unpriced:
        found.append(f"{line.unpriced:,} without a price")
    if line.without_baseline:
        found.append(f"{line.without_baseline:,} without a baseline")
    if line.stand_in:
        found.append("stand-in")
    return tag("small", ", ".join(found)) if found else None
