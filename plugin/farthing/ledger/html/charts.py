"""Charts as inline SVG. Lengths are drawn in floats; every amount that is written is exact."""

from collections.abc import Mapping, Sequence
from datetime import date

from farthing.ledger.cells import rounded
from farthing.ledger.html.markup import Markup, join, tag

TIERS = ("local", "fast", "strong")
_WIDTH = 680


def ticks(top: int, most: int = 4) -> list[int]:
    """Return round amounts (1, 2 or 5 times a power of ten nano-dollars), from 0 until ``top`` is reached."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if step * factor * most >= top:
                count = max(1, -(-top // (step * factor)))
                return [step * factor * at for at in range(count + 1)]
        step *= 10


def digits_of(step: int) -> int:
    """Return how many decimals an amount that is a multiple of ``step`` nano-dollars needs, 2 or more."""
    digits = 9
    while digits > 2 and step % 10 == 0:
        step //= 10
        digits -= 1
    return digits


def daily(days: Sequence[date], amounts: Mapping[date, Mapping[str, int]], name: str) -> Markup:
    """Return stacked columns: what each day cost (nano-dollars), by tier."""
    height, left, bottom = 132, 54, 18
    totals = {day: sum(amounts.get(day, {}).values()) for day in days}
    marks = ticks(max([*totals.values(), 1]))
    scale = (height - bottom - 8) / marks[-1]
    pitch = (_WIDTH - left) / len(days)
    base = height - bottom
    drawn: list[Markup] = []
    for mark in marks:
        y = base - mark * scale
        drawn.append(tag("line", class_="grid", x1=left, x2=_WIDTH, y1=_at(y), y2=_at(y)))
        label = rounded(mark, digits_of(marks[1]))
        drawn.append(tag("text", label, class_="axis", x=left - 6, y=_at(y + 3), text_anchor="end"))
    for at, day in enumerate(days):
        y = float(base)
        x = left + at * pitch
        for tier in _tiers(amounts.get(day, {})):
            tall = max(0, amounts[day][tier]) * scale
            y -= tall
            drawn.append(
                tag("rect", class_=f"tier-{tier if tier in TIERS else 'other'}", x=_at(x + pitch * 0.14),
                    y=_at(y), width=_at(pitch * 0.72), height=_at(tall))
            )  # fmt: skip
        if day.day == 1 or day.day % 5 == 0:
            drawn.append(
                tag(
                    "text",
                    str(day.day),
                    class_="axis",
                    x=_at(x + pitch / 2),
                    y=height - 5,
                    text_anchor="middle",
                )
            )
    return _svg(height, name, drawn)


def savings(steps: Sequence[tuple[str, int, int]], name: str, digits: int) -> Markup:
    """Return bars that lead from the baseline to the savings: (label, from, to) in nano-dollars each."""
    row, left, right, width = 22, 88, 66, 330
    low = min(0, *(min(begin, end) for _, begin, end in steps))
    high = max(1, *(max(begin, end) for _, begin, end in steps))
    scale = (width - left - right) / (high - low)
    drawn: list[Markup] = []
    for at, (label, begin, end) in enumerate(steps):
        y = at * row + 4
        x, x2 = (left + (min(begin, end) - low) * scale, left + (max(begin, end) - low) * scale)
        kind = "whole" if at == 0 else "left" if at == len(steps) - 1 else "spent"
        if kind == "left" and end < 0:
            kind = "over"
        drawn.append(tag("text", label, class_="label", x=0, y=y + 12))
        drawn.append(
            tag("rect", class_=f"bar-{kind}", x=_at(x), y=y, width=_at(max(x2 - x, 1)), height=row - 7)
        )
        amount = end - begin
        drawn.append(
            tag(
                "text",
                rounded(amount, digits).replace("-", "−"),
                class_="value",
                x=width,
                y=y + 12,
                text_anchor="end",
            )
        )
    return _svg(row * len(steps) + 4, name, drawn, width)


def budget(actual: int, forecast: int, limit: int, name: str, digits: int) -> Markup:
    """Return one bar of what was spent and is expected, against a mark where the budget ends."""
    height, left, right = 40, 0, 0
    top = max(actual, forecast, limit, 1) * 100 // 96
    scale = (_WIDTH - left - right) / top
    end = limit * scale
    drawn = [
        tag("rect", class_="bar-room", x=0, y=6, width=_at(end), height=14),
        tag("rect", class_="bar-forecast", x=0, y=6, width=_at(max(0, forecast) * scale), height=14),
        tag("rect", class_="bar-over" if actual > limit else "bar-left", x=0, y=9,
            width=_at(max(0, actual) * scale), height=8),
        tag("line", class_="limit", x1=_at(end), x2=_at(end), y1=2, y2=24),
        tag("text", f"budget {rounded(limit, digits)}", class_="label", x=_at(min(end, _WIDTH - 2)), y=36,
            text_anchor="end" if end > _WIDTH / 4 else "start"),
    ]  # fmt: skip
    return _svg(height, name, drawn)


def _tiers(amounts: Mapping[str, int]) -> list[str]:
    known = [tier for tier in TIERS if tier in amounts]
    return known + sorted(tier for tier in amounts if tier not in TIERS)


def _svg(height: int, name: str, drawn: Sequence[Markup], width: int = _WIDTH) -> Markup:
    return tag(
        "svg", tag("title", name), join(*drawn), role="img", viewBox=f"0 0 {width} {height}", width=width,
        height=height,
    )  # fmt: skip


def _at(length: float) -> str:
    return f"{length:.2f}".rstrip("0").rstrip(".")
