"""What is asked, apart from how the prompt is laid out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.grading.learned.question import question_of

STEM = "Which gas do plants take up?"
OPTIONS = ("carbon dioxide", "helium", "argon", "neon")


@pytest.mark.parametrize(
    "layout",
    [
        "{stem}\nA. {0}\nB. {1}\nC. {2}\nD. {3}\nAnswer:",
        "Question: {stem}\n(A) {0}\n(B) {1}\n(C) {2}\n(D) {3}",
        "{stem}\nA) {0}\nB) {1}\nC) {2}\nD) {3}\nPrint only a single choice without explanation.\nAnswer:",
        "{stem} A) {0} B) {1} C) {2} D) {3}",
        "Please answer with the letter of the correct answer.\n\n{stem}\nA: {0}\nB: {1}\nC: {2}\nD: {3}",
    ],
)
def test_the_frame_of_a_multiple_choice_is_not_what_is_asked(layout: str) -> None:
    found = question_of(layout.format(*OPTIONS, stem=STEM))
    assert (found.stem, found.options) == (STEM, OPTIONS)


def test_worked_examples_lead_to_the_last_question() -> None:
    shots = "".join(
        f"How many legs has a {animal}?\nAnswer: {n}\n\n"
        for animal, n in (("hen", 2), ("cow", 4), ("ant", 6))
    )
    assert question_of(f"{shots}How many legs has a spider?\nAnswer:").stem == "How many legs has a spider?"
    assert (
        question_of(repr([f"{shots}How many legs has a spider?\nAnswer:"])).stem
        == "How many legs has a spider?"
    )


def test_examples_unlike_the_rest_do_not_hide_it() -> None:
    ask = "Prove that the sequence converges and give a bound for its error. " * 6
    assert question_of(f"{ask}\nQ: a\nA: b\nQ: hi\nA:").stem.startswith("Prove")


def test_advice_on_how_to_think_is_no_ask() -> None:
    assert question_of(f"{STEM} Think step by step.").stem == STEM
    assert question_of(f"Take a deep breath. {STEM}").stem == STEM


def test_a_long_document_is_the_context_of_its_short_question() -> None:
    document = "\n\n".join(
        ["The tenant keeps the garden in good order and pays on the first of the month."] * 40
    )
    for prompt in (f"{document}\n\nWho pays?", f"Who pays?\n\n{document}"):
        found = question_of(prompt)
        assert "Who pays?" in found.stem
        assert len(found.stem) < 200
        assert found.context > 500


@given(st.text(max_size=2_000))
def test_any_text_asks_something(text: str) -> None:
    found = question_of(text)
    assert bool(found.stem) or not text.strip() or bool(found.options)
