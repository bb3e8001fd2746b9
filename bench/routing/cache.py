"""Measures the intent cache: the time of a repeat, what masking merges, and where the near layer is safe.

``python -m bench.routing.cache --data DIR`` prints the tables and writes docs/intent-cache.md. DIR holds
the public outcome files (``mmlu.csv.gz`` …); the pairs of asks in ``cache_pairs`` are our own.
"""

import argparse
import csv
import gzip
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.routing import cache_pairs as pairs
from farthing.embedding import Embedder
from farthing.grading.cache import NEAR_THRESHOLD, MemoryCache, Remembered
from farthing.grading.cache.memory import NEAR_LIMIT
from farthing.grading.intent import facts_of, intent_of, masked, room_of
from farthing.grading.task import Task, task_from

THRESHOLDS = (0.70, 0.75, 0.80, 0.85, 0.90, 0.95, 0.97, 0.99)
SOURCES = {
    "MMLU": ("mmlu.csv.gz", "prompt", "mixtral_8x7b_correct"),
    "GSM8K": ("gsm8k.csv.gz", "prompt", "mixtral_8x7b_correct"),
    "ARC-Challenge": ("routerbench_arc_challenge.csv.gz", "prompt", "mistralai/mixtral-8x7b-chat"),
    "WinoGrande": ("routerbench_winograde.csv.gz", "prompt", "mistralai/mixtral-8x7b-chat"),
    "BFCL": ("bfcl.csv.gz", "question", "claude-3-haiku-20240307"),
}
"""File, column of the ask, column of the cheap model's outcome."""
GRADED = Remembered(0.4, "MEDIUM", "judge", "judge: several steps")
SENTENCE = (
    "Please summarise the quarterly report for customer {n} that was sent on 2024-05-{d:02} and list the "
    "three largest risks in a table, the cost of each in EUR (e.g. 1,250.00), and mail it to "
    "team{n}@example.com. "
)
Row = Sequence[object]


def task(text: str) -> Task:
    return task_from({"messages": [{"role": "user", "content": text}]})


def table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


# ---- time


def timed(step: Callable[[int], object], rounds: int) -> tuple[float, float]:
    """Return the median and the 99th percentile of ``step``'s own time on the processor, in microseconds."""
    for at in range(min(rounds, 200)):
        step(at)
    times = []
    for at in range(rounds):
        started = time.thread_time_ns()
        step(at)
        times.append((time.thread_time_ns() - started) / 1_000)
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def await_now(step: object) -> object:
    """Run a coroutine that never waits, without an event loop's share in its time."""
    try:
        step.send(None)  # type: ignore[attr-defined]
    except StopIteration as done:
        return done.value
    raise AssertionError("the memory cache waited for something")


