"""Train and measure the learned answer check: ``python -m bench.routing.train_check --data DIR``.

Writes the artifact beside the package's code and the figures to docs/answer-check.md; the same data give
the same bytes. DIR holds gsm8k.csv.gz: questions, and two models' answers with whether each is right.
"""

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from bench.routing.check_stumps import Stumps, fit
from farthing.grading.check.arithmetic import numbers
from farthing.grading.check.features import NAMES, row
from farthing.grading.check.learned import ARTIFACT, FORMAT, VERSION

ROOT = Path(__file__).resolve().parents[2]
FOLDS = 10
MODELS = {
    "mixtral": ("mixtral_response", "mixtral_8x7b_correct"),
    "gpt4": ("gpt4_response", "gpt4_1106_correct"),
}
"""Models by the name used in the report: columns of their answer and of its being right."""
LEAST_PRECISION = 0.6
"""The threshold doubts as many answers as it can while this share of the doubted is wrong, on average over
the models."""


@dataclass(frozen=True)
class Answers:
    """The answers of one model. ``rows``: features, NaN where the check abstains; ``fold`` goes by question.

    ``misread`` marks answers labelled wrong whose last words hold the right number: the data's labels
    compare the last number of the text alone, whatever it counts.
    """

    rows: np.ndarray
    right: np.ndarray
    misread: np.ndarray
    fold: np.ndarray
    chars: np.ndarray

    @property
    def judged(self) -> np.ndarray:
        """Which answers the check has an opinion of."""
        return ~np.isnan(self.rows[:, 0])


def load(data: Path) -> tuple[list[dict[str, str]], dict[str, Answers]]:
    """Return the table and each model's answers."""
    path = data / "gsm8k.csv.gz"
    path = path if path.exists() else data / "routing" / "gsm8k.csv.gz"
    csv.field_size_limit(sys.maxsize)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    order = np.random.default_rng(0).permutation(len(table))
    fold = np.empty(len(table), dtype=int)
    fold[order] = np.arange(len(table)) % FOLDS
    gold = [_gold(line) for line in table]
    answers = {}
    for model, (said, correct) in MODELS.items():
        found = [row(line["prompt"], line[said]) for line in table]
        right = np.array([line[correct] == "True" for line in table])
        misread = np.array(
            [
                not ok and value is not None and value in numbers(line[said][-150:])
                for line, ok, value in zip(table, right, gold, strict=True)
            ]
        )
        rows = np.array([features or [np.nan] * len(NAMES) for features in found])
        answers[model] = Answers(rows, right, misread, fold, np.array([len(line[said]) for line in table]))
    return table, answers


def _gold(line: dict[str, str]) -> float | None:
    """The right number, as an answer labelled right ends in it; None if neither is."""
    for said, correct in MODELS.values():
        if line[correct] == "True":
            found = numbers(line[said].rsplit("####", 1)[-1][-2000:])
            if found:
                return found[-1]
    return None


def _words(text: str) -> list[str]:
    return text.split()


MAY_ONLY_HURT = _words(
    """false_sums unused_numbers final_elsewhere fraction_of_thing final_rounded long_decimals hedges
    not_operands asked_words_missing ask_words comparisons conditions"""
)
"""Features by which an answer may not seem better the more there is of them."""
SIGNS = dict.fromkeys(MAY_ONLY_HURT, -1) | {"final_from_sum": 1}


def fitted(train: Sequence["Answers"], keep: Callable[["Answers"], np.ndarray]) -> Stumps:
    """Fit on several models' answers, uncalibrated; how good each model is goes into the offset."""
    kept = [keep(one) & one.judged & ~one.misread for one in train]
    odds = [
        np.log(one.right[at].mean() / (1 - one.right[at].mean())) for one, at in zip(train, kept, strict=True)
    ]
    return fit(
        np.concatenate([one.rows[at] for one, at in zip(train, kept, strict=True)]),
        np.concatenate([one.right[at] for one, at in zip(train, kept, strict=True)]),
        np.ones(sum(int(at.sum()) for at in kept)),
        np.concatenate([np.full(int(at.sum()), odd) for at, odd in zip(kept, odds, strict=True)]),
        SIGNS,
    )


