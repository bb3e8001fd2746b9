"""Trains the learned grader: python -m bench.routing.train --data DIR."""

import argparse
import sys
from pathlib import Path

import numpy as np

from bench.routing import report
from bench.routing.calibrate import calibrate
from bench.routing.data import ENVIRONMENT, DataError, Floats, Source, folder, load, own_prompts
from bench.routing.fit import Sheet, fit, sheet, totals
from farthing.embedding import Embedder
from farthing.grading.learned import artifact
from farthing.grading.learned.model import CEILING, Model

REPORT = Path(__file__).parents[2] / "docs" / "grader.md"
TRAINED_ON = ("mmlu", "zeroeval_gsm", "numersense", "arc_challenge", "winogrande", "bfcl")
"""gsm8k holds the prompts of zeroeval_gsm: it is measured, never trained on beside it."""


def scores(model: Model, read: Sheet) -> Floats:
    """Return the score of each prompt of a sheet."""
    return np.array([model.score(total) for total in totals(model, read.readings)])


def out_of_fold(sheets: dict[str, Sheet], own: Sheet, embedder: Embedder) -> list[tuple[Source, Floats]]:
    """Score each source by a model that never saw it; our own prompts by levels' halves."""
    scored = []
    for name in TRAINED_ON:
        model = fit([sheets[other] for other in TRAINED_ON if other != name], own, embedder)
        scored.append((sheets[name].source, scores(model, sheets[name])))
    half = np.arange(len(own.readings)) % 2 == 0
    found = np.zeros(len(half))
    for part in (half, ~half):
        model = fit([sheets[name] for name in TRAINED_ON], own.part(part), embedder)
        found[~part] = scores(model, own.part(~part))
    return [*scored, (own.source, found)]


def main(arguments: list[str] | None = None) -> int:
    """Train, write the artifact and the report."""
    parser = argparse.ArgumentParser("python -m bench.routing.train", description=__doc__)
    parser.add_argument("--data", type=Path, help=f"folder of the routing data (default: ${ENVIRONMENT})")
    parser.add_argument("--artifact", type=Path, default=artifact.SHIPPED, help="where the artifact goes")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the training report goes")
    chosen = parser.parse_args(arguments)
    try:
        data = folder(chosen.data)
        embedder = Embedder.load()
        sheets = {source.name: sheet(source, embedder) for source in load(data)}
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    own = sheet(own_prompts(), embedder)
    model = fit([sheets[name] for name in TRAINED_ON], own, embedder)
    found = out_of_fold(sheets, own, embedder)
    table = calibrate(found, model.score(CEILING) + 0.005)
    artifact.write(chosen.artifact, model, table, report.about(found, TRAINED_ON))
    chosen.report.write_text(report.page(model, table, found), "utf-8")
    for row in table.rows:
        print(*(f"{value:.3f}" for value in row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