def times() -> str:
    rows: list[Row] = []
    for chars, rounds in ((200, 20_000), (8_000, 1_000), (1_000_000, 500)):
        cache = MemoryCache(20_000, 3_600)
        text = "".join(SENTENCE.format(n=1_000 + at % 9_000, d=1 + at % 28) for at in range(chars // 150))[
            :chars
        ]
        ask = task(text)
        room = room_of("scope", "realm")
        await_now(cache.put(intent_of(ask, "scope", "realm"), room, None, facts_of(ask), GRADED))

        def repeat(_: int, cache: MemoryCache = cache, ask: Task = ask) -> None:
            assert await_now(cache.exact(intent_of(ask, "scope", "realm")))

        median, worst = timed(repeat, rounds)
        rows.append(
            [f"a repeat: key and exact hit, ask of {chars:,} characters", f"{median:.1f}", f"{worst:.1f}"]
        )
        median, worst = timed(lambda _, ask=ask: facts_of(ask), rounds)
        rows.append(
            [f"facts for the near layer, ask of {chars:,} characters", f"{median:.1f}", f"{worst:.1f}"]
        )
    cache, row = MemoryCache(20_000, 3_600), np.random.default_rng(0)
    vectors = row.standard_normal((NEAR_LIMIT, 256)).astype(np.float32)
    for at, vector in enumerate(vectors):
        await_now(cache.put(f"{at:032x}", "room", vector, "state~100", GRADED))
    median, worst = timed(
        lambda at: await_now(cache.near("room", vectors[at % NEAR_LIMIT], "state~100")), 1_000
    )
    rows.append(
        [
            f"near search among {NEAR_LIMIT:,} vectors of one room and one demand",
            f"{median:.1f}",
            f"{worst:.1f}",
        ]
    )
    return table(["step", "p50 µs", "p99 µs"], rows)


# ---- safety


@dataclass(frozen=True)
class Judged:
    """Pairs of asks: how near they are, whether their facts agree, and whether their keys are equal."""

    cosines: np.ndarray
    agree: np.ndarray
    exact: np.ndarray

    @classmethod
    def of(cls, embedder: Embedder, found: Sequence[tuple[str, str]]) -> "Judged":
        cosines = [float(embedder.embed(a) @ embedder.embed(b)) for a, b in found]
        agree = [facts(a) == facts(b) for a, b in found]
        return cls(np.array(cosines), np.array(agree), np.array([masked(a) == masked(b) for a, b in found]))

    def share(self, threshold: float, guarded: bool) -> str:
        merged = self.exact | ((self.cosines >= threshold) & (self.agree if guarded else True))
        return f"{100 * merged.mean():.1f} %"


def facts(text: str) -> str:
    return facts_of(task(text)).rpartition("~")[0]


def own_pairs(embedder: Embedder) -> str:
    sets = [
        Judged.of(embedder, found)
        for found in (
            pairs.SEEN_PARAPHRASES,
            pairs.UNSEEN_PARAPHRASES,
            pairs.SEEN_NEGATIVES,
            pairs.UNSEEN_NEGATIVES,
        )
    ]
    kinds = ("paraphrases", "unseen paraphrases", "hard negatives", "unseen hard negatives")
    return "\n\n".join(
        table(
            [title, *kinds],
            [[f"{low:.2f}", *(judged.share(low, guarded) for judged in sets)] for low in THRESHOLDS],
        )
        for title, guarded in (("cosine alone, from", False), ("words agree and cosine from", True))
    )


def negatives_merged(embedder: Embedder) -> tuple[int, int]:
    """Return how many hard negatives the near layer merges, and of how many."""
    judged = Judged.of(embedder, [*pairs.SEEN_NEGATIVES, *pairs.UNSEEN_NEGATIVES])
    merged = judged.exact | ((judged.cosines >= NEAR_THRESHOLD) & judged.agree)
    return int(merged.sum()), len(merged)


def upper_bound(found: int, of: int) -> float:
    """Return the share that with 95 % confidence is not exceeded (Clopper and Pearson, one-sided)."""
    low, high = found / of, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        at_most = sum(math.comb(of, k) * middle**k * (1 - middle) ** (of - k) for k in range(found + 1))
        low, high = (middle, high) if at_most > 0.05 else (low, middle)
    return high


def outcomes(data: Path, name: str) -> tuple[list[str], np.ndarray]:
    file, ask, outcome = SOURCES[name]
    with gzip.open(data / file, "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return [row[ask] for row in rows], np.array([row[outcome] in ("True", "1", "1.0") for row in rows])


def neighbours(embedder: Embedder, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return of each text the nearest other one, and their cosine."""
    vectors = np.stack([embedder.embed(text) for text in texts])
    nearest, cosines = np.zeros(len(texts), dtype=int), np.zeros(len(texts))
    for at in range(0, len(texts), 1_000):
        block = vectors[at : at + 1_000] @ vectors.T
        block[np.arange(len(block)), np.arange(at, at + len(block))] = -1
        nearest[at : at + len(block)], cosines[at : at + len(block)] = block.argmax(1), block.max(1)
    return nearest, cosines


def guarded_neighbours(embedder: Embedder, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return of each text the nearest other one whose facts agree (itself if none), and their cosine."""
    groups: dict[str, list[int]] = defaultdict(list)
    for at, text in enumerate(texts):
        groups[facts(text)].append(at)
    nearest, cosines = np.arange(len(texts)), np.full(len(texts), -1.0)
    for members in groups.values():
        if len(members) > 1:
            vectors = np.stack([embedder.embed(texts[at]) for at in members])
            block = vectors @ vectors.T
            np.fill_diagonal(block, -1)
            nearest[members] = np.array(members)[block.argmax(1)]
            cosines[members] = block.max(1)
    return nearest, cosines


def own_keys(texts: list[str]) -> np.ndarray:
    """Return of each text the first one with the same masked ask: itself if it is the first or only one."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(masked(text), at) for at, text in enumerate(texts)])


def public_asks(embedder: Embedder, data: Path) -> str:
    rows: list[Row] = []
    pooled: list[tuple[list[str], np.ndarray]] = []
    for name in SOURCES:
        pooled.append(outcomes(data, name))
        rows.append([name, *measured(embedder, *pooled[-1])])
    texts = [text for found, _ in pooled for text in found]
    rows.append(["pooled", *measured(embedder, texts, np.concatenate([right for _, right in pooled]))])
    head = ["source", "asks", "cosine alone merges", "wrongly", "exact layer merges", "wrongly"]
    return table([*head, "near layer adds", "wrongly"], rows)


def measured(embedder: Embedder, texts: list[str], right: np.ndarray) -> Row:
    def shares(merged: np.ndarray, partner: np.ndarray) -> tuple[str, str]:
        wrongly = merged & (right != right[partner])
        return f"{100 * merged.mean():.2f} %", f"{100 * wrongly.mean():.2f} %"

    nearest, cosines = neighbours(embedder, texts)
    alone = shares(cosines >= NEAR_THRESHOLD, nearest)
    key = own_keys(texts)
    repeated = key != np.arange(len(texts))
    exact = shares(repeated, key)
    partner, agreeing = guarded_neighbours(embedder, texts)
    near = shares((agreeing >= NEAR_THRESHOLD) & (key != key[partner]) & ~repeated, partner)
    return [f"{len(texts):,}", *alone, *exact, *near]


PAGE = """# The intent cache, measured

Written by `python -m bench.routing.cache --data DIR`.

A repeat of an intent is answered from memory: its ask is folded and masked, hashed with the account scope,
the grader's version and settings and the bucketed state of the conversation, and looked up (exact layer).
Where a judge would be asked about an ask not met before, it is compared by its embedding with those that were
judged before (near layer): a near one saves the judgement, the one step that takes long. Two asks
are near if they come from the same scope, version and settings and the same state, if the words that carry
the demand agree in their order (function words, politeness, plurals and verb endings aside), if the longer
has at most 1.5 times the characters of the shorter, and if the cosine of their embeddings is at least
{threshold}.

## Time

Time on one processor core; what other programs take on a busy machine is left out.

{times}

An ask over 8,192 characters is read at its two ends, so its time does not grow.

## Our own pairs

Share of pairs merged, by the lowest cosine allowed: {counts},
seen + unseen. The second table also asks that the words agree, as the near layer does. The words it passes
over were chosen with the seen pairs at hand; the unseen ones were written afterwards.

{own}

## Public asks with known outcomes

Each ask against its nearest other one of the same source, at cosine {threshold}; "pooled" is all sources
at once. *Merges* is the share of all asks that would take another's grade; *wrongly* is the share of all
asks that would and on which the cheap model's outcome differs from the other's. The near layer's columns
count what it adds to the exact layer.

{public}

## What follows

Cosine alone is not safe at any threshold that still finds paraphrases: asks set in one template
(ARC-Challenge and WinoGrande here) are all near each other, and a negation moves an embedding less than a
synonym does. So the near layer asks that the words agree as well; its default cosine is {threshold}. It finds
a part of the paraphrases only: a miss costs a grading, a false hit may cost an answer. Of {negatives} hard
negatives it merges {merged}: with 95 % confidence its share among such pairs is below {bound:.1f} %.

Exact merges count as wrong here when two asks differ in masked numbers, dates or names in quotation marks
and the cheap model solved one and failed the other: the same model, asked the same demand twice with other
figures, does not always succeed twice.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the public outcome files")
    parser.add_argument("--out", type=Path, default=Path("docs/intent-cache.md"))
    options = parser.parse_args()
    embedder = Embedder.load()
    counts = (
        f"{len(pairs.SEEN_PARAPHRASES)} + {len(pairs.UNSEEN_PARAPHRASES)} paraphrases and "
        f"{len(pairs.SEEN_NEGATIVES)} + {len(pairs.UNSEEN_NEGATIVES)} hard negatives"
    )
    merged, negatives = negatives_merged(embedder)
    page = PAGE.format(
        merged=merged,
        negatives=negatives,
        bound=100 * upper_bound(merged, negatives),
        threshold=NEAR_THRESHOLD,
        times=times(),
        counts=counts,
        own=own_pairs(embedder),
        public=public_asks(embedder, options.data),
    )
    print(page)
    options.out.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