def calibrated(model: Stumps, scores: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> Stumps:
    """Return ``model`` with the logistic that fits scores of answers it was not fitted on.

    ``scores`` and ``right`` are by model; each weighs the same, so that the calibration is for a model as
    good as those of the data on average.
    """
    weight = np.concatenate([np.full(len(one), 1 / len(one)) for one in scores])
    logistic = LogisticRegression(C=1e6).fit(
        np.concatenate(scores).reshape(-1, 1), np.concatenate(right), sample_weight=weight / weight.mean()
    )
    slope, intercept = float(logistic.coef_[0, 0]), float(logistic.intercept_[0])
    return Stumps(model.shapes, model.base, round(slope, 5), round(intercept, 5))


def out_of_fold(train: Sequence[Answers], test: Answers) -> np.ndarray:
    """Return each test answer's probability by a model that saw no answer to its question; NaN: abstained.

    The model is calibrated on scores of folds that it was not fitted on either.
    """
    found = np.full(len(test.right), np.nan)
    for fold in range(FOLDS):
        inner = (fold + 1) % FOLDS
        model = fitted(train, lambda one: (one.fold != fold) & (one.fold != inner))  # noqa: B023
        model = calibrated(model, *_scores(model, train, inner))
        at = (test.fold == fold) & test.judged
        found[at] = model.probability(test.rows[at])
    return found


def _scores(model: Stumps, train: Sequence[Answers], fold: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    kept = [(one.fold == fold) & one.judged & ~one.misread for one in train]
    return (
        [model.score(one.rows[at]) for one, at in zip(train, kept, strict=True)],
        [one.right[at] for one, at in zip(train, kept, strict=True)],
    )


def train(answers: dict[str, Answers]) -> Stumps:
    """Fit on all answers; calibrate on out-of-fold scores."""
    every = list(answers.values())
    scores: list[list[np.ndarray]] = [[] for _ in every]
    labels: list[list[np.ndarray]] = [[] for _ in every]
    for fold in range(FOLDS):
        model = fitted(every, lambda one: one.fold != fold)  # noqa: B023
        for place, (score, right) in enumerate(zip(*_scores(model, every, fold), strict=True)):
            scores[place].append(score)
            labels[place].append(right)
    model = fitted(every, lambda one: np.ones(len(one.right), dtype=bool))
    return calibrated(model, [np.concatenate(s) for s in scores], [np.concatenate(y) for y in labels])


def operating_points(probability: np.ndarray, right: np.ndarray) -> list[tuple[float, float, float, float]]:
    """Return (threshold, share doubted, precision, recall) of doubting, for thresholds 0.05…0.95."""
    points = []
    for threshold in np.arange(0.05, 0.96, 0.05):
        doubted = probability < threshold
        if doubted.any():
            wrong = ~right[doubted]
            points.append(
                (
                    round(float(threshold), 2),
                    doubted.mean(),
                    wrong.mean(),
                    wrong.sum() / max(1, (~right).sum()),
                )
            )
    return points


def pick_threshold(by_model: Sequence[Sequence[tuple[float, float, float, float]]]) -> float:
    """Return the highest threshold at which the doubted are wrong often enough."""
    precisions: dict[float, list[float]] = {}
    for points in by_model:
        for threshold, _, precision, _ in points:
            precisions.setdefault(threshold, []).append(precision)
    good = [at for at, found in precisions.items() if np.mean(found) >= LEAST_PRECISION]
    return max(good, default=min(precisions))


def ece(probability: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Return the expected calibration error over ``bins`` equal groups by probability."""
    order = np.argsort(probability, kind="stable")
    groups = np.array_split(order, bins)
    gaps = [abs(probability[g].mean() - right[g].mean()) * len(g) for g in groups]
    return float(sum(gaps) / len(order))


def auc(score: np.ndarray, right: np.ndarray) -> tuple[float, float, float]:
    """Return the area under the ROC curve with the 95 % range of 500 bootstrap samples."""
    random = np.random.default_rng(0)
    samples = []
    for _ in range(500):
        at = random.integers(0, len(right), len(right))
        if 0 < right[at].sum() < len(at):
            samples.append(roc_auc_score(right[at], score[at]))
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(roc_auc_score(right, score)), float(low), float(high)


def measure(answers: dict[str, Answers]) -> tuple[list[str], dict[str, np.ndarray], float]:
    """Return the report's tables, the out-of-fold probabilities by case, and the threshold."""
    every = list(answers.values())
    cases: dict[str, tuple[Sequence[Answers], Answers]] = {}
    for name in MODELS:
        cases[f"both → {name}, other questions"] = (every, answers[name])
    for name, other in (("mixtral", "gpt4"), ("gpt4", "mixtral")):
        cases[f"{name} → {other}, other questions"] = ([answers[name]], answers[other])
    lines = [
        "| trained on → tested on | answers | AUC | AUC without misread labels | length | random | ECE |",
        "|---|---|---|---|---|---|---|",
    ]
    found = {}
    for case, (fitted_on, test) in cases.items():
        probability = found[case] = out_of_fold(fitted_on, test)
        at = test.judged
        sure = at & ~test.misread
        area, low, high = auc(probability[at], test.right[at])
        cleaned, clow, chigh = auc(probability[sure], test.right[sure])
        length = auc(-test.chars[at].astype(float), test.right[at])[0]
        chance = auc(np.random.default_rng(1).random(at.sum()), test.right[at])[0]
        lines.append(
            f"| {case} | {at.sum()} | {area:.3f} ({low:.3f}–{high:.3f})"
            f" | {cleaned:.3f} ({clow:.3f}–{chigh:.3f})"
            f" | {length:.3f} | {chance:.3f} | {ece(probability[at], test.right[at]):.3f} |"
        )
    threshold = pick_threshold(
        [
            operating_points(found[f"both → {name}, other questions"][one.judged], one.right[one.judged])
            for name, one in answers.items()
        ]
    )
    for case in found:
        test = cases[case][1]
        lines += [
            "",
            f"Doubting, {case} ({1 - test.right[test.judged].mean():.0%} of the answers are wrong):",
            "",
        ]
        lines += [
            "| doubted below | share doubted | of these wrong (precision) | of the wrong doubted (recall) |"
        ]
        lines += ["|---|---|---|---|"]
        for at, share, precision, recall in operating_points(
            found[case][test.judged], test.right[test.judged]
        ):
            mark = "**" if at == threshold else ""
            if round(at * 100) % 10 == 0 or mark:
                lines.append(f"| {mark}{at:.2f}{mark} | {share:.1%} | {precision:.1%} | {recall:.1%} |")
    return lines, found, threshold


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the artifact and the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the routing data")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "answer-check.md")
    parser.add_argument(
        "--artifact", type=Path, default=ROOT / "plugin" / "farthing" / "grading" / "check" / ARTIFACT
    )
    options = parser.parse_args(arguments)
    table, answers = load(options.data)
    lines, found, threshold = measure(answers)
    model = train(answers)
    tested = answers["mixtral"]
    probability = found["both → mixtral, other questions"][tested.judged]
    points = {p[0]: p[1:] for p in operating_points(probability, tested.right[tested.judged])}
    content = {
        "format": FORMAT,
        "version": VERSION,
        "trained_on": "lm-sys/RouteLLM @ 0b64fdaf, GSM8K answers of two models (Apache-2.0; MIT)",
        "features": list(NAMES),
        "base": model.base,
        "shapes": {name: {"cuts": cuts, "values": values} for name, (cuts, values) in model.shapes.items()},
        "calibration": {"slope": model.slope, "intercept": model.intercept},
        "threshold": threshold,
        "measured": {
            "tested_on": "mixtral-8x7b, questions not trained on",
            "auc": round(auc(probability, tested.right[tested.judged])[0], 4),
            "ece": round(ece(probability, tested.right[tested.judged]), 4),
            "at_threshold": {
                name: round(float(value), 4)
                for name, value in zip(("doubted", "precision", "recall"), points[threshold], strict=True)
            },
        },
    }
    options.artifact.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    lines += ["", "What checking and climbing save: [routing.md](routing.md#check-and-climb)."]
    options.docs.write_text(_report(lines, table, answers, threshold), encoding="utf-8")
    print(f"wrote {options.artifact} and {options.docs}")


def _report(
    lines: Sequence[str], table: Sequence[object], answers: dict[str, Answers], threshold: float
) -> str:
    counts = "\n".join(
        f"- {name}: {one.right.mean():.1%} labelled right, {one.judged.mean():.1%} judged; of"
        f" {(~one.right).sum()} labelled wrong, {one.misread.sum()} end in the right number all the same."
        for name, one in answers.items()
    )
    return "\n".join([_HEAD.format(questions=len(table), counts=counts, threshold=threshold), *lines, ""])


_HEAD = """# The answer check

Made by `python -m bench.routing.train_check --data DIR`; do not edit.

Before a cheap answer goes back, it is checked. The plain checks come first; each has no opinion where it
cannot be sure, since a false alarm costs a strong call.

| failure | what is checked |
|---|---|
| `empty` | neither text nor a tool call |
| `refusal` | marked by the model, stopped by a content filter, or refused in so many words at the start, \
in 13 languages; not where the client asked for such a text, or its system text says when to refuse |
| `cut_off` | ended by a limit of tokens that is not the client's own |
| `invalid_json`, `schema` | the API's JSON setting; a schema is checked within limits of size, steps and \
time, and nothing it names is fetched |
| `unknown_tool`, `tool_arguments` | the call was offered and allowed; its arguments keep their schema |
| `format` | a required tool call is missing; or, asked for in words: only a number, one word, yes or no, \
one letter, so many words, sentences or points, JSON, a code block, a language of another script |
| `repetition` | the end is a loop (the last 6 000 characters are read) |
| `low_probability` | geometric mean of the token probabilities below 0.4, where they are reported |
| `doubtful` | the learned check, below |

Of a stream's beginning only that is checked which nothing after it can mend: JSON begun as prose, a plain
refusal, an unknown tool, a loop, too many words for the format.

An answer of 1 MB takes tens of milliseconds at most, a usual one less than one; a schema that takes longer
than 0.05 s is given up.

## The learned check

The learned check says how likely a worked answer to a question of quantities is right, from the question
and the answer alone, in about a millisecond: are the sums true, are the given numbers used, does it
end in one answer of the kind asked for, and how hard is the question. It
abstains on everything else (no opinion, never a guess): other questions, later turns, choices, code, tools,
JSON, and answers that were cut off.

Data: {questions} GSM8K questions, each answered by two models (lm-sys/RouteLLM @ 0b64fdaf).

{counts}

The labels compare the last number of a text, whatever it counts, so an answer that ends "… $24 for all 6"
is labelled wrong. Where another answer shows the right number and the last 150 characters hold it, the
label is *misread*: left out of training; the tables give the figures with and without.

Every figure is out of fold: ten folds by question, fitted and calibrated without any answer to the
questions tested. In the transfer rows the model tested is one whose answers were never seen. The
probability is for a model that is as often right as the two of the data on average: of a weaker one the
answers are doubted too seldom, of a stronger one too often, which the ECE shows; the order (AUC) is not
touched by it. The features were chosen, and those that gave nothing dropped, on these same data, so other
sources may show less. The threshold {threshold:.2f} (bold) is the highest of the 0.05 steps at which
{LEAST:.0%} of the doubted answers are wrong, on average over the two models.

""".replace("{LEAST:.0%}", f"{LEAST_PRECISION:.0%}")


if __name__ == "__main__":
    main()
