"""What a month would have cost otherwise: other prices, more calls on own hardware, more of it.

Everything is computed from the lines of charges_daily with whole nano-dollars and fractions, rounded half to
even once for each line that changes. It is arithmetic over calls that happened: whether another model would
have answered as well is not known here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from farthing.cost.price import half_even
from farthing.money import nano_from_usd
from farthing.simulate.errors import SimulationError

_LINES = """
SELECT
    tier, model, kind, baseline_model, sum(calls), sum(input_tokens), sum(output_tokens), sum(busy_ms),
    coalesce(sum(cost_usd), 0), coalesce(sum(cost_input_usd), 0), coalesce(sum(cost_output_usd), 0),
    coalesce(sum(baseline_usd), 0), sum(unpriced)
FROM charges_daily
WHERE toStartOfMonth(day) = {month:Date}
GROUP BY tier, model, kind, baseline_model
ORDER BY tier, model, kind, baseline_model
"""
_NODES = """
SELECT node, toUnixTimestamp(valid_from), toUnixTimestamp(valid_to), usd_per_hour
FROM hardware_costs FINAL
WHERE tier = 'local'
ORDER BY node, valid_from
"""
_CLOUD = ("fast", "strong")


@dataclass(frozen=True, slots=True)
class Line:
    """Calls of a month that share tier, model, kind and baseline. Money is nano-dollars."""

    tier: str
    model: str
    kind: str
    baseline_model: str
    calls: Fraction
    input_tokens: Fraction
    output_tokens: Fraction
    busy_ms: Fraction
    cost: int
    cost_input: int
    """Uncached input's part of the cost."""
    cost_output: int
    baseline: int
    unpriced: int


@dataclass(frozen=True, slots=True)
class Month:
    """A month's lines, and its own hardware: nodes in hours, and what those cost in nano-dollars."""

    lines: tuple[Line, ...]
    node_hours: Fraction
    hardware: int
    hours: int

    @property
    def models(self) -> int:
        """What the calls cost by their price per token."""
        return sum(line.cost for line in self.lines)

    @property
    def baseline(self) -> int:
        """What the answered calls would have cost at the baseline."""
        return sum(line.baseline for line in self.lines)

    @property
    def total(self) -> int:
        """Models and hardware."""
        return self.models + self.hardware

    @property
    def local_calls(self) -> Fraction:
        """How many calls the local tier ran."""
        return _sum(line.calls for line in self.lines if line.tier == "local")

    @property
    def calls(self) -> Fraction:
        """How many calls there were."""
        return _sum(line.calls for line in self.lines)

    def busy(self, slots: int) -> Fraction | None:
        """Return the share of the hardware's time that local calls took; None without hardware."""
        capacity = self.node_hours * 3_600_000 * slots
        used = _sum(line.busy_ms for line in self.lines if line.tier == "local")
        return used / capacity if capacity else None


def read(client: Any, month: str) -> Month:
    """Read a month (YYYY-MM). Raises SimulationError if there is nothing in it."""
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    rows = client.query(_LINES, parameters={"month": first.date()}).result_rows
    if not rows:
        raise SimulationError(f"there are no charges in {month} in database {client.database!r}")
    lines = tuple(_line(*row) for row in rows)
    nodes = client.query(_NODES).result_rows
    seconds, cost = Fraction(0), Fraction(0)
    for at, (node, begins, ends, usd) in enumerate(nodes):
        # A node's line holds until its end or the node's next line.
        follows = nodes[at + 1][1] if at + 1 < len(nodes) and nodes[at + 1][0] == node else None
        until = min(end for end in (ends, follows, int(after.timestamp())) if end is not None)
        held = max(0, until - max(begins, int(first.timestamp())))
        seconds += held
        cost += Fraction(nano_from_usd(usd) * held, 3600)
    hours = int((after - first).total_seconds()) // 3600
    return Month(lines, seconds / 3600, round(cost), hours)


