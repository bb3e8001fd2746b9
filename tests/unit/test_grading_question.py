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


NOTICE = (
    "Each party must ensure that its employees satisfy the requirements of this policy, evaluate the risks "
    "and justify the strategy. Neither party may assign this agreement unless both agree. The system must "
    "preserve the database and analyse every query, except as required."
)


@pytest.mark.parametrize(
    "prompt",
    [
        "Translate to German:\n\n{}",
        "Proofread this text: {}",
        'Make this shorter:\n"""\n{}\n"""',
        "{}\n\nTL;DR?",
        "Use the context to answer.\nContext: {}\nQuestion: Who is mentioned first?",
    ],
)
def test_the_words_of_a_text_that_is_only_worked_on_are_not_what_is_asked(prompt: str) -> None:
    found = question_of(prompt.format(NOTICE))
    assert "party" not in found.stem
    assert found.context > 200


@pytest.mark.parametrize(
    "prompt",
    [
        "Translate this proof into Lean and prove each lemma: {}",
        "Review this policy: {}",
        "{}\nQ: ok?",
    ],
)
def test_where_the_text_is_to_be_thought_about_it_is_part_of_the_ask(prompt: str) -> None:
    assert "party" in question_of(prompt.format(NOTICE)).stem


def test_full_width_signs_are_read_like_their_ascii_kin() -> None:
    wide, narrow = "问题：哪一个最大？\nA．三\nB．四\n答案：", "问题:哪一个最大?\nA.三\nB.四\n答案:"
    assert question_of(wide) == question_of(narrow)
    assert question_of(wide).options == ("三", "四")


def test_of_a_long_document_the_instruction_counts_not_the_line_that_presents_it() -> None:
    document = "\n\n".join(["The tenant pays on the first of the month and keeps the garden."] * 40)
    ask = "Analyse each clause, compare them and evaluate which one could not be enforced."
    assert ask in question_of(f"Here is a contract:\n\n{document}\n\n{ask}").stem
