"""docs/context-bench.md: one table of measures beside their peers and aims, then each measure in detail."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path

from bench.context import latency, locomo, money, tau

OURS = "Farthing"


@dataclass(frozen=True, slots=True)
class Line:
    """A measure. ``beside`` is what the peers reached in the same run."""

    measure: str
    beside: str
    ours: str
    aim: str


def page(data: Path) -> str:
    """Measure everything and return the page. Raises DataError."""
    kept, facts, bills, times = locomo.rows(data), tau.rows(data), money.measure(data), latency.rows(data)
    lines = [*_locomo(kept), _tau(facts), *_money(bills), _latency(times)]
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    return "\n".join(
        [
            "# Shorter histories, measured",
            "",
            f"Made by `python -m bench.context --data DIR --report FILE` in one run ({machine}). The data",
            "(LoCoMo, CC BY-NC 4.0; tau-bench, MIT) stays outside the repository.",
            "",
            "| measure | beside | Farthing | aim |",
            "|---|---|---|---|",
            *(f"| {line.measure} | {line.beside} | **{line.ours}** | {line.aim} |" for line in lines),
            "",
            *_section("LoCoMo: evidence that is still there", _about(locomo), locomo.markdown(kept)),
            *_section("tau-bench: facts that are still there", _about(tau), tau.markdown(facts)),
            *_section("Money over whole conversations", money.METHOD, money.markdown(bills)),
            *_section("Latency on the request's way", latency.METHOD, latency.markdown(times)),
        ]
    )


def _about(module: object) -> str:
    """What a module says of its method: its docstring, less the line that tells how to run it alone."""
    return cleandoc(module.__doc__ or "").split("\n\nRun:")[0]


def _section(title: str, method: str, details: str) -> list[str]:
    return [f"## {title}", "", method, "", details, ""]


def _locomo(rows: Sequence[locomo.Row]) -> list[Line]:
    aims = {0.1: "≥ 90 %", 0.2: "≥ 95 %"}
    lines = []
    for share, aim in aims.items():
        beside, ours = _split([(row.name, row.questions) for row in rows if row.share == share], _percent)
        lines.append(
            Line(f"LoCoMo: questions with all evidence, at {share:.0%} of the tokens", beside, ours, aim)
        )
    return lines


def _tau(rows: Sequence[tau.Row]) -> Line:
    beside, ours = _split([(row.name, row.kept["all"]) for row in rows], _percent)
    return Line(f"tau-bench: facts used later, at {tau.SHARE:.0%} of the tokens", beside, ours, "≥ 99 %")


def _money(result: money.Result) -> list[Line]:
    lines = []
    for writer, bills in result.bills.items():
        cells = money.worst(bills)
        dearer = sum(share > 1 for share, _ in cells)
        lines.append(
            Line(
                f"money: cells dearer than the best of never, always and window; summaries by {writer}",
                "0 (the best is chosen afterwards)",
                f"{dearer} of {len(cells)}, at worst {cells[0][0] - 1:.1%} ({cells[0][1]})",
                "0",
            )
        )
        for label, turns, aim in (("no cache", 60, "≥ 50 %"), ("0.1×", 60, "≥ 20 %")):
            shares = {
                name: money.saved(bills, label, turns, name)
                for name in (*money.OTHERS, OURS)
                if name != "never"
            }
            beside, ours = _split([(name, mean) for name, (_, mean) in shares.items()], _percent)
            lines.append(
                Line(
                    f"money: mean saved on {turns} turns and more, {label}; summaries by {writer}",
                    beside,
                    f"{ours} (least: {shares[OURS][0]:.1%})",
                    aim,
                )
            )
    return lines


def _latency(rows: Sequence[latency.Row]) -> Line:
    beside, ours = _split([(row.name, row.p50) for row in rows], lambda p50: f"{p50:.1f} ms")
    return Line("added latency, 200 messages, 50,000 tokens, p50", beside, ours, "< 5 ms")


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _split(rows: Sequence[tuple[str, float]], written: Callable[[float], str]) -> tuple[str, str]:
    """Return what the others reached, named, and what Farthing did."""
    others = ", ".join(f"{name} {written(value)}" for name, value in rows if not name.startswith(OURS))
    mine = [(name.removeprefix(OURS).lstrip(", "), value) for name, value in rows if name.startswith(OURS)]
    return others, ", ".join(f"{name} {written(value)}".strip() for name, value in mine)