def route_to_local(month: Month, share: Fraction, tiers: Sequence[str] = _CLOUD) -> Month:
    """Move ``share`` of the answers of ``tiers`` to the local tier, evenly from each line.

    There they cost for each token, and take for each token of output, what the month's local answers did.
    Raises SimulationError if there are none.
    """
    local = [line for line in month.lines if line.tier == "local" and line.kind == "inference"]
    heard, said = (_sum(line.input_tokens for line in local), _sum(line.output_tokens for line in local))
    if not heard or not said:
        raise SimulationError(
            "no call of the month ran on the local tier: nothing tells what one takes there"
        )
    nano_in, nano_out = (
        Fraction(sum(line.cost_input for line in local)) / heard,
        Fraction(sum(line.cost_output for line in local)) / said,
    )
    ms_per_token = _sum(line.busy_ms for line in local) / said
    model = max(local, key=lambda line: line.calls).model
    lines: list[Line] = []
    for line in month.lines:
        if line.tier not in tiers or line.kind != "inference":
            lines.append(line)
            continue
        kept = 1 - share
        moved_in, moved_out = line.input_tokens * share, line.output_tokens * share
        put, out = _whole(moved_in * nano_in), _whole(moved_out * nano_out)
        baseline = _whole(line.baseline * share)
        lines.append(
            replace(
                line, calls=line.calls * kept, input_tokens=line.input_tokens * kept,
                output_tokens=line.output_tokens * kept, busy_ms=line.busy_ms * kept,
                cost=_whole(line.cost * kept), cost_input=_whole(line.cost_input * kept),
                cost_output=_whole(line.cost_output * kept), baseline=line.baseline - baseline,
            )
        )  # fmt: skip
        lines.append(
            Line("local", model, "inference", line.baseline_model, line.calls * share, moved_in, moved_out,
                 moved_out * ms_per_token, put + out, put, out, baseline, 0)
        )  # fmt: skip
    return replace(month, lines=tuple(lines))


def change_price(month: Month, model: str, by: Fraction) -> Month:
    """Multiply what ``model`` costs by ``1 + by``: on its own calls, and where it is the baseline.

    Raises SimulationError if the month has neither.
    """
    if not any(model in (line.model, line.baseline_model) for line in month.lines):
        raise SimulationError(f"no call of the month ran on {model!r}, nor is it the baseline of one")
    return replace(
        month,
        lines=tuple(_repriced(line, model, 1 + by) for line in month.lines),
    )


def add_nodes(month: Month, count: int, usd_per_hour: int | None) -> Month:
    """Add ``count`` nodes (below 0: take away) for the whole month at nano-dollars per hour.

    ``usd_per_hour`` None: at the mean of those there are. Raises SimulationError if there are none, or fewer
    than are taken away.
    """
    hours = Fraction(count * month.hours)
    if month.node_hours + hours < 0:
        raise SimulationError(f"the month has no {-count} nodes to take away")
    if usd_per_hour is not None:
        cost = _whole(hours * usd_per_hour) if count >= 0 else -_whole(-hours * usd_per_hour)
    elif month.node_hours:
        mean = month.hardware / month.node_hours
        cost = _whole(hours * mean) if count >= 0 else -_whole(-hours * mean)
    else:
        raise SimulationError(
            "hardware_costs has no node in this month; say what one costs: --gpu-usd-per-hour"
        )
    return replace(month, node_hours=month.node_hours + hours, hardware=month.hardware + cost)


def _whole(amount: Fraction) -> int:
    return half_even(amount.numerator, amount.denominator)


def _repriced(line: Line, model: str, factor: Fraction) -> Line:
    if line.model == model:
        line = replace(
            line,
            cost=_whole(line.cost * factor),
            cost_input=_whole(line.cost_input * factor),
            cost_output=_whole(line.cost_output * factor),
        )
    if line.baseline_model == model:
        line = replace(line, baseline=_whole(line.baseline * factor))
    return line


def _line(tier: str, model: str, kind: str, baseline_model: str, *numbers: Any) -> Line:
    calls, heard, said, busy, cost, put, out, baseline, unpriced = numbers
    return Line(
        tier, model, kind, baseline_model, Fraction(calls), Fraction(heard), Fraction(said), Fraction(busy),
        nano_from_usd(cost), nano_from_usd(put), nano_from_usd(out), nano_from_usd(baseline), int(unpriced),
    )  # fmt: skip


def _sum(values: Iterable[Fraction]) -> Fraction:
    return sum(values, Fraction(0))
