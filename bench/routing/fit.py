"""Fits the learned grader to outcomes: used by train (all sources) and by the benchmark (all but one)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from bench.routing.data import Floats, Source
from farthing.embedding import Embedder
from farthing.grading.learned.features import INDEX, NAMES, Reader, Reading
from farthing.grading.learned.model import OPTIONS, Forest, Model, standard

PRIOR = {
    "words": 0.03, "asks": 0.10, "also": 0.10, "again": 0.07, "quantifiers": 0.06, "names": 0.02,
    "option_likeness": 0.08, "option_sharing": 0.05, "decimals": 0.08, "demand": 0.24, "reasoning": 0.015,
    "symbols": 0.01,
}  # fmt: skip
"""What we believe before seeing outcomes: each of these makes a task harder, by so much per scale."""
STATE = {
    "loop": 0.12, "errors": 0.12, "turns": 0.04, "context": 0.06, "system": 0.01, "structured": 0.08,
}  # fmt: skip
"""What no public outcome tells: our judgement, per unit of the measure."""
LEVELS = {"mmlu": 0.45, "gsm8k": 0.45, "zeroeval_gsm": 0.45, "numersense": 0.3, "arc_challenge": 0.4,
          "winogrande": 0.4, "bfcl": 0.35}  # fmt: skip
"""The level of a source's vocabulary beside that of our own prompts."""
SHRINK = 20.0
FAILURE_SHARE = 0.3
EXPERT_FAILURE_SHARE = 0.05
EXPERT_LIMIT = 0.8
TRUST = 1.5
VOCABULARY_WEIGHT = 1.0
RIDGE = 3.0


@dataclass(frozen=True, slots=True)
class Sheet:
    """One source, read: a row of measures and the tokens per prompt."""

    source: Source
    readings: Sequence[Reading]
    values: Floats

    def part(self, rows: NDArray[np.bool_]) -> "Sheet":
        """Return the sheet of some rows."""
        at = np.flatnonzero(rows)
        s = self.source
        pairs = {name: (a[at], b[at]) for name, (a, b) in s.pairs.items()}
        source = Source(
            s.name,
            [s.tasks[i] for i in at],
            s.groups[at],
            s.local[at],
            s.fast[at],
            s.strong[at],
            pairs,
            [s.prompts[i] for i in at],
            None if s.levels is None else s.levels[at],
        )
        return Sheet(source, [self.readings[i] for i in at], self.values[at])


def sheet(source: Source, embedder: Embedder) -> Sheet:
    """Read every task of a source."""
    reader = Reader(embedder)
    readings = [reader.read(task) for task in source.tasks]
    return Sheet(source, readings, np.array([reading.values for reading in readings]))


def fit(sheets: Sequence[Sheet], own: Sheet, embedder: Embedder, trees: int = 80) -> Model:
    """Return the model fitted to the outcomes of ``sheets`` and the levels of our ``own`` prompts."""
    values = np.vstack([s.values for s in sheets])
    usual = values.mean(axis=0)
    scale = np.maximum(values.std(axis=0), 0.4)
    asked = values[values[:, INDEX["options"]] >= 2][:, OPTIONS]
    if len(asked):
        usual[OPTIONS], scale[OPTIONS] = asked.mean(axis=0), np.maximum(asked.std(axis=0), 0.1)
    for name in STATE:
        usual[INDEX[name]], scale[INDEX[name]] = 0.0, 1.0
    weights, slope = _weights(sheets, usual, scale)
    for name, value in STATE.items():
        weights[INDEX[name]] = value
    forest = _forest(sheets, weights * slope, usual, scale, trees)
    levels = _levels(sheets, own, embedder)
    model = Model(usual, scale, weights, levels, _scaled(forest, 1 / slope), EXPERT_LIMIT, 1.0, 0.0)
    return _calibrated(model, sheets, own)


def totals(model: Model, readings: Sequence[Reading]) -> Floats:
    """Return the sum of parts of each reading."""
    return np.array([model.total(model.parts(reading)) for reading in readings])


