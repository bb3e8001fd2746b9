"""The learned check: what its features see, where it abstains, and how it fails to load."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from farthing.grading.check import Answer, ArtifactError, LearnedCheck, check_answer
from farthing.grading.check.arithmetic import statements
from farthing.grading.check.features import NAMES, row
from farthing.grading.check.wanted import wanted_from

CHECK = LearnedCheck.load()
QUESTION = (
    "A baker sells 14 loaves in the morning and 9 in the afternoon, each for $3. She spends $20 on flour. "
    "How much money does she have left?"
)
GOOD = (
    "She sells 14 + 9 = 23 loaves.\nThey bring in 23 * $3 = $69.\n"
    "After the flour she has $69 - $20 = $49 left.\nTherefore, she has $49 left."
)
FALSE_SUM = GOOD.replace("$69", "$96").replace("$49", "$76")
UNUSED = "She sells 14 + 9 = 23 loaves. They bring in 23 * $3 = $69. The answer is $69."


def payload(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


def right(question: str, text: str) -> float | None:
    return CHECK.probability_right(wanted_from(payload(question)), Answer(text, (), "stop"))


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("3 boxes * $2.50 = $7.50", [True]),
        ("17 inches / (1/4 inch per piece) = 68", [True]),
        (r"\frac{1}{2} \times 12 = 6", [True]),
        ("12 x 5 = 60, and 60 – 7 = 53", [True, True]),
        ("10% of 50 = 5", [True]),
        ("20/100 * 40 = 8%", [True]),
        ("100 / 3 = 33.33", [True]),
        ("1,250 + 750 = 2,000", [True]),
        ("-6 + 3 = -3", [True]),
        ("12 + 6 = 18 / 3 = 6", [True, True]),
        ("<<4*5=20>>", [True]),
        ("2 + 2 = 5", [False]),
        ("100 / 3 = 34", [False]),
        ("7 * 8 = 54 = 50 + 4", [False]),
        ("1 / 0 = 7", []),
        ("2x + 3 = 11", []),
        ("x = 4", []),
        ("2 dozen + 3 = 27", []),
        ("a 36-minute call = $8", []),
        ("(((", []),
    ],
)
def test_arithmetic_is_read_among_words_and_checked(text: str, true: list[bool]) -> None:
    assert [statement.true for statement in statements(text)] == true


def test_features_name_what_is_wrong() -> None:
    good = dict(zip(NAMES, row(QUESTION, GOOD) or [], strict=True))
    false = dict(zip(NAMES, row(QUESTION, FALSE_SUM) or [], strict=True))
    unused = dict(zip(NAMES, row(QUESTION, UNUSED) or [], strict=True))
    assert good["false_sums"] == 0 < false["false_sums"]
    assert good["unused_numbers"] == 0 < unused["unused_numbers"]


def test_a_sound_answer_is_trusted_more_than_an_unsound_one() -> None:
    sound, false, unused = (right(QUESTION, text) or 0.0 for text in (GOOD, FALSE_SUM, UNUSED))
    assert sound > unused > false
    assert sound >= CHECK.threshold > false


def test_doubt_is_a_failure_with_its_figure() -> None:
    verdict = check_answer(payload(QUESTION), Answer(FALSE_SUM, (), "stop"), learned=CHECK)
    assert verdict.failure == "doubtful"
    assert check_answer(payload(QUESTION), Answer(GOOD, (), "stop"), learned=CHECK).ok
    assert check_answer(payload(QUESTION), Answer(FALSE_SUM, (), "stop")).ok
    assert check_answer(
        payload(QUESTION), Answer(FALSE_SUM, (), "stop"), learned=replace(CHECK, threshold=0.0)
    ).ok


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What is the capital of Peru?", "Lima."),
        ("Summarise the report of 2023 and 2024.", "Sales rose by 4 % in 2024."),
        ("How many moons do the 8 planets have, about?", "The planets of our system have many moons in all."),
        ("How do I loop 3 times over 5 items in Python?", "```python\nfor i in range(3): ...\n```"),
        (QUESTION, "I do not know."),
        ("Which of the 2 poems of 1798 is longer?", "The second one, by 40 lines."),
    ],
)
def test_it_abstains_where_it_was_not_trained(question: str, text: str) -> None:
    assert right(question, text) is None


def test_it_abstains_on_what_is_no_whole_text_and_no_first_question() -> None:
    assert CHECK.probability_right(wanted_from(payload(QUESTION)), Answer(GOOD, (), "length")) is None
    with_tools = payload(QUESTION) | {"tools": [{"type": "function", "function": {"name": "calculate"}}]}
    assert CHECK.probability_right(wanted_from(with_tools), Answer(GOOD, (), "stop")) is None
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    later = {"messages": [*turns, {"role": "user", "content": QUESTION}]}
    assert CHECK.probability_right(wanted_from(later), Answer(GOOD, (), "stop")) is None
    as_json = payload(QUESTION) | {"response_format": {"type": "json_object"}}
    assert CHECK.probability_right(wanted_from(as_json), Answer(GOOD, (), "stop")) is None


def test_the_same_answer_always_gets_the_same_figure() -> None:
    assert right(QUESTION, GOOD) == LearnedCheck.load().probability_right(
        wanted_from({"input": QUESTION}), Answer(GOOD, (), "stop")
    )


def damaged(tmp_path: Path, **changes: object) -> Path:
    content = json.loads((files("farthing.grading.check") / "answer_check.json").read_text())
    path = tmp_path / "check.json"
    path.write_text(json.dumps(content | changes))
    return path


def test_a_missing_or_damaged_artifact_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere\.json cannot be read.*train"):
        LearnedCheck.load(tmp_path / "nowhere.json")
    broken = tmp_path / "broken.json"
    for text in ("{", "[]", '"x"', "{}", "\x00", "[" * 100_000):
        broken.write_text(text)
        with pytest.raises(ArtifactError, match="damaged"):
            LearnedCheck.load(broken)
    with pytest.raises(ArtifactError, match=r"version 2; this farthing reads .* version 1"):
        LearnedCheck.load(damaged(tmp_path, version=2))
    with pytest.raises(ArtifactError, match="features"):
        LearnedCheck.load(damaged(tmp_path, features=["sums"]))
    shapes = {"sums": {"cuts": [1.0, 2.0], "values": [0.0]}}
    with pytest.raises(ArtifactError, match="2 cuts and 1 values"):
        LearnedCheck.load(damaged(tmp_path, shapes=shapes))
    for threshold in (None, "high", True):
        with pytest.raises(ArtifactError):
            LearnedCheck.load(damaged(tmp_path, threshold=threshold))
