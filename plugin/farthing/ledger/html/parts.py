"""The parts of a statement page: its head, its tiles, its charts, its notes."""

import calendar
from collections.abc import Mapping, Sequence
from datetime import date

from farthing.ledger.cells import nano, rounded
from farthing.ledger.html import charts, tables
from farthing.ledger.html.figures import Book, Department, Record
from farthing.ledger.html.markup import Markup, join, named, tag
from farthing.ledger.render import BASELINE_NOTE, STAND_IN_NOTE
from farthing.ledger.report import exact


def exact_usd(amount: int | None) -> str:
    """Return an amount in full, or a word where it is not known."""
    return "unknown" if amount is None else rounded(amount, 9)


def digits_for(total: int | None) -> int:
    """Cents for large amounts, more for small ones, so that no line of some weight shows as zero."""
    size = abs(total or 0)
    return 2 if size >= 1000 * 10**9 else 4 if size >= 10 * 10**9 else 6


def header(organisation: str, title: str, shown: Mapping[str, str]) -> Markup:
    """Return the head of a section: whose it is, and its facts by name."""
    pairs = [join(tag("dt", name), tag("dd", value)) for name, value in shown.items()]
    return tag(
        "header",
        tag("div", tag("p", named(organisation), " · AI usage statement", class_="organisation"),
            tag("h1", title), class_="who"),
        tag("dl", *pairs),
    )  # fmt: skip


def facts(book: Book) -> dict[str, str]:
    """Return what every section of a book says in its head."""
    if book.closed_at is not None:
        status = f"closed {book.closed_at:%Y-%m-%d}"
    else:
        status = "open, still running" if book.running else "open, not closed yet"
    return {"Month": book.month, "Status": status, "Drawn up": f"{book.as_of:%Y-%m-%d}", "Currency": "USD"}


def tile(what: str, *, money: int | None = None, figure: str = "", more: str = "", tone: str = "") -> Markup:
    """Return a tile: a word, a figure (or an amount in nano-dollars), and a line that explains it."""
    shown = figure or (
        rounded(money, 2) if money is None or abs(money) >= 10**7 or not money else rounded(money, 6)
    )
    return tag(
        "div", tag("p", what, class_="what"),
        tag("p", shown.replace("-", "−"), class_=f"figure {tone}".strip()),
        tag("p", more, class_="more"), class_="tile",
    )  # fmt: skip


def saved_tile(saved: int | None, baseline: int | None, model: str) -> Markup:
    """Return the tile of the savings, in nano-dollars, as a share of the baseline."""
    share = tables.percent(saved or 0, baseline) if baseline else ""
    more = f"{share} of the baseline{f' ({model})' if model else ''}, all own costs deducted" if share else ""
    return tile("Saved", money=saved, more=more, tone="bad" if (saved or 0) < 0 else "good")


def budget_tile(budget: Record | None) -> Markup:
    """Return the tile of a row of the report `budget`."""
    if budget is None or budget["budget_usd"] is None:
        return tile("Budget", figure="none", more="no budget is set for the month")
    limit = rounded(nano(budget["budget_usd"]), 2)
    over = (nano(budget["over_usd"]) or 0) > 0
    ends = f"; {rounded(nano(budget['forecast_usd']), 2)} expected" if budget["method"] != "final" else ""
    used = exact(budget["used_percent"]) or "0"
    return tile("Budget used", figure=f"{used} %", more=f"of {limit}{ends}", tone="bad" if over else "")


def change_tile(book: Book, rows: Sequence[Record]) -> Markup:
    """Return the tile of the change on the month before, over rows of the report `variance`."""
    if not rows:
        return tile("Month on month", figure="-", more="nothing to compare with")
    change, before = (sum(nano(row[name]) or 0 for row in rows) for name in ("change_usd", "before_usd"))
    share = tables.percent(change, before) if before else ""
    plus = "+" if change > 0 else ""
    more = f"{plus}{share} · {_compared(book)}" if share else "nothing the month before"
    return tile("Month on month", figure=plus + rounded(change, 2), more=more)