def _target(source: Source, failures: float) -> Floats:
    return source.gain + failures * (1 - source.local)


def _weights(sheets: Sequence[Sheet], usual: Floats, scale: Floats) -> tuple[Floats, float]:
    """Ridge towards PRIOR, never below zero, on targets and measures centred in each source."""
    names = list(PRIOR)
    columns = [INDEX[name] for name in names]
    prior = np.array([PRIOR[name] for name in names])
    gram = np.zeros((len(names), len(names)))
    moment = np.zeros(len(names))
    slopes: list[tuple[float, float]] = []
    for s in sheets:
        z = standard(s.values, usual, scale)[:, columns]
        y = _target(s.source, FAILURE_SHARE)
        z, y = z - z.mean(axis=0), y - y.mean()
        base = z @ prior
        slopes.append((float(base @ y) / len(y), float(base @ base) / len(y)))
        y = y / max(1e-9, y.std()) * base.std()  # every source speaks as loudly, on the prior's scale
        gram += z.T @ z / len(y)
        moment += z.T @ y / len(y)
    shrink = SHRINK * len(sheets)
    weights = prior.copy()
    diagonal = np.diag(gram) + shrink
    moment = moment + shrink * prior
    for _ in range(200):  # coordinate descent of a non-negative ridge
        for i in range(len(names)):
            rest = gram[i] @ weights - gram[i, i] * weights[i]
            weights[i] = max(0.0, (moment[i] - rest) / diagonal[i])
    full = np.zeros(len(NAMES))
    full[columns] = weights
    slope = max(0.1, sum(a for a, _ in slopes) / max(1e-9, sum(b for _, b in slopes)))
    return full, slope


def _forest(sheets: Sequence[Sheet], gains: Floats, usual: Floats, scale: Floats, trees: int) -> Forest:
    """Trees on what the weights leave, for questions with options; shrunk to what unseen groups confirm."""
    x, y, groups, loud = [], [], [], []
    for s in sheets:
        rows = s.values[:, INDEX["options"]] >= 2
        if rows.sum() < 100:
            continue
        left = _target(s.source, EXPERT_FAILURE_SHARE) - standard(s.values, usual, scale) @ gains
        x.append(s.values[rows])
        y.append(left[rows] - left[rows].mean())
        groups.append(s.source.groups[rows])
        loud.append(np.full(rows.sum(), 1 / np.sqrt(rows.sum())))
    if not x:
        return _none()
    values, target, group, weight = map(np.concatenate, (x, y, groups, loud))
    columns = [i for i, name in enumerate(NAMES) if name not in STATE and name not in _NOT_TREES]
    names = sorted(set(group))
    guess = np.zeros(len(target))
    if not trees:
        return _none()
    folds = 5 if len(names) >= 5 else len(names)
    if folds < 2:
        return _none()
    fold_of = {name: i % folds for i, name in enumerate(names)}
    fold = np.array([fold_of[name] for name in group])
    for k in range(folds):
        inside = fold != k
        grown = _grow(values[inside][:, columns], target[inside], weight[inside], 40)
        guess[~inside] = grown.predict(values[~inside][:, columns])
    confirmed = float(weight * guess @ target) / max(1e-9, float(weight * guess @ guess))
    share = min(1.0, max(0.0, confirmed) * TRUST)
    if share < 0.2:
        return _none()
    return _scaled(_exported(_grow(values[:, columns], target, weight, trees), columns), share)


_NOT_TREES = ("tool_fit", "tool_lead", "parallel")


def _grow(x: Floats, y: Floats, weight: Floats, trees: int) -> ExtraTreesRegressor:
    forest = ExtraTreesRegressor(
        trees,
        min_samples_leaf=30,
        max_features=0.4,
        max_leaf_nodes=128,
        max_depth=10,
        random_state=0,
        n_jobs=1,
    )
    return forest.fit(x.astype(np.float32), y, sample_weight=weight)


