"""The intent of an ask: what varies is masked, what a grade depends on is not, and accounts never meet."""

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.grading.intent import facts_of, intent_of, masked, room_of
from farthing.grading.task import Task, task_from


def ask(text: str, **state: int | bool) -> Task:
    return replace(task_from({"messages": [{"role": "user", "content": text}]}), **state)  # type: ignore[arg-type]


def key(text: str, **state: int | bool) -> str:
    return intent_of(ask(text, **state), "scope", "realm")


SAME = [
    ("How far is it from stop 12 to stop 47?", "how far is it  from stop 85 to stop 3"),
    ("Remind me on 2024-05-01.", "Remind me on 2031-12-24."),
    ("Remind me on May 3, 2024.", "Remind me on November 12, 2025."),
    ("Remind me on 3 May 2024.", "Remind me on 12 November 2025."),
    ("Refund $1,250.00 to the customer.", "Refund €3,499.95 to the customer."),
    ("Forward it to ann@example.com, please.", "Forward it to bob.smith+x@mail.example.org, please."),
    ("Summarise https://example.com/a?b=1.", "Summarise http://example.org/other/page."),
    ("Show order 550e8400-e29b-41d4-a716-446655440000.", "Show order 123e4567-e89b-12d3-a456-426614174999."),
    ("What changed in commit 3f2a9bc1d?", "What changed in commit 77ab01ccde?"),
    ("Who owns the token tok_9aX2bC3dE4fG5hI6?", "Who owns the token tok_1zY8xW7vU6tS5rQ4?"),
    ("Tail /var/log/app/today.log for me", "Tail /srv/logs/other/web-2.log for me"),
    ("Explain src/app/main.py to me", "Explain lib/core/run.py to me"),
    ("Open report_2023.pdf now", "Open minutes-final.pdf now"),
    (r"Open c:\temp\a.xlsx now", r"Open d:\users\me\b.xlsx now"),
    ('Translate "good morning" into French please.', 'Translate "good evening" into French please.'),
    ("What is the ﬁrst step?", "WHAT IS THE FIRST STEP?"),
    ("Roll the dice １２ times", "Roll the dice 37 times"),
]

