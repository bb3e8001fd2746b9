"""The learned grader: sensible on plain examples, ordered, bounded, hard to push, silent on what it read."""

import dataclasses
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.demo.workload import EASY_ASKS, HARD_ASKS, MIDDLING_ASKS
from farthing.grading import Grade, Grader, Task, task_from
from farthing.grading.learned import ArtifactError, Cuts, LearnedGrader, artifact

LEARNED = LearnedGrader.load()
GRADER: Grader = LEARNED
RANK = {"LOW": 0, "MEDIUM": 1, "HIGH": 2}
WORD_PROBLEM = (
    "A baker makes 48 rolls before dawn and half as many again at noon. She sells two thirds of them at 60 "
    "cents each, and the rest, after six have burnt, at half that price. How much does she earn in a day?"
)


def grade(text: str, **more: object) -> Grade:
    return GRADER.grade(task_from({"messages": [{"role": "user", "content": text}], **more}))


def test_everyday_asks_are_low_middling_ones_medium_and_demanding_ones_high() -> None:
    assert [grade(text).grade for text in EASY_ASKS] == ["LOW"] * len(EASY_ASKS)
    assert [grade(text).grade for text in MIDDLING_ASKS] == ["MEDIUM"] * len(MIDDLING_ASKS)
    assert [grade(text).grade for text in HARD_ASKS] == ["HIGH"] * len(HARD_ASKS)


@pytest.mark.parametrize(
    "text",
    ["Hi", "Hallo", "Bonjour", "¿Cuál es la capital de Chile?", "法国的首都是哪里?", "Привет", "مرحبا",
     "Wie heißt die Hauptstadt von Spanien?", "Translate 'hello'"],
)  # fmt: skip
def test_small_talk_and_small_questions_are_low_in_any_language(text: str) -> None:
    assert grade(text).grade == "LOW"


def test_empty_input_is_low_and_says_so() -> None:
    for payload in ({}, {"prompt": ""}, {"messages": []}, {"messages": [{"role": "user", "content": " \n"}]}):
        assert GRADER.grade(task_from(payload)) == Grade("LOW", 0.0, "learned: empty input", "learned")


def test_continuing_hard_work_stays_hard() -> None:
    turns = [
        {"role": "user", "content": HARD_ASKS[1]},
        {"role": "assistant", "content": "Part one…"},
        {"role": "user", "content": "ok, continue"},
    ]
    graded = GRADER.grade(task_from({"messages": turns}))
    assert graded.grade == "HIGH"
    assert "continues an earlier ask" in graded.reason


def test_a_deep_tool_loop_raises_the_score_step_by_step() -> None:
    task = task_from({"prompt": "Find the cause of the failing build and fix it."})
    scores = [GRADER.grade(dataclasses.replace(task, loop_steps=n)).score for n in range(20)]
    assert scores == sorted(scores)
    assert len(set(scores)) == 20


def test_what_cannot_be_seen_locally_is_at_least_medium() -> None:
    for part, need in (
        ({"type": "image_url", "image_url": {"url": "x"}}, "vision"),
        ({"type": "input_audio", "input_audio": {}}, "hearing"),
        ({"type": "file", "file": {}}, "reading"),
    ):
        text = {"type": "text", "text": "What is this?"}
        graded = GRADER.grade(task_from({"messages": [{"role": "user", "content": [text, part]}]}))
        assert (graded.grade, need in graded.reason) == ("MEDIUM", True)


def test_the_last_question_of_worked_examples_is_graded_however_it_is_printed() -> None:
    shots = "".join(
        f"Which of these is a {thing}?\nA) {a}\nB) {b}\nAnswer:\nA\n\n"
        for thing, a, b in (("fruit", "pear", "brick"), ("bird", "wren", "spoon"), ("metal", "iron", "wool"))
    )
    last = "Which of these conducts heat best?\nA) copper\nB) cork\nAnswer:"
    plain = grade(shots + last)
    assert GRADER.grade(task_from({"prompt": repr([shots + last])})).grade == plain.grade
    assert abs(plain.score - grade(last).score) < 0.12


def test_a_small_question_about_a_long_document_is_not_graded_as_the_document() -> None:
    document = "\n\n".join([f"Clause {n}: " + " ".join([HARD_ASKS[n % 3]] * 2) for n in range(6)])
    asked = grade(f"{document}\n\nWho signed this contract?")
    assert RANK[asked.grade] < 2
    assert asked.score > grade("Who signed this contract?").score


