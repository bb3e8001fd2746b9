"""The benchmark's rows, each a grader, and its columns, each a measure."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from bench.routing.data import Floats, Source
from bench.routing.fit import Sheet, fit
from bench.routing.metrics import apgr, cpt, ece, interval, threshold
from bench.routing.train import TRAINED_ON, scores
from farthing.embedding import Embedder

FOLDS = 5
POOLED = ("mmlu", "gsm8k", "numersense", "arc_challenge", "winogrande", "bfcl")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Our scores where the model never saw the source (``sources``), the subject or the category."""

    sources: dict[str, Floats]
    subjects: Floats
    categories: Floats


def held_out(sheets: dict[str, Sheet], own: Sheet, embedder: Embedder) -> HeldOut:
    """Fit once per part left out; gsm8k is scored by the model without zeroeval_gsm, whose prompts it has."""
    sources: dict[str, Floats] = {}
    for name in TRAINED_ON:
        model = fit([sheets[other] for other in TRAINED_ON if other != name], own, embedder)
        sources[name] = scores(model, sheets[name])
        if name == "zeroeval_gsm":
            sources["gsm8k"] = scores(model, sheets["gsm8k"])
    return HeldOut(
        sources,
        _grouped("mmlu", FOLDS, sheets, own, embedder),
        _grouped("bfcl", 5, sheets, own, embedder),
    )


def _grouped(name: str, folds: int, sheets: dict[str, Sheet], own: Sheet, embedder: Embedder) -> Floats:
    groups = sheets[name].source.groups
    names = sorted(set(groups))
    order = np.random.default_rng(0).permutation(len(names))
    fold_of = {names[at]: i % folds for i, at in enumerate(order)}
    fold = np.array([fold_of[group] for group in groups])
    found = np.zeros(len(groups))
    for k in range(folds):
        inside = sheets[name].part(fold != k)
        model = fit([inside if other == name else sheets[other] for other in TRAINED_ON], own, embedder)
        found[fold == k] = scores(model, sheets[name].part(fold == k))
    return found


def pair(source: Source) -> tuple[str, Floats, Floats]:
    """Return the first pair of a source: its name and the outcomes of its cheap and strong model."""
    name, (cheap, strong) = next(iter(source.pairs.items()))
    return name, cheap, strong


@dataclass(frozen=True, slots=True)
class Row:
    """One grader's figures. ``parts``: APGR by source (value, low, high). Shares are 0…1."""

    name: str
    parts: dict[str, tuple[float, float, float]]
    pooled: float
    pooled_alike: float
    cpt50: float
    cpt80: float
    saved99: float
    kept99: float
    saved95: float
    kept95: float
    false_cheap: float
    calibration: float
    worst: tuple[str, float]


def row(name: str, by_source: dict[str, Floats], sources: dict[str, Source], extra: dict[str, Floats]) -> Row:
    """Return the figures of one grader from its scores by source; ``extra`` are other splits of a source."""
    parts = {}
    for source in POOLED:
        _, cheap, strong = pair(sources[source])
        parts[source] = (
            apgr(by_source[source], strong - cheap),
            *interval(by_source[source], strong - cheap),
        )
    for label, score in extra.items():
        _, cheap, strong = pair(sources[label.split(":")[0]])
        parts[label] = (apgr(score, strong - cheap), *interval(score, strong - cheap))
    stacked = {source: pair(sources[source])[1:] for source in POOLED}
    score = np.concatenate([by_source[source] for source in POOLED])
    cheap = np.concatenate([stacked[source][0] for source in POOLED])
    strong = np.concatenate([stacked[source][1] for source in POOLED])
    alike = np.concatenate([np.full(len(by_source[s]), 1 / len(by_source[s])) for s in POOLED])
    saved: dict[float, tuple[float, float]] = {q: _frozen(by_source, stacked, q) for q in (0.99, 0.95)}
    only = (strong == 1) & (cheap == 0)
    half = np.quantile(score, 0.5)
    fails = 1 - cheap
    groups = [(g, apgr(by_source["mmlu"][m], (stacked["mmlu"][1] - stacked["mmlu"][0])[m]))
              for g in sorted(set(sources["mmlu"].groups))
              for m in [sources["mmlu"].groups == g]
              if (stacked["mmlu"][1] - stacked["mmlu"][0])[m].sum() >= 5]  # fmt: skip
    return Row(
        name,
        parts,
        apgr(score, strong - cheap),
        apgr(score, strong - cheap, alike),
        cpt(score, strong - cheap, 0.5),
        cpt(score, strong - cheap, 0.8),
        saved[0.99][0],
        saved[0.99][1],
        saved[0.95][0],
        saved[0.95][1],
        float((score[only] < half).mean()),
        ece(score, fails) if score.min() >= 0 and score.max() <= 1 else float("nan"),
        min(groups, key=lambda item: item[1]),
    )


def _frozen(
    by_source: dict[str, Floats], outcomes: dict[str, tuple[Floats, Floats]], quality: float
) -> tuple[float, float]:
    """Return the share of calls kept from the strong model, and the quality kept, mean over sources; each
    source's threshold is frozen on the others.
    """
    shares, kept = [], []
    for name in by_source:
        if name not in outcomes:
            continue
        others = [other for other in outcomes if other != name]
        weight = np.concatenate([np.full(len(by_source[o]), 1 / len(by_source[o])) for o in others])
        cut = threshold(
            np.concatenate([by_source[o] for o in others]),
            np.concatenate([outcomes[o][0] for o in others]),
            np.concatenate([outcomes[o][1] for o in others]),
            quality,
            weight,
        )
        cheap, strong = outcomes[name]
        up = by_source[name] >= cut
        shares.append(1 - up.mean())
        kept.append(np.where(up, strong, cheap).mean() / strong.mean())
    return float(np.mean(shares)), float(np.mean(kept))


def latency(grade: object, prompts: Sequence[dict[str, object]], rounds: int = 3) -> tuple[float, float]:
    """Return the median and the 99th percentile in milliseconds, of one grading each, warmed up once."""
    call = grade
    assert callable(call)
    for prompt in prompts[:20]:
        call(prompt)
    times = []
    for _ in range(rounds):
        for prompt in prompts:
            started = perf_counter()
            call(prompt)
            times.append((perf_counter() - started) * 1000)
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))
