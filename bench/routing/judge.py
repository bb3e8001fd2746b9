"""Is this model worth asking as a judge? Its grades beside the score that grades without it.

Grades a sample of prompts of each source with known outcomes by any OpenAI-compatible endpoint, in the very
words that the proxy would use. Prints for each source how well the grades route (APGR, 0.5 is chance), how
often the judge was too slow or made no sense, and how long it took. A key, if the endpoint needs one, is
read from JUDGE_API_KEY.

Run: python -m bench.routing.judge --url http://127.0.0.1:8000/v1 --model NAME --data FOLDER
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from bench.routing.data import Floats, Source, folder, load
from bench.routing.metrics import apgr, interval
from farthing.grading import GRADES, Task
from farthing.grading.judge import Ask, Judge, Judged, JudgeRequest, judge_request
from farthing.grading.learned import LearnedGrader

HEADER = (
    f"{'':<19}{'APGR':>16}\n"
    f"{'source':<14}{'n':>5}{'no judge':>10}{'in time':>10}{'always':>10}{'95 % of always':>17}"
    f"{'LOW/MED/HIGH':>15}{'too late':>10}{'no sense':>10}{'errors':>8}{'p50 ms':>8}{'p99 ms':>8}"
)


@dataclass(frozen=True)
class Verdict:
    judged: Judged
    seconds: float


@dataclass(frozen=True)
class Sample:
    """Some prompts of a source: the tasks, and what the strong model of its first pair adds to each."""

    tasks: Sequence[Task]
    gain: Floats

    @classmethod
    def of(cls, source: Source, size: int) -> "Sample":
        cheap, strong = next(iter(source.pairs.values()))
        at = np.random.default_rng(0).permutation(len(source))[:size]
        return cls([source.tasks[i] for i in at], (strong - cheap)[at])


def endpoint(client: httpx.AsyncClient, url: str, model: str) -> Ask:
    async def ask(asked: JudgeRequest) -> str:
        body = {
            "model": model,
            "messages": list(asked.messages),
            "response_format": asked.response_format,
            "max_tokens": asked.max_tokens,
            "temperature": 0,
        }
        response = await client.post(f"{url.rstrip('/')}/chat/completions", json=body)
        response.raise_for_status()
        return str(response.json()["choices"][0]["message"]["content"])

    return ask


async def judged(tasks: Sequence[Task], ask: Ask, patience_s: float, at_once: int) -> list[Verdict]:
    judge = Judge(timeout_s=patience_s, at_once=at_once, rest_after=10**9)
    gate = asyncio.Semaphore(at_once)

    async def one(task: Task) -> Verdict:
        async with gate:
            started = time.perf_counter()
            answer = await judge.judge(task, ask)
            return Verdict(answer, time.perf_counter() - started)

    return await asyncio.gather(*(one(task) for task in tasks))


def row(name: str, gain: Floats, verdicts: Sequence[Verdict], without: Floats, timeout_s: float) -> str:
    """Return a source's line. Where the judge gives no grade, the score that grades without it stands."""

    def by_judge(patience_s: float) -> Floats:
        return np.array(
            [
                score
                if (grade := verdict.judged.grade) is None or verdict.seconds > patience_s
                # Among tasks that the judge calls equal the score decides, as it does behind the proxy.
                else GRADES.index(grade) / 2 + 1e-6 * score
                for verdict, score in zip(verdicts, without, strict=True)
            ]
        )

    def area(score: Floats) -> str:
        return f"{apgr(score, gain):>10.3f}" if gain.sum() > 0 else f"{'–':>10}"

    always = by_judge(float("inf"))
    bounds = "–"
    if gain.sum() > 0:
        bounds = "{:.3f}–{:.3f}".format(*interval(always, gain))
    failures = [verdict.judged.failure for verdict in verdicts]
    grades = [verdict.judged.grade for verdict in verdicts]
    late = np.mean([verdict.seconds > timeout_s for verdict in verdicts])
    p50, p99 = np.quantile([verdict.seconds * 1000 for verdict in verdicts], (0.5, 0.99))
    split = "/".join(str(grades.count(grade)) for grade in GRADES)
    return (
        f"{name:<14}{len(gain):>5}{area(without)}{area(by_judge(timeout_s))}{area(always)}{bounds:>17}{split:>15}"
        f"{late:>10.0%}{failures.count('unparsable') / len(failures):>10.0%}{failures.count('error'):>8}"
        f"{p50:>8.0f}{p99:>8.0f}"
    )


async def measure(options: argparse.Namespace) -> AsyncIterator[str]:
    grader = LearnedGrader.load()
    key = os.environ.get("JUDGE_API_KEY")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    parts: list[tuple[Floats, list[Verdict], Floats]] = []
    async with httpx.AsyncClient(timeout=options.patience, headers=headers) as client:
        ask = endpoint(client, options.url, options.model)
        await ask(judge_request(Task(ask="Hello"), max_chars=100, nonce="0"))  # a cold start tells nothing
        for source in load(folder(options.data)):
            sample = Sample.of(source, options.sample)
            verdicts = await judged(sample.tasks, ask, options.patience, options.at_once)
            scores = np.array([grader.grade(task).score for task in sample.tasks])
            parts.append((sample.gain, verdicts, scores))
            yield row(source.name, *parts[-1], options.timeout)
    gains, judgements, scored = zip(*parts, strict=True)
    verdicts = [verdict for judgement in judgements for verdict in judgement]
    yield row("all", np.concatenate(gains), verdicts, np.concatenate(scored), options.timeout)


async def show(options: argparse.Namespace) -> None:
    print(
        f"Judge: {options.model}. In time: within {options.timeout:g} s; a later grade counts for nothing.\n"
    )
    print(HEADER)
    async for line in measure(options):
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", required=True, help="base URL of the endpoint, up to /v1")
    parser.add_argument("--model", required=True, help="model to ask")
    parser.add_argument("--data", type=Path, help="folder of outcomes (default: $FARTHING_ROUTING_DATA)")
    parser.add_argument("--sample", type=int, default=100, help="prompts a source (default: %(default)s)")
    parser.add_argument(
        "--timeout", type=float, default=0.3, help="seconds the proxy would wait (default: %(default)s)"
    )
    parser.add_argument(
        "--patience", type=float, default=30, help="seconds to wait here at most (default: %(default)s)"
    )
    parser.add_argument("--at-once", type=int, default=1, help="calls under way (default: %(default)s)")
    options = parser.parse_args()
    asyncio.run(show(options))


if __name__ == "__main__":
    main()