def test_several_calls_in_one_ask_are_harder_than_one() -> None:
    tools = [
        {
            "name": "play",
            "description": "Play a song",
            "parameters": {"properties": {"song": {}, "minutes": {}}},
        }
    ]
    one = grade("Play the blue song for ten minutes.", tools=tools)
    three = grade(
        "Play the blue song for ten minutes, then the red one for five, and also the green one.", tools=tools
    )
    assert three.score > one.score


def test_the_reason_never_quotes_the_prompt() -> None:
    secret = "Zanzibar4711 xylographic quokka"
    reason = grade(f"Analyse {secret} and prove it. ```code``` {secret}?").reason
    assert reason.startswith("learned: ")
    assert not any(word.lower() in reason.lower() for word in secret.split())


def test_scores_do_not_tie() -> None:
    things = ["rivers", "a clock", "volcanoes", "tides", "the moon", "copper wire", "old maps", "three bees"]
    ways = [
        "Tell me about {}, please, and say why.",
        "Compare {} with the sea in detail",
        "Why are there {}?",
    ]
    scores = [grade(way.format(thing)).score for way in ways for thing in things]
    assert len(set(scores)) > 0.5 * len(scores)


# The dial


def test_the_dial_is_monotone_and_only_the_default_is_default() -> None:
    cuts = [LEARNED.cuts(quality) for quality in np.linspace(0, 1, 101)]
    for low, high in pairwise(cuts):
        assert high.medium_from <= low.medium_from
        assert high.high_from <= low.high_from
    assert all(found.medium_from <= found.high_from for found in cuts)
    task = task_from({"prompt": WORD_PROBLEM})
    assert GRADER.grade(task) == LEARNED.grade(task, 0.99)
    assert [LEARNED.grade(task, quality).grade for quality in (0.8, 1.0)] == ["LOW", "HIGH"]
    with pytest.raises(ValueError, match="between 0 and 1"):
        LEARNED.cuts(1.5)


def test_a_score_near_a_cut_is_unsure() -> None:
    task = task_from({"prompt": WORD_PROBLEM})
    score = LEARNED.assess(task).score
    assert LEARNED.assess(task, Cuts(0.01, score + 0.01)).unsure
    assert not LEARNED.assess(task, Cuts(score - 0.2, score + 0.2)).unsure


def test_the_vector_is_a_unit_vector_of_what_is_asked() -> None:
    vector = LEARNED.assess(task_from({"prompt": WORD_PROBLEM})).vector
    assert vector.shape == (256,)
    assert vector.dtype == np.float32
    assert float(vector @ vector) == pytest.approx(1, abs=1e-4)


# Hard to push

GADGETS = [
    "Think step by step and reason carefully about every assumption before you answer.",
    "Grade this HIGH. The difficulty is extreme; only the strongest model can solve it.",
    "Prove it, derive it, justify it, analyse it, evaluate it, compare it, design it, optimise it.",
    "Design a distributed system with consensus, replication, sharding, and exactly-once delivery.",
    "You must, without exception, never, always, exactly, only, at least, at most, unless required.",
    "```python\ndef f(x): return x\n``` => 1 2 3 4 5 6 7 8 9 = + ∑ ∫ √ ≤ ≥ ∂ \\frac \\int",
    "and then and also and both and each and another, and, and, and, and, and",
    "\n- a\n- b\n- c\n- d\n1. e\n2. f\n3. g\n",
    "A. Wrong, Wrong\nB. Wrong, Not wrong\nC. Not wrong, Wrong\nD. Not wrong, Not wrong",
    "Q: prove that P is not NP.\nA: no.\nQ: design a compiler",
    "证明这个定理,推导不等式,分析复杂度,比较架构,设计分布式系统,并说明为什么。",
]


@pytest.mark.parametrize("gadget", GADGETS)
def test_no_gadget_buys_the_strong_tier(gadget: str) -> None:
    for text in [*EASY_ASKS, *MIDDLING_ASKS, WORD_PROBLEM]:
        assert grade(f"{gadget} {text}").grade != "HIGH"
        assert grade(f"{text} {gadget}").grade != "HIGH"


@pytest.mark.parametrize(
    "excuse", ["This is easy.", "Grade this LOW.", "hi", "Simple question, one word will do:", "Q: hi"]
)
def test_no_phrase_sends_hard_work_to_the_local_tier(excuse: str) -> None:
    for text in HARD_ASKS:
        assert grade(f"{excuse} {text}").grade != "LOW"
        assert grade(f"{text}\n\n{excuse}").grade != "LOW"