DIFFERENT = [
    ("What is 2+2?", "What is 482910473625 * 918273645519?"),
    ("Add 3 and 4.", "Add 3, 4, 5, 6 and 7."),
    ("Solve x^2 = 5.", "Solve x^7 = 5."),
    ("Solve x² = 5.", "Solve x⁷ = 5."),
    ("Explain sha1.", "Explain sha256."),
    ("Explain main.py in depth", "Explain main.asm.png in depth"),
    ('Explain "entropy"', 'Explain "osmosis"'),
    ('Evaluate "hello" in the shell for me now', 'Evaluate "f(x)=1" in the shell for me now'),
    ("Open it.", "Do not open it."),
    ("Translate to French.", "Translate to Latin."),
    ("Is 91 prime?", "Is 91 = prime?"),
    ("Don't 'stop' me now, says he", "Don't stop me now, says he"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_varies_is_masked(one: str, other: str) -> None:
    assert masked(one) == masked(other)
    assert key(one, ask_chars=40, total_chars=40) == key(other, ask_chars=40, total_chars=40)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_tasks_of_different_difficulty_stay_apart(one: str, other: str) -> None:
    assert key(one, ask_chars=30, total_chars=30) != key(other, ask_chars=30, total_chars=30)


@pytest.mark.parametrize(
    "state",
    [
        {"tools": 20},
        {"tool_parameters": 60},
        {"loop_steps": 6},
        {"loop_errors": 1},
        {"images": 1},
        {"audio": 1},
        {"documents": 2},
        {"structured": True},
        {"continued": True},
        {"turns": 12},
        {"system_chars": 9_000},
        {"total_chars": 90_000},
        {"ask_chars": 500_000},
    ],
)
def test_the_state_of_the_conversation_is_part_of_the_intent(state: dict[str, int]) -> None:
    assert key("go through the list") != key("go through the list", **state)
    if "ask_chars" not in state:
        assert facts_of(ask("go through the list")) != facts_of(ask("go through the list", **state))


def test_a_little_more_state_is_the_same_intent() -> None:
    assert key("go on", tools=20, loop_steps=5) == key("go on", tools=22, loop_steps=6)


@given(st.text(max_size=200), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_two_accounts_and_two_realms_never_share_a_key_or_a_room(
    text: str, scope: str, other: str, realm: str
) -> None:
    task = ask(text)
    assert re.fullmatch("[0-9a-f]{32}", intent_of(task, scope, realm))
    assert intent_of(task, scope, realm) == intent_of(task, scope, realm)
    if scope != other:
        assert intent_of(task, scope, realm) != intent_of(task, other, realm)
        assert intent_of(task, realm, scope) != intent_of(task, realm, other)
        assert room_of(scope, realm) != room_of(other, realm)
        assert room_of(realm, scope) != room_of(realm, other)
    if scope != realm:  # what one account puts at the end of its name is not another's realm
        assert intent_of(task, scope + realm, "") != intent_of(task, scope, realm) or not realm


@given(st.text(max_size=300))
def test_masking_takes_any_text_and_masking_twice_changes_no_number(text: str) -> None:
    once = masked(text)
    assert "  " not in once
    assert not re.search("[1-9]", once)


@pytest.mark.parametrize("text", ["\ud800 lone", "\x00", "", "   ", "١٢٣ ٤٥٦", "मैं १२ सेब", "𝟙𝟚𝟛"])
def test_odd_texts_have_an_intent(text: str) -> None:
    assert len(key(text)) == 32
    assert facts_of(ask(text))


def test_digits_of_all_scripts_are_masked() -> None:
    assert masked("أضف ٤ إلى ٧") == masked("أضف ٩ إلى ٣")


HOSTILE = {
    "combining marks": "a" + "\u0301\u0323" * 4_000,
    "ligatures": "\ufdfa" * 8_000,
    "one long token": "a1-_." * 1_600,
    "at signs": "a@" * 4_000,
    "slashes": "/" * 8_000,
    "path parts": "a/" * 4_000,
    "dots": "a." * 4_000,
    "quotes": "'\"“«" * 2_000,
    "open quotes": '"a' * 4_000,
    "digits": "1" * 8_000,
    "no number after all": "1" + ".,:" * 2_600 + "x",
    "thousands": "1,000" * 1_600,
    "numbers": "12 " * 2_700,
    "carets": "^(" * 4_000,
    "angles": "<" * 8_000,
    "newlines": "\n" * 8_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_makes_the_key_slow(name: str) -> None:
    task = ask(HOSTILE[name])
    started = time.thread_time()
    intent_of(task, "scope", "realm")
    facts_of(task)
    assert time.thread_time() - started < 0.1


NEAR = [
    ("Please write a thank-you note for the team.", "Write me a thank-you note to the team"),
    ("Explain the proof of the theorem.", "Could you explain a proof of this theorem?"),
    ("Write a function which returns the sum.", "Write a function that is returning the sum."),
    ("Plan a three-day trip.", "Plan a 3-day trip, please"),
    ("What's the boiling point of tin?", "What is the boiling point of tin"),
]
APART = [
    ("Open the valve.", "Do not open the valve."),
    ("Write it with footnotes.", "Write it without footnotes."),
    ("Move the crate from A to B.", "Move the crate from B to A."),
    ("The dog bites the man.", "The man bites the dog."),
    ("Is a > b?", "Is a < b?"),
    ("Use at least two sources.", "Use at most two sources."),
    ("State the theorem.", "Prove the theorem."),
]


@pytest.mark.parametrize(("one", "other"), NEAR)
def test_politeness_and_forms_of_words_do_not_part_near_asks(one: str, other: str) -> None:
    assert (
        facts_of(ask(one, total_chars=50)).rpartition("~")[0]
        == (facts_of(ask(other, total_chars=50)).rpartition("~")[0])
    )


@pytest.mark.parametrize(("one", "other"), APART)
def test_words_that_change_the_demand_part_them(one: str, other: str) -> None:
    assert facts_of(ask(one)).rpartition("~")[0] != facts_of(ask(other)).rpartition("~")[0]


def test_facts_tell_nothing_readable() -> None:
    assert "bluebird" not in facts_of(ask("The project is called Bluebird.")).lower()
