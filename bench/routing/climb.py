"""Check and climb on GSM8K: ``python -m bench.routing.climb --data DIR``.

Every question goes to the cheap model (Mixtral 8x7B); the answers that are doubted are asked again of the
strong one (GPT-4). A climbed question costs both calls. Doubt comes out of fold: no model is fitted, and
no threshold set, on an answer to the questions it is tried on.
"""

import argparse
import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from bench.routing.data import load as load_sources
from bench.routing.data import own_prompts
from bench.routing.fit import fit, sheet
from bench.routing.train import TRAINED_ON, scores
from bench.routing.train_check import FOLDS, Answers, load, out_of_fold
from farthing.embedding import Embedder

TARGETS = (0.99, 0.95)
"""Shares of the strong model's quality to keep."""
SAME_QUESTIONS = "zeroeval_gsm"
"""The grader's source with the questions of GSM8K."""
CHEAP, STRONG = "mistralai/mixtral-8x7b-chat", "gpt-4-1106-preview"


@dataclass(frozen=True)
class ClimbRow:
    """One policy at one target. ``saved``: share of the strong model's cost; ``kept``: of its quality."""

    policy: str
    target: float
    saved: float
    kept: float
    climbed: float


def price_ratio(data: Path) -> float:
    """Return the cheap model's cost per call over the strong one's, by RouterBench's cost columns (ARC)."""
    with gzip.open(
        _folder(data) / "routerbench_arc_challenge.csv.gz", "rt", encoding="utf-8", newline=""
    ) as file:
        costs = [
            (float(line[f"{CHEAP}|total_cost"]), float(line[f"{STRONG}|total_cost"]))
            for line in csv.DictReader(file)
            if line[f"{CHEAP}|total_cost"] and line[f"{STRONG}|total_cost"]
        ]
    cheap, strong = np.sum(costs, axis=0)
    return float(cheap / strong)


def climb_rows(data: Path, grades: Sequence[float] | None = None) -> list[ClimbRow]:
    """Return what each policy saves and keeps, for the table.

    ``grades`` are scores of the questions, in the file's order, that rise with difficulty and were made
    without these questions; with them there are rows for the grade alone and for grade and check.
    """
    table, answers = load(data)
    cheap, strong = answers["mixtral"], answers["gpt4"]
    ratio = price_ratio(data)
    check = _filled(out_of_fold([cheap, strong], cheap), cheap)
    transfer = _filled(out_of_fold([strong], cheap), cheap)
    policies: dict[str, np.ndarray] = {
        "random check": np.random.default_rng(0).random(len(table)),
        "answer length": -cheap.chars.astype(float),
        "learned check, trained on GPT-4's answers only": transfer,
        "learned check": check,
    }
    if grades is not None:
        ease = -np.asarray(grades, dtype=float)
        policies["grade alone (routes beforehand)"] = ease
        policies["grade and learned check"] = _joined(np.column_stack([ease, _odds(check)]), cheap)
    # Of the equally sure, any part may be asked again: chance decides which.
    part = np.random.default_rng(1).random(len(table)) / 2
    policies["perfect check (doubts what is wrong)"] = cheap.right + part
    policies["oracle (doubts what asking again mends)"] = cheap.right.astype(float) - strong.right + part
    rows = [_outcome("no check (all cheap)", 0.0, np.zeros(len(table), dtype=bool), cheap, strong, ratio)]
    for name, sureness in policies.items():
        for target in TARGETS:
            doubted = _doubted(sureness, cheap, strong, target)
            rows.append(
                _outcome(name, target, doubted, cheap, strong, ratio, asked=not name.startswith("grade al"))
            )
    return rows


def _filled(probability: np.ndarray, cheap: Answers) -> np.ndarray:
    """Give answers without an opinion the rate at which such answers of other folds are right."""
    filled = probability.copy()
    silent = np.isnan(probability)
    for fold in range(FOLDS):
        at = cheap.fold == fold
        filled[at & silent] = cheap.right[~at & silent].mean() if (~at & silent).any() else 0.5
    return filled


