"""The rule grader: ordered, bounded, hard to push, and silent about what it read."""

import dataclasses
import math
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from farthing.grading import Grade, Grader, RuleGrader, Task, task_from
from farthing.grading.lexicon import GROUPS
from farthing.grading.rules import contributions

GRADER: Grader = RuleGrader()
RANK = {"LOW": 0, "MEDIUM": 1, "HIGH": 2}
HARD = (
    "Refactor this Python class so that it is thread safe and analyse the complexity of each method. It must "
    "preserve the public API, never block for more than 10 ms, and avoid a global lock.\n```python\n"
    "class Cache:\n    def get(self, key):\n        return self.items.get(key)\n"
    "    def put(self, key, value):\n        if len(self.items) >= self.size:\n"
    "            self.items.pop(next(iter(self.items)))\n```\n"
    "Explain each race condition, design a benchmark, and prove that no update is ever lost."
)


def grade(text: str, **more: object) -> Grade:
    return GRADER.grade(task_from({"messages": [{"role": "user", "content": text}], **more}))


def test_the_three_grades_are_reached_by_plain_examples() -> None:
    assert grade("What is the capital of France?").grade == "LOW"
    assert grade("Prove that the square root of 2 is irrational.").grade == "MEDIUM"
    assert grade(HARD).grade == "HIGH"


def test_empty_input_is_low_and_says_so() -> None:
    for payload in ({}, {"prompt": ""}, {"messages": []}, {"messages": [{"role": "user", "content": " \n"}]}):
        assert GRADER.grade(task_from(payload)) == Grade("LOW", 0.0, "rule: empty input")


def test_the_cuts_are_the_settings() -> None:
    task = task_from({"prompt": "Prove that the square root of 2 is irrational."})
    score = GRADER.grade(task).score
    assert RuleGrader(score, 1).grade(task).grade == "MEDIUM"
    assert RuleGrader(math.nextafter(score, 1), 1).grade(task).grade == "LOW"
    assert RuleGrader(0, score).grade(task).grade == "HIGH"
    with pytest.raises(ValueError, match="medium_from"):
        RuleGrader(0.7, 0.6)


def test_continuing_hard_work_stays_hard() -> None:
    turns = [
        {"role": "user", "content": HARD},
        {"role": "assistant", "content": "Part one…"},
        {"role": "user", "content": "ok, continue"},
    ]
    graded = GRADER.grade(task_from({"messages": turns}))
    assert graded.grade == "HIGH"
    assert "continues an earlier ask" in graded.reason


def test_a_deep_tool_loop_raises_the_grade_step_by_step() -> None:
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
        assert 0.35 <= graded.score < 0.65
        assert GRADER.grade(task_from({"messages": [{"role": "user", "content": [part]}]})).grade == "MEDIUM"


def test_the_capability_floor_keeps_the_order() -> None:
    easy, harder = (Task(ask=a, ask_chars=len(a), images=1) for a in ("hi", "What is the capital of France?"))
    assert GRADER.grade(easy).score < GRADER.grade(harder).score


@pytest.mark.parametrize(
    "command", ["Grade this LOW.", "Set grade=HIGH", 'Answer with {"grade": "HIGH"}', "A SIMPLE task."]
)
def test_a_grade_named_in_the_text_is_content(command: str) -> None:
    for text in ("What is the capital of France?", HARD):
        assert grade(f"{text} {command}").grade == grade(text).grade
        neutral = "Many dogs run outside."[: len(command)]
        assert abs(grade(f"{text} {command}").score - grade(f"{text} {neutral}").score) < 0.1


@pytest.mark.parametrize(
    "text",
    [
        "你好，请问今天的天气怎么样？我想出去走走。",
        "Bonjour, pourriez-vous me conseiller un bon restaurant près de la gare ?",
        "Wie komme ich am besten vom Bahnhof zum Museum?",
        "Подскажи, пожалуйста, как пройти к вокзалу",
        "駅までの道を教えてください。歩いて行きたいです。",
        "كيف يمكنني الوصول إلى المحطة من هنا؟",
    ],
)
def test_other_languages_are_not_thrown_to_an_extreme(text: str) -> None:
    for n in (1, 3, 10, 200):
        score = grade(" ".join([text] * n)).score
        assert 0.25 < score < 0.75


def test_hard_words_count_in_other_languages_too() -> None:
    pairs = [("今天天气很好对不对", "请证明这个数学定理"), ("Wie heißt du denn", "Beweise das mit Recht")]
    for easy, hard in pairs:
        assert grade(hard).score > grade(easy).score


def test_scores_rarely_tie() -> None:
    things = ["rivers", "a clock", "volcanoes", "tides", "the moon", "copper wire", "old maps", "three bees"]
    ways = ["Tell me about {}", "Tell me about {} in brief", "Why are there {}?", "Which {} do you like?"]
    asks = [way.format(thing) for way in ways for thing in things]
    scores = [grade(ask).score for ask in asks]
    assert len(set(scores)) > 0.5 * len(scores)


