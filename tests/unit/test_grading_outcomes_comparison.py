"""Two answers agree if they surely say the same; a near miss never passes for it."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.grading.outcomes import answers_agree

ESSAY = (
    "Rivers carve valleys because moving water lifts grains of rock and carries them off, year after year."
)
OTHER = "Water in motion takes bits of stone with it, and over long times that is how valleys come to be."
WORKED = "Ann has 3 bags of 6 apples: 3 * 6 = 18. She eats 4, so 18 - 4 = 14 apples are left."


@pytest.mark.parametrize(
    ("cheap", "strong"),
    [
        ("Paris", "paris."),
        ("“Paris”", "**Paris**"),
        ("  two\n words ", "Two words"),
        ("Ｆｕｌｌ", "full"),
        (ESSAY, ESSAY),
        ("42", "42.0"),
        ("1,234", "1234"),
        ("$18", "18 dollars."[:2]),
        ("0.5", "1/2"),
        ("-7", "−7"),
        ("٤٢", "42"),
        ("18", "The answer is 18."),
        ("So that makes\n#### 14", WORKED),
        (WORKED, "Six threes are 18, so 18 minus 4 (eaten), 18 - 4 = 14 apples."),
        (r"Thus \boxed{14}", "**Answer:** 14"),
        ("Answer: $1,500", "answer is 1500"),
        ("Die Antwort ist 14", "14"),
        ("答案是 14", "14"),
        ("答案是\uff1a14", "14"),
        ("B", "(b)"),
        ("B)", "The answer is B. Iron rusts, gold does not."),
        ("B. Iron", "**B**"),
        (r"\boxed{C}", "Answer: C"),
        ("Yes", "Yes, since both are even."),
        ("True.", "yes"),
        ('{"a": 1, "b": [true, null]}', '{"b": [true, null], "a": 1.0}'),
        ('```json\n{"city": "Rome"}\n```', '{ "city": "rome" }'),
    ],
)
def test_the_same_in_another_form_agrees(cheap: str, strong: str) -> None:
    assert answers_agree(cheap, strong) is True
    assert answers_agree(strong, cheap) is True


@pytest.mark.parametrize(
    ("cheap", "strong"),
    [
        ("Lyon", "Paris"),
        ("positive", "negative"),
        ("42", "43"),
        ("42", "-42"),
        ("4.2", "42"),
        ("1.5", "1.05"),
        ("1/2", "1/3"),
        ("#### 14", r"\boxed{15}"),
        ("Answer: 18 apples", "The answer is 14 apples."),
        ("A", "B"),
        ("The answer is (A).", "Answer: B"),
        ("Yes, since both are even.", "No, the second is odd."),
        ("是\uff0c两个都是偶数。", "否\uff0c第二个是奇数。"),
        ("true", "false"),
        ('{"a": 1}', '{"a": 2}'),
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"city": "Rome"}', '{"city": "Roma Termini"}'),
        ("[]", "[0]"),
        ("", "Paris"),
        (" \n", ESSAY),
    ],
)
def test_two_different_ones_of_a_kind_disagree(cheap: str, strong: str) -> None:
    assert answers_agree(cheap, strong) is False


@pytest.mark.parametrize(
    ("cheap", "strong"),
    [
        (ESSAY, OTHER),
        ("Paris", ""),
        ("It is Paris.", "Not Paris."),
        ("The war ended in 1945.", "It began in 1945."),
        ("Sales rose 5% in May.", "Sales fell 5% in May."),
        ("5%", "5"),
        ("5 million", "5"),
        ("18 km", "18 miles"),
        ("#### 14", "18 - 4 = 14 apples, in 2 bags."),
        ("10^3", "3"),
        ("There were 3 kings, in 1066 and before.", "#### 1067"),
        ("Yes, because it is prime, which I checked.", "Yes, because it ends in 7 and is odd."),
        ("No problem, here you are: done", "Sure, it is done"),
        ("C", "C is a language for systems"),
        ("B", "Iron"),
        ("C++", "C is fine"),
        ("A cat sat down.", "B flat is a note"),
        ('{"a": 1}', "a is 1"),
        ('{"a": 1', '{"a": 1}'),
        (json.dumps({"summary": ESSAY}), json.dumps({"summary": OTHER})),
        ("1/0", "1/0 is undefined"),
        ("May 12", "June 12"),
        ("[" * 50_000, "{" * 50_000),
        ("```py\nx = 1 * 2\nreturn x + 5\n```", "```py\nfor i in range(5):\n    y = i - 5\n```"),
        ("SELECT a FROM t WHERE id = 5", "DELETE FROM t WHERE id = 5"),
    ],
)
def test_what_cannot_be_told_is_left_open(cheap: str, strong: str) -> None:
    assert answers_agree(cheap, strong) is None


@pytest.mark.parametrize(
    ("likeness", "agree"),
    [(0.99, True), (0.95, True), (0.94, None), (0.3, None), (0.29, False), (-1.0, False)],
)
def test_long_texts_are_decided_by_their_likeness_if_it_is_given(likeness: float, agree: bool | None) -> None:
    assert answers_agree(ESSAY, OTHER, lambda a, b: likeness) is agree


def test_texts_alike_but_for_a_number_do_not_agree() -> None:
    cheap, strong = f"{ESSAY} It took 30 years in all.", f"{ESSAY} It took 80 years in all."
    assert answers_agree(cheap, strong, lambda a, b: 0.99) is None


def test_likeness_is_not_asked_where_the_answer_is_plain() -> None:
    def likeness(a: str, b: str) -> float:
        raise AssertionError("asked")

    assert answers_agree("#### 14", "14", likeness) is True
    assert answers_agree("A", "B", likeness) is False


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4))
def test_json_agrees_with_itself_however_it_is_written(value: dict[str, object]) -> None:
    again = json.dumps(dict(reversed(value.items())), indent=3)
    assert answers_agree(f"```json\n{again}\n```", json.dumps(value, ensure_ascii=False)) is True


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_numbers_agree_exactly_if_they_are_equal(a: int, b: int) -> None:
    assert answers_agree(f"{a:,}", f"The answer is {b}") is (a == b)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_two_texts_break_the_comparison_and_it_has_no_sides(a: str, b: str) -> None:
    if a.strip() and b.strip():
        assert answers_agree(a, b) is answers_agree(b, a)
    else:
        answers_agree(a, b)


@pytest.mark.parametrize(
    "piece",
    [
        "1,",
        "answer ",
        "= 1/",
        "*",
        "9",
        "\n",
        " ",
        "answer\n",
        "```\n",
        "a!",
        "1-",
        "-1=",
        "\u0301",
        "(",
        "$",
        "ﷺ",
        "{",
    ],
)
@pytest.mark.parametrize("start", ["", "answer", "```", "1 * 2 ="])
def test_long_hostile_answers_are_read_in_bounded_time(start: str, piece: str) -> None:
    hostile = start + piece * (100_000 // len(piece))
    started = time.perf_counter()
    answers_agree(hostile + "x", "y" + hostile)
    assert time.perf_counter() - started < 5
