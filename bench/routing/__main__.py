"""The routing benchmark: python -m bench.routing --data DIR. Prints the table and writes docs/routing.md."""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.routing import climb, gadgets
from bench.routing.data import ENVIRONMENT, DataError, Floats, folder, load, own_prompts
from bench.routing.fit import sheet
from bench.routing.peers import Peer, peers
from bench.routing.table import POOLED, Row, held_out, latency, pair, row
from farthing.grading import task_from
from farthing.grading.learned import LearnedGrader

REPORT = Path(__file__).parents[2] / "docs" / "routing.md"
SEED = 0
TRIED = 250


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every grader on the same prompts, in one run."""
    parser = argparse.ArgumentParser("python -m bench.routing", description=__doc__)
    parser.add_argument("--data", type=Path, help=f"folder of the routing data (default: ${ENVIRONMENT})")
    parser.add_argument(
        "--report", type=Path, default=REPORT, help="where the report goes (default: docs/routing.md)"
    )
    chosen = parser.parse_args(arguments)
    grader = LearnedGrader.load()
    try:
        data = folder(chosen.data)
        listed = load(data)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    sources = {source.name: source for source in listed}
    sheets = {source.name: sheet(source, grader.embedder) for source in listed}
    ours = held_out(sheets, sheet(own_prompts(), grader.embedder), grader.embedder)
    rows = [
        row(
            "Farthing",
            ours.sources,
            sources,
            {"mmlu: subjects": ours.subjects, "bfcl: categories": ours.categories},
        )
    ]
    others = peers()
    for peer in others:
        score = {name: np.array([peer.score(p) for p in sources[name].prompts]) for name in POOLED}
        rows.append(
            row(
                peer.name,
                score,
                sources,
                {"mmlu: subjects": score["mmlu"], "bfcl: categories": score["bfcl"]},
            )
        )
    for name, made in (("random", _chance), ("oracle", _oracle)):
        score = {source: made(*pair(sources[source])[1:]) for source in POOLED}
        rows.append(
            row(name, score, sources, {"mmlu: subjects": score["mmlu"], "bfcl: categories": score["bfcl"]})
        )
    text = "\n".join(
        [
            *_head(),
            *_apgr(rows),
            "",
            *_spending(rows),
            "",
            *_tiers(sources),
            "",
            *_latency(grader, others, sources),
            "",
            *_gadgets(grader, others, sources),
            "",
            "## Check and climb",
            "",
            climb.markdown(climb.climb_rows(data, list(ours.sources["gsm8k"])), climb.price_ratio(data)),
            "",
        ]
    )
    print(text)
    chosen.report.write_text(text, "utf-8")
    return 0


def _chance(cheap: Floats, strong: Floats) -> Floats:
    return np.random.default_rng(SEED).random(len(cheap))


def _oracle(cheap: Floats, strong: Floats) -> Floats:
    """Who knows both answers: strong only where it gains, and never where it loses."""
    return 0.5 + (strong - cheap) / 2


def _head() -> list[str]:
    return [
        "# Routing: how well the grader spends the strong tier",
        "",
        "Made by `python -m bench.routing --data DIR`; data: public outcomes, described in docs/grader.md.",
        "Every figure of ours is held out: the model that scores a source was trained without it (gsm8k and",
        "zeroeval_gsm hold the same prompts and leave together), *subjects* and *categories* without them.",
        "Thresholds for savings are frozen on the other sources.",
        "",
    ]


def _apgr(rows: Sequence[Row]) -> list[str]:
    names = list(rows[0].parts)
    lines = [
        "## APGR (0.5 = random), with its 95 % bootstrap interval",
        "",
        "| grader | " + " | ".join(names) + " | pooled | pooled, sources alike |",
        "|---" * (len(names) + 3) + "|",
    ]
    for r in rows:
        cells = [f"{v:.3f} ({low:.2f}–{high:.2f})" for v, low, high in r.parts.values()]
        lines.append(f"| {r.name} | " + " | ".join(cells) + f" | {r.pooled:.3f} | {r.pooled_alike:.3f} |")
    return lines


def _spending(rows: Sequence[Row]) -> list[str]:
    lines = [
        "## Spending",
        "",
        "CPT: strong share for that part of the gap. Saved: share of calls the cheap model served, with the "
        "quality kept (of the strong model's), at a threshold frozen on other sources. False cheap: of the "
        "prompts only the strong model solves, those in the lower half of scores. ECE: of the score as the "
        "chance that the cheap model fails. Worst: the MMLU subject with the lowest APGR.",
        "",
        "| grader | CPT 50 | CPT 80 | saved at 99 % (kept) | saved at 95 % (kept) "
        "| false cheap | ECE | worst |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r.name} | {r.cpt50:.0%} | {r.cpt80:.0%} | {r.saved99:.0%} ({r.kept99:.1%}) | "
            f"{r.saved95:.0%} ({r.kept95:.1%}) | {r.false_cheap:.0%} | "
            f"{'–' if np.isnan(r.calibration) else f'{r.calibration:.3f}'} | {r.worst[0]} {r.worst[1]:.2f} |"
        )
    return lines


def _tiers(sources: dict[str, Any]) -> list[str]:
    lines = [
        "## One tier for all: quality",
        "",
        "| source | pair | always cheap | always strong | local tier | fast tier | strong tier |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in POOLED:
        label, cheap, strong = pair(sources[name])
        s = sources[name]
        means = " | ".join(f"{x.mean():.3f}" for x in (cheap, strong, s.local, s.fast, s.strong))
        lines.append(f"| {name} | {label} | {means} |")
    return lines


def _latency(grader: LearnedGrader, others: Sequence[Peer], sources: dict[str, Any]) -> list[str]:
    generator = random.Random(SEED)
    texts = [str(p["prompt"]) for p in sources["mmlu"].prompts]
    pooled = " ".join(generator.sample(texts, 400))
    starts = [generator.randrange(len(pooled) - 16_000) for _ in range(200)]
    lines = ["## Latency per grade, milliseconds (p50 / p99), reading the request included", ""]
    lines += ["| grader | 200 characters | 16 000 characters |", "|---|---|---|"]
    called = [("Farthing", lambda p: grader.grade(task_from(p)))] + [
        (peer.name, peer.score) for peer in others[:2]
    ]
    for name, call in called:
        cells = []
        for size in (200, 16_000):
            p50, p99 = latency(
                call, [{"prompt": pooled[at : at + size]} for at in starts[: 200 if size == 200 else 60]]
            )
            cells.append(f"{p50:.3f} / {p99:.3f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _gadgets(grader: LearnedGrader, others: Sequence[Peer], sources: dict[str, Any]) -> list[str]:
    generator = random.Random(SEED)
    prompts = [p for name in ("gsm8k", "bfcl") for p in generator.sample(list(sources[name].prompts), TRIED)]
    few = generator.sample(prompts, 12)
    found = gadgets.search(lambda p: grader.assess(task_from(p)).score, few, 12)
    tried = [*gadgets.KNOWN, *found]
    graders = [("Farthing", lambda p: grader.grade(task_from(p)).grade == "HIGH", tried)]
    graders += [(p.name, p.strong, gadgets.KNOWN[:12]) for p in others if p.strong]  # type: ignore[misc]
    lines = [
        "## Gadgets: share of GSM8K + BFCL pushed to HIGH (peers: to their two dearest tiers)",
        "",
        f"{len(prompts)} prompts; ours against {len(tried)} gadgets of at most {gadgets.MOST} characters, "
        f"before and after, {len(found)} of them found by search against this model; the peers against "
        f"the first {len(gadgets.KNOWN[:12])}.",
        "",
        "| grader | worst gadget | mean | already there |",
        "|---|---|---|---|",
    ]
    for name, high, texts in graders:
        worst = gadgets.pushed(high, prompts, texts)
        there = sum(map(high, prompts)) / len(prompts)
        lines.append(
            f"| {name} | {max(worst.values()):.1%} | {np.mean(list(worst.values())):.1%} | {there:.1%} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
