"""A panel's query result as HTML: numbers, tables, and charts as inline SVG. Not Grafana's drawing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from farthing.ledger.html.markup import Markup, join, tag, text

Rows = Sequence[Mapping[str, Any]]
COLOURS = (
    "#3274d9", "#e0752d", "#37872d", "#8f3bb8", "#c4162a", "#1f9e9e", "#b5912b", "#6d7785", "#e05c9c",
    "#5794f2", "#96d98d",
)  # fmt: skip
_LEFT, _BOTTOM, _TOP = 52, 18, 8


@dataclass(frozen=True, slots=True)
class Size:
    """The room that a panel has, in pixels."""

    width: int
    height: int


def shown(value: Any, unit: str, decimals: int | None = None) -> str:
    """Return a value as a reader sees it, in its panel's unit."""
    if value is None:
        return "–"
    if not isinstance(value, float | int | Decimal) or isinstance(value, bool):
        return str(value)
    amount = float(value)
    match unit:
        case "currencyUSD":
            # Of the exact value, so that what is written is rounded once.
            digits = decimals if decimals is not None else _digits(amount)
            return f"{'−' if amount < 0 else ''}${Decimal(value).copy_abs():,.{digits}f}"
        case "percentunit":
            return f"{amount * 100:,.1f} %"
        case "percent":
            return f"{amount:,.1f} %"
        case "ms" if abs(amount) >= 1000:
            return f"{amount / 1000:,.1f} s"
        case "ms":
            return f"{amount:,.0f} ms"
        case "s" if 0 < abs(amount) < 1:
            return f"{amount * 1000:,.1f} ms"
        case "s":
            return f"{amount:,.1f} s"
        case "reqps":
            return f"{amount:,.3f}/s"
    return _short(amount, decimals)


def _short(value: float, decimals: int | None) -> str:
    for least, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:,.1f} {letter}"
    if decimals is None:
        decimals = 0 if value == int(value) else 2
    return f"{value:,.{decimals}f}"


def _digits(value: float) -> int:
    return 2 if value == 0 or abs(value) >= 1 else 4 if abs(value) >= 0.01 else 6


def number(rows: Rows, unit: str, decimals: int | None, colour: str) -> Markup:
    """Return a panel of one number."""
    value = next(iter(rows[0].values())) if rows else None
    return tag("p", shown(value, unit, decimals), class_="number", style=f"color: {colour}")


def table(rows: Rows, units: Mapping[str, str], most: int) -> Markup:
    """Return the first rows as a table, and how many there are more."""
    if not rows:
        return tag("p", "no rows", class_="empty")
    names = list(rows[0])

    numbers = {
        name for name in names if all(isinstance(row[name], float | int | Decimal | None) for row in rows)
    }

    def cell(kind: str, name: str, content: Markup) -> Markup:
        return tag(kind, content, class_="n" if name in numbers else None)

    def value(row: Mapping[str, Any], name: str) -> Markup:
        return tag("bdi", shown(row[name], units.get(name, "short")))

    head = tag("tr", *(cell("th", name, text(name.replace("_", " "))) for name in names))
    body = [tag("tr", *(cell("td", name, value(row, name)) for name in names)) for row in rows[:most]]
    more = tag("p", f"and {len(rows) - most} more", class_="more") if len(rows) > most else None
    return join(tag("table", tag("thead", head), tag("tbody", *body)), more)