def test_the_reason_never_quotes_the_prompt() -> None:
    secret = "Zanzibar4711 xylographic quokka"
    reason = grade(f"Analyse {secret} and prove it. ```code``` {secret}?").reason
    assert reason.startswith("rule: ")
    assert not any(word.lower() in reason.lower() for word in secret.split())


def test_typical_and_enormous_prompts_are_graded_in_bounded_time() -> None:
    def best(payload: dict[str, object]) -> float:
        times = []
        for _ in range(20):
            started = time.perf_counter()
            GRADER.grade(task_from(payload))
            times.append(time.perf_counter() - started)
        return min(times)

    assert best({"prompt": HARD[:200]}) < 0.000_5
    for text in ("a", "a ", "\n", " ", "1 ", "?", "= ", "```", "x = f(y);\n", "证明", "é́", "\0", "\n- "):
        assert best({"prompt": text * (1_000_000 // len(text))}) < 0.010


texts = st.one_of(
    st.text(max_size=300),
    st.lists(
        st.sampled_from(
            ["the", "of", "river", "dog", "blue", "cake", "is", "hello", "translate", "and", "why"]
        ),
        max_size=250,
    ).map(" ".join),
)
tasks = st.builds(
    lambda text, beyond, **more: Task(ask=text, ask_chars=len(text) + beyond, **more),
    texts,
    st.sampled_from([0, 0, 100, 10_000, 10**7]),
    turns=st.integers(0, 50),
    loop_steps=st.integers(0, 100),
    loop_errors=st.integers(0, 100),
    tools=st.integers(0, 64),
    tool_parameters=st.integers(0, 300),
    structured=st.booleans(),
    total_chars=st.integers(0, 10**7),
)
hard_words = sorted(set().union(*(words for name, words in GROUPS.items() if name != "simple")))
phrases = st.lists(st.sampled_from(hard_words), min_size=1, max_size=12).map(" ".join).map(lambda t: t[:92])


@settings(max_examples=300, deadline=None)
@given(tasks)
def test_scores_stay_within_bounds_and_agree_with_the_grade(task: Task) -> None:
    graded = GRADER.grade(task)
    assert 0 <= graded.score <= 1
    assert graded == GRADER.grade(task)
    assert graded.grade == ("HIGH" if graded.score >= 0.65 else "MEDIUM" if graded.score >= 0.35 else "LOW")


@settings(max_examples=300, deadline=None)
@given(tasks)
def test_no_feature_can_move_a_grade_across_two_tiers(task: Task) -> None:
    band = math.log(0.65 / 0.35) * 2
    for name, value in contributions(task).items():
        assert abs(value) < band, name


STATE = ["ask_chars", "loop_steps", "loop_errors", "tools", "turns", "structured", "total_chars"]


@settings(max_examples=500, deadline=None)
@given(tasks, st.data())
def test_no_single_change_of_state_moves_two_tiers(task: Task, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(STATE))
    other = dataclasses.replace(task, **{name: getattr(data.draw(tasks), name)})
    assert abs(RANK[GRADER.grade(task).grade] - RANK[GRADER.grade(other).grade]) < 2


@settings(max_examples=800, deadline=None)
@given(texts, phrases, st.sampled_from(["", "?", " x=1", "\n- 2"]), st.booleans(), st.integers(0, 6))
def test_no_phrase_moves_a_task_from_low_to_high_or_back(
    text: str, phrase: str, end: str, first: bool, tools: int
) -> None:
    assume(text.strip())
    more = {"tools": [{"name": "f"}] * tools}
    pushed = f"{phrase}{end} {text}" if first else f"{text} {phrase}{end}"
    assert abs(RANK[grade(text, **more).grade] - RANK[grade(pushed, **more).grade]) < 2


@pytest.mark.parametrize(
    "gadget",
    [
        "Think step by step and reason carefully about every assumption before you answer.",
        "Prove it, derive it, justify it, analyse it, evaluate it, compare it, design it, optimise it.",
        "You must, without exception, never, always, exactly, only, at least, at most, unless required.",
        "```python\ndef f(x): return x\n``` => 1 2 3 4 5 6 7 8 9 = + ∑ ∫ √ ≤ ≥ ∂ \\frac \\int",
        "? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ?",
        "\n- a\n- b\n- c\n- d\n1. e\n2. f\n3. g\n",
    ],
)
def test_known_gadgets_do_not_make_an_easy_task_high(gadget: str) -> None:
    for easy in ("What is the capital of France?", "hi", "Translate to German: the dog sleeps outside."):
        assert grade(easy).grade == "LOW"
        assert grade(f"{gadget} {easy}").grade != "HIGH"
        assert grade(f"{easy} {gadget}").grade != "HIGH"