def _compared(book: Book) -> str:
    return (
        f"days 1 to {book.as_of.day - 1} of both months" if book.running else "against the whole month before"
    )


def daily(book: Book, amounts: Mapping[date, Mapping[str, int]]) -> Markup:
    """Return the chart of what each day cost by tier, in nano-dollars."""
    year, month = map(int, book.month.split("-"))
    days = [date(year, month, day) for day in range(1, calendar.monthrange(year, month)[1] + 1)]
    tiers = {tier for by_tier in amounts.values() for tier in by_tier}
    keys = [tier for tier in charts.TIERS if tier in tiers] + (["other"] if tiers - set(charts.TIERS) else [])
    legend = tag("ul", *(tag("li", tag("i", class_=f"key-{key}"), key) for key in keys), class_="legend")
    chart = charts.daily(days, amounts, f"Cost of each day of {book.month} by tier, in USD")
    return join(
        tag("h2", "Cost by day", tag("small", "in USD, by tier, as charged")), tag("figure", legend, chart)
    )


def budget_chart(budget: Record | None) -> Markup | None:
    """Return the bar of a row of the report `budget`; None if there is no budget."""
    if budget is None or budget["budget_usd"] is None:
        return None
    digits = 2
    actual, ends, limit = (nano(budget[name]) or 0 for name in ("actual_usd", "forecast_usd", "budget_usd"))
    words = f"{rounded(actual, digits)} spent"
    if budget["method"] != "final":
        how = {"weekday": "by day of the week", "average": "by the average day"}[budget["method"]]
        words += f", {rounded(ends, digits)} expected at the month's end ({how})"
    name = f"Budget {rounded(limit, digits)}: {words}"
    return join(
        tag("h2", "Budget", tag("small", words)),
        tag("figure", charts.budget(actual, ends, limit, name, digits)),
    )


def savings(one: Department, digits: int) -> Markup | None:
    """Return how the savings come from the baseline; None if nothing was compared."""
    row = one.savings
    if row is None or not row["baseline_usd"]:
        return None
    at = nano(row["baseline_usd"]) or 0
    steps = [("At the baseline", 0, at)]
    for label, name in (
        ("Answers", "answers_usd"), ("Gradings", "gradings_usd"), ("Summaries", "summaries_usd"),
        ("Failed attempts", "failed_usd"),
    ):  # fmt: skip
        spent = nano(row[name]) or 0
        steps.append((label, at, at - spent))
        at -= spent
    steps.append(("Saved", 0, at))
    chart = charts.savings(steps, f"From the baseline to the savings of {exact_usd(at)} USD", digits)
    small = f"{row['answers']:,} answers, compared with {row['baseline_models']}"
    return join(tag("h2", "Savings", tag("small", small)), tag("figure", chart))


def variance(book: Book, one: Department, digits: int) -> Markup | None:
    """Return what the change on the month before is made of; None if there is nothing to compare."""
    if one.variance is None:
        return None
    caption = f"What the change is made of: {_compared(book)}."
    small = "why it is more or less, in USD"
    return join(
        tag("h2", "Month on month", tag("small", small)), tables.effects(one.variance, digits, caption)
    )


def notes(without_baseline: int, unpriced: int, stand_in: bool) -> Markup:
    """Return how money was counted, and what is in no amount."""
    found = [
        "Charged is what model calls cost, at the price in force when they were made; times are UTC. Saved "
        "is what the answers would have cost at the baseline model, less everything spent: answers, "
        "gradings, summaries and failed attempts. Charts, savings and month on month show every charge as it "
        "is known now; the usage lines of a closed month are those it was closed with.",
    ]
    if unpriced:
        found.append(
            f"{unpriced:,} calls have no price: they are in no amount, which are too low by what they cost."
        )
    if without_baseline:
        found.append(BASELINE_NOTE.format(count=f"{without_baseline:,}"))
    if stand_in:
        found.append(STAND_IN_NOTE)
    return tag("div", *(tag("p", note) for note in found), class_="notes")
