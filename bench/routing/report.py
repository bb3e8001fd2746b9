"""docs/grader.md: the hand-written part (grader_report.md) with the figures of a training run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.routing.calibrate import EVERYDAY
from bench.routing.data import Floats, Source
from bench.routing.fit import PRIOR
from bench.routing.metrics import apgr, interval
from farthing.grading.learned.calibration import Calibration
from farthing.grading.learned.features import NAMES
from farthing.grading.learned.model import Model

TEMPLATE = Path(__file__).with_name("grader_report.md")
LICENCES = {
    "mmlu": "lm-sys/RouteLLM @ 0b64fdaf, Apache-2.0 (MMLU: MIT)",
    "gsm8k": "lm-sys/RouteLLM @ 0b64fdaf, Apache-2.0 (GSM8K: MIT)",
    "zeroeval_gsm": "WildEval/ZeroEval @ 8c1485ed, Apache-2.0",
    "numersense": "WildEval/ZeroEval @ 8c1485ed, Apache-2.0",
    "arc_challenge": "withmartian/routerbench, MIT, as split by RouterDC @ 0e63989c",
    "winogrande": "withmartian/routerbench, MIT, as split by RouterDC @ 0e63989c",
    "bfcl": "HuanzhiMao/BFCL-Result @ b4adfc9b, Apache-2.0",
    "own": "ours, Apache-2.0",
}


def metrics(scored: Sequence[tuple[Source, Floats]]) -> dict[str, dict[str, list[float]]]:
    """Return per source and pair the APGR and its interval, rounded."""
    return {
        source.name: {
            name: [round(apgr(score, b - a), 3), *(round(v, 3) for v in interval(score, b - a))]
            for name, (a, b) in source.pairs.items()
        }
        for source, score in scored
        if source.pairs
    }


def about(scored: Sequence[tuple[Source, Floats]], trained: Sequence[str]) -> dict[str, object]:
    """Return what the artifact says of itself."""
    return {
        "command": "python -m bench.routing.train --data DIR",
        "sources": {
            source.name: {
                "rows": len(source),
                "from": LICENCES[source.name],
                "trained_on": source.name in (*trained, "own"),
            }
            for source, _ in scored
        },
        "metrics": {"apgr, source left out": metrics(scored)},
        "calibration": f"out of fold; {EVERYDAY:.0%} own prompts with assumed outcomes, public sources alike",
        "licence": "Apache-2.0",
    }


def page(model: Model, table: Calibration, scored: Sequence[tuple[Source, Floats]]) -> str:
    """Return the text of docs/grader.md."""
    return TEMPLATE.read_text("utf-8").format(
        sources=_sources(scored),
        everyday=f"{EVERYDAY:.0%}",
        calibration=_calibration(table, scored),
        weights=_weights(model),
        metrics=_metrics(metrics(scored)),
    )


def _sources(scored: Sequence[tuple[Source, Floats]]) -> str:
    lines = ["| source | prompts | groups | local | fast | strong | from |", "|---|---|---|---|---|---|---|"]
    for s, _ in scored:
        means = (
            ["–"] * 3 if s.levels is not None else [f"{x.mean():.3f}" for x in (s.local, s.fast, s.strong)]
        )
        lines.append(
            f"| {s.name} | {len(s)} | {len(set(s.groups))} | {' | '.join(means)} | {LICENCES[s.name]} |"
        )
    return "\n".join(lines)


def _calibration(table: Calibration, scored: Sequence[tuple[Source, Floats]]) -> str:
    names = [source.name for source, _ in scored]
    lines = [
        f"| quality | MEDIUM from | HIGH from | {' | '.join(f'{name}: LOW / HIGH' for name in names)} |",
        "|---" * (3 + len(names)) + "|",
    ]
    for quality, medium, high in table.rows:
        shares = [f"{np.mean(score < medium):.0%} / {np.mean(score >= high):.0%}" for _, score in scored]
        lines.append(f"| {quality:.3f} | {medium:.3f} | {high:.3f} | {' | '.join(shares)} |")
    return "\n".join(lines)


def _weights(model: Model) -> str:
    lines = ["| measure | prior | fitted (per scale) | usual | scale |", "|---|---|---|---|---|"]
    for i, name in enumerate(NAMES):
        if model.weights[i]:
            prior = f"{PRIOR[name]:.3f}" if name in PRIOR else "set by hand"
            lines.append(
                f"| {name} | {prior} | {model.weights[i]:.3f} | {model.usual[i]:.2f} | {model.scale[i]:.2f} |"
            )
    trees = f"{len(model.forest.roots)} trees, {len(model.forest.value)} nodes, depth {model.forest.depth}"
    return "\n".join([*lines, "", f"Forest: {trees}. Slope {model.slope:.3f}, offset {model.offset:.3f}."])


def _metrics(found: Mapping[str, Mapping[str, list[float]]]) -> str:
    lines = ["| source left out | pair | APGR | 95 % interval |", "|---|---|---|---|"]
    for source, pairs in found.items():
        for name, (value, low, high) in pairs.items():
            lines.append(f"| {source} | {name} | {value:.3f} | {low:.3f}–{high:.3f} |")
    return "\n".join(lines)