def _none() -> Forest:
    empty = np.zeros(0)
    return Forest(
        empty.astype(np.int16), empty.astype(np.float32), empty.astype(np.int32), empty.astype(np.int32),
        empty.astype(np.float32), empty.astype(np.int32), 0,
    )  # fmt: skip


def _exported(forest: ExtraTreesRegressor, columns: list[int]) -> Forest:
    feature, threshold, left, right, value, roots = [], [], [], [], [], []
    depth, start = 0, 0
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        leaf = tree.children_left < 0
        itself = np.arange(tree.node_count)
        roots.append(start)
        feature.append(np.where(leaf, 0, np.array(columns)[np.maximum(tree.feature, 0)]))
        threshold.append(np.where(leaf, 0.0, tree.threshold))
        left.append(start + np.where(leaf, itself, tree.children_left))
        right.append(start + np.where(leaf, itself, tree.children_right))
        value.append(tree.value[:, 0, 0])
        start += tree.node_count
        depth = max(depth, tree.max_depth)
    return Forest(
        np.concatenate(feature).astype(np.int16),
        np.concatenate(threshold).astype(np.float32),
        np.concatenate(left).astype(np.int32),
        np.concatenate(right).astype(np.int32),
        np.concatenate(value).astype(np.float32),
        np.array(roots, dtype=np.int32),
        int(depth),
    )


def _scaled(forest: Forest, by: float) -> Forest:
    value = (forest.value * by).astype(np.float32)
    return Forest(
        forest.feature, forest.threshold, forest.left, forest.right, value, forest.roots, forest.depth
    )


def _levels(sheets: Sequence[Sheet], own: Sheet, embedder: Embedder) -> NDArray[np.float32]:
    """One figure per token, such that a text's mean tells the level of its kind; bounded."""
    assert own.source.levels is not None
    table = embedder.table
    x, y, w = [], [], []
    for s in [own, *sheets]:
        means = np.array(
            [table[r.tokens].mean(axis=0) if len(r.tokens) else table[0] * 0 for r in s.readings]
        )
        level = s.source.levels if s.source.levels is not None else np.full(len(means), LEVELS[s.source.name])
        x.append(means)
        y.append(level)
        share = 1.0 if s is own else 1.0 / max(1, len(sheets))
        w.append(np.full(len(means), share / len(means)))
    rows, target, weight = np.vstack(x).astype(np.float64), np.concatenate(y), np.concatenate(w)
    weight = weight / weight.sum()
    middle = float(weight @ target)
    spread = float(np.sqrt((weight[:, None] * rows**2).sum()))
    gram = (rows * weight[:, None]).T @ rows + np.eye(rows.shape[1]) * spread**2 / rows.shape[1] * 0.1 * RIDGE
    direction = np.linalg.solve(gram, (rows * weight[:, None]).T @ (target - middle))
    levels = table @ direction.astype(np.float32)
    return (VOCABULARY_WEIGHT * np.clip(levels, -1.0, 1.0)).astype(np.float16).astype(np.float32)


def _calibrated(model: Model, sheets: Sequence[Sheet], own: Sheet) -> Model:
    """Platt's scaling to the failures of the local tier, each source weighted alike, our own among them."""
    assert own.source.levels is not None
    x = np.concatenate([totals(model, s.readings) for s in [*sheets, own]])
    y = np.concatenate([1 - s.source.local for s in sheets] + [own.source.levels])
    w = np.concatenate([np.full(len(s.readings), 1 / len(s.readings)) for s in [*sheets, own]])
    w[-len(own.readings) :] *= len(sheets)
    a, b = 1.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-(a * x + b)))
        r, h = w * (y - p), w * p * (1 - p) + 1e-12
        grad = np.array([(r * x).sum(), r.sum()])
        hess = np.array([[(h * x * x).sum(), (h * x).sum()], [(h * x).sum(), h.sum()]]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(hess, grad)
        a, b = max(0.2, a + step[0]), b + step[1]
    return Model(
        model.usual,
        model.scale,
        model.weights,
        model.levels,
        model.forest,
        model.expert_limit,
        float(a),
        float(b),
    )