def over_time(rows: Rows, unit: str, size: Size, *, stacked: bool, whole: bool, bars: bool) -> Markup:
    """Return lines, or stacked bars, over time; ``whole`` stacks to 100 %."""
    if not rows:
        return tag("p", "no rows", class_="empty")
    series = _series(rows)
    times = sorted({time for points in series.values() for time in points})
    if whole:
        sums = {time: sum(points.get(time, 0) for points in series.values()) or 1 for time in times}
        series = {
            name: {time: value / sums[time] for time, value in points.items()}
            for name, points in series.items()
        }
        unit = "percentunit"
    tops = [sum(max(points.get(time, 0), 0) for points in series.values()) for time in times]
    values = [value for points in series.values() for value in points.values()]
    high = max(tops) if stacked or whole else max(values)
    scale = _Scale(min(0.0, *values), 1.0 if whole else high, size)
    span = (times[-1] - times[0]).total_seconds() or 1
    gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
    wide = max(1.0, min(gaps, default=span) / span * scale.width * 0.85)

    def across(time: datetime) -> float:
        return _LEFT + (time - times[0]).total_seconds() / span * (scale.width - (wide if bars else 0))

    drawn = [*scale.grid(unit)]
    for time in (times[0], times[len(times) // 2], times[-1]):
        drawn.append(
            tag("text", f"{time:%d %b %H:%M}" if span < 3 * 86_400 else f"{time:%d %b}", class_="axis",
                x=_at(min(across(time), size.width - 44)), y=size.height - 4)
        )  # fmt: skip
    floor = dict.fromkeys(times, 0.0)
    for (_, points), colour in zip(series.items(), COLOURS * 9, strict=False):
        if bars or stacked:
            for time, value in points.items():
                low, high = floor[time], floor[time] + value
                floor[time] = high
                y, y2 = sorted((scale.up(low), scale.up(high)))
                drawn.append(
                    tag(
                        "rect",
                        x=_at(across(time)),
                        y=_at(y),
                        width=_at(wide),
                        height=_at(y2 - y),
                        fill=colour,
                    )
                )
        else:
            path = " ".join(f"{_at(across(time))},{_at(scale.up(points[time]))}" for time in sorted(points))
            drawn.append(tag("polyline", points=path, fill="none", stroke=colour, stroke_width="1.3"))
    return join(_svg(size, drawn), _legend(list(series)))


def bars(rows: Rows, x: str, unit: str, size: Size) -> Markup:
    """Return stacked bars, one for each row."""
    if not rows:
        return tag("p", "no rows", class_="empty")
    names = [name for name in rows[0] if name != x]
    scale = _Scale(0.0, max(float(sum(row[name] or 0 for name in names)) for row in rows), size)
    pitch = scale.width / len(rows)
    drawn = [*scale.grid(unit)]
    for at, row in enumerate(rows):
        floor = 0.0
        for name, colour in zip(names, COLOURS, strict=False):
            value = float(row[name] or 0)
            drawn.append(
                tag(
                    "rect",
                    x=_at(_LEFT + at * pitch + 2),
                    y=_at(scale.up(floor + value)),
                    width=_at(pitch - 4),
                    height=_at(scale.up(floor) - scale.up(floor + value)),
                    fill=colour,
                )
            )
            floor += value
        drawn.append(
            tag("text", str(row[x]), class_="axis", x=_at(_LEFT + at * pitch + 4), y=size.height - 4)
        )
    return join(_svg(size, drawn), _legend(names))


class _Scale:
    """Where a value lies between the bottom and the top of a chart."""

    def __init__(self, low: float, high: float, size: Size) -> None:
        self._low, self._high = low, high if high > low else low + 1
        self._size = size
        self.width = size.width - _LEFT - 6

    def up(self, value: float) -> float:
        room = self._size.height - _TOP - _BOTTOM
        return _TOP + room * (self._high - value) / (self._high - self._low)

    def grid(self, unit: str) -> list[Markup]:
        drawn = []
        for part in range(4):
            value = self._low + (self._high - self._low) * part / 3
            y = self.up(value)
            drawn.append(tag("line", class_="grid", x1=_LEFT, x2=self._size.width, y1=_at(y), y2=_at(y)))
            drawn.append(tag("text", shown(value, unit), class_="axis end", x=_LEFT - 5, y=_at(y + 3)))
        return drawn


def _series(rows: Rows) -> dict[str, dict[datetime, float]]:
    """Return each line's points, the largest line first."""
    found: dict[str, dict[datetime, float]] = {}
    for row in rows:
        if "series" in row:
            values = {row["series"]: row["value"]}
        else:
            values = {name: value for name, value in row.items() if name != "time"}
        for name, value in values.items():
            if value is not None:
                found.setdefault(name, {})[row["time"]] = float(value)
    return dict(sorted(found.items(), key=lambda item: -sum(item[1].values())))


def _legend(names: Sequence[str]) -> Markup:
    entries = [
        tag("span", tag("i", style=f"background: {colour}"), tag("bdi", name[:44]))
        for name, colour in zip(names, COLOURS * 9, strict=False)
    ]
    return tag("p", *entries, class_="legend")


def _svg(size: Size, drawn: Sequence[Markup]) -> Markup:
    box = f"0 0 {size.width} {size.height}"
    return tag("svg", *drawn, viewBox=box, width=size.width, height=size.height, role="img")


def _at(length: float) -> str:
    return f"{length:.1f}"