def _odds(probability: np.ndarray) -> np.ndarray:
    clipped = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(clipped / (1 - clipped))


def _joined(features: np.ndarray, cheap: Answers) -> np.ndarray:
    """Join grade and check by a logistic fitted on the other folds."""
    found = np.empty(len(features))
    for fold in range(FOLDS):
        at = cheap.fold == fold
        mean, spread = features[~at].mean(axis=0), features[~at].std(axis=0) + 1e-9
        logistic = LogisticRegression().fit((features[~at] - mean) / spread, cheap.right[~at])
        found[at] = logistic.predict_proba((features[at] - mean) / spread)[:, 1]
    return found


def _doubted(sureness: np.ndarray, cheap: Answers, strong: Answers, target: float) -> np.ndarray:
    """Return which answers are doubted, by thresholds frozen on the other folds."""
    doubted = np.zeros(len(sureness), dtype=bool)
    for fold in range(FOLDS):
        at = cheap.fold == fold
        order = np.argsort(sureness[~at], kind="stable")
        gain = strong.right[~at][order].astype(int) - cheap.right[~at][order].astype(int)
        quality = cheap.right[~at].sum() + np.concatenate([[0], np.cumsum(gain)])
        enough = quality >= target * strong.right[~at].sum()
        count = int(np.argmax(enough)) if enough.any() else len(order)
        limit = sureness[~at][order][count - 1] if count else -np.inf
        doubted[at] = sureness[at] <= limit
    return doubted


def _outcome(
    policy: str,
    target: float,
    doubted: np.ndarray,
    cheap: Answers,
    strong: Answers,
    ratio: float,
    asked: bool = True,
) -> ClimbRow:
    """Count cost and quality. ``asked``: the doubted were asked of the cheap model before."""
    right = np.where(doubted, strong.right, cheap.right)
    cost = (ratio if asked else ratio * float(np.mean(~doubted))) + float(doubted.mean())
    return ClimbRow(
        policy, target, 1 - cost, float(right.mean() / strong.right.mean()), float(doubted.mean())
    )


def _folder(data: Path) -> Path:
    return data if (data / "gsm8k.csv.gz").exists() else data / "routing"


def markdown(rows: Sequence[ClimbRow], ratio: float) -> str:
    """Return the rows as a table."""
    lines = [
        "GSM8K: every question goes to Mixtral 8x7B, the doubted answers are asked again of GPT-4. Both"
        f" calls are paid for; a cheap one costs {ratio:.1%} of a strong one (RouterBench's costs on ARC). "
        "Thresholds are frozen on nine tenths of the questions and tried on the last, so the quality kept may"
        " fall a little short; the grader saw no GSM8K question.",
        "",
        "| policy | to keep | cost saved | quality kept | asked again |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        target = f"{row.target:.0%}" if row.target else "–"
        lines.append(f"| {row.policy} | {target} | {row.saved:.1%} | {row.kept:.1%} | {row.climbed:.1%} |")
    return "\n".join(lines)


def report(data: Path) -> str:
    """Return the table of `climb_rows`, with a line on how it is made."""
    return markdown(climb_rows(data, held_out_grades(data)), price_ratio(data))


def held_out_grades(data: Path) -> Sequence[float]:
    """Return the learned grader's scores of the questions, by a model fitted on the other sources alone."""
    embedder = Embedder.load()
    sources = {source.name: source for source in load_sources(_folder(data))}
    sheets = [sheet(sources[name], embedder) for name in TRAINED_ON if name != SAME_QUESTIONS]
    model = fit(sheets, sheet(own_prompts(), embedder), embedder)
    return [float(score) for score in scores(model, sheet(sources["gsm8k"], embedder))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the routing data")
    options = parser.parse_args(arguments)
    print(report(options.data))


if __name__ == "__main__":
    main()