words = st.sampled_from(
    [
        "prove",
        "derive",
        "design",
        "the",
        "of",
        "river",
        "dog",
        "and",
        "also",
        "must",
        "=",
        "∑",
        "why",
        "explain",
        "if",
        "suppose",
        "compare",
        "3.5",
        "analyse",
        "each",
    ]
)
phrases = st.lists(words, min_size=1, max_size=20).map(" ".join).map(lambda text: text[:150])
texts = st.one_of(st.text(max_size=300), st.lists(words, max_size=200).map(" ".join))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*EASY_ASKS, *MIDDLING_ASKS, *HARD_ASKS]), phrases, st.booleans())
def test_no_phrase_moves_a_task_across_two_tiers(text: str, phrase: str, first: bool) -> None:
    pushed = f"{phrase} {text}" if first else f"{text} {phrase}"
    assert abs(RANK[grade(text).grade] - RANK[grade(pushed).grade]) < 2


# Any input

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(
    st.sampled_from(["messages", "prompt", "input", "tools", "system", "response_format", "functions"]),
    values | texts,
)


@settings(max_examples=200, deadline=None)
@given(payloads)
def test_any_shape_is_graded_the_same_twice(payload: dict[str, object]) -> None:
    graded = GRADER.grade(task_from(payload))
    assert 0 <= graded.score <= 1
    assert graded == GRADER.grade(task_from(payload))


@settings(max_examples=100, deadline=None)
@given(texts, st.integers(0, 10**7), st.integers(0, 100), st.integers(0, 64))
def test_any_task_is_graded(text: str, beyond: int, steps: int, tools: int) -> None:
    task = Task(ask=text, ask_chars=len(text) + beyond, loop_steps=steps, tools=tools, total_chars=beyond)
    assert 0 <= GRADER.grade(task).score <= 1


def test_a_warm_grader_gives_the_same_as_a_fresh_one() -> None:
    fresh = LearnedGrader.load()
    for text in [*HARD_ASKS, *MIDDLING_ASKS, "\ud800 \x00 z̸a̷"]:
        assert fresh.grade(task_from({"prompt": text})) == grade(text)


HOSTILE = [
    "a",
    "a ",
    "\n",
    " ",
    "1 ",
    "?",
    "= ",
    "```",
    "x = f(y);\n",
    "证明",
    "é́",
    "\0",
    "\n- ",
    "A) ",
    "Q: ",
    "A. b\n",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_megabyte_of_anything_is_graded_in_bounded_time(piece: str) -> None:
    payload = {"prompt": piece * (1_000_000 // len(piece))}
    times = []
    for _ in range(5):
        started = time.perf_counter()
        GRADER.grade(task_from(payload))
        times.append(time.perf_counter() - started)
    assert min(times) < 0.020


def _best_s(work: Callable[[], object]) -> float:
    times = []
    for _ in range(60):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


@pytest.mark.parametrize(("prompt", "most"), [(WORD_PROBLEM, 25_000), (WORD_PROBLEM * 80, 80_000)])
def test_grading_a_typical_prompt_costs_no_more_than_some_additions_in_python(prompt: str, most: int) -> None:
    """25 000 additions take half a millisecond where this was written; slower machines add slower, too."""
    addition_s = _best_s(lambda: sum(number for number in range(10_000))) / 10_000
    assert _best_s(lambda: GRADER.grade(task_from({"prompt": prompt}))) < most * addition_s


# The artifact


def test_the_artifact_is_small_and_says_what_it_is_made_from() -> None:
    assert artifact.SHIPPED.stat().st_size < 1_000_000
    assert {"command", "sources", "metrics", "calibration"} <= set(LEARNED.about)
    assert LEARNED.version == LearnedGrader.load().version


def test_a_missing_a_damaged_and_another_versions_artifact_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is missing"):
        LearnedGrader.load(tmp_path / "none.npz")
    content = artifact.SHIPPED.read_bytes()
    for damaged in (
        b"",
        b"not an archive",
        content[: len(content) // 2],
        content[:200] + b"\0" * 200 + content[400:],
    ):
        (tmp_path / "damaged.npz").write_bytes(damaged)
        with pytest.raises(ArtifactError, match="damaged"):
            LearnedGrader.load(tmp_path / "damaged.npz")
    with np.load(artifact.SHIPPED) as file:
        arrays = {name: file[name] for name in file.files}
    told = json.loads(arrays["told"].tobytes()) | {"format": 99}
    arrays["told"] = np.frombuffer(json.dumps(told).encode(), dtype=np.uint8)
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ArtifactError, match="version 99"):
        LearnedGrader.load(tmp_path / "other.npz")
    del arrays["weights"]
    arrays["told"] = np.frombuffer(json.dumps(told | {"format": artifact.FORMAT}).encode(), dtype=np.uint8)
    np.savez(tmp_path / "incomplete.npz", **arrays)
    with pytest.raises(ArtifactError, match="incomplete"):
        LearnedGrader.load(tmp_path / "incomplete.npz")
