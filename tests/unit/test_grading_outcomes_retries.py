"""A retry is the same ask of the same session, soon after: not a loop's next step, nor a program's repeat."""

import pytest

from farthing.grading import GradeName, Task, task_from
from farthing.grading.outcomes import RetryOf, RetryWatch

ASK = {"role": "user", "content": "Write a haiku about rust."}
ANSWER = {
    "role": "assistant",
    "content": "Iron in the rain / slowly turns to orange dust / the gate sings no more",
}
CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "nothing here"}


def chat(*messages: object) -> Task:
    return task_from({"messages": list(messages)})


def seen(
    watch: RetryWatch, task: Task, now: float, grade: GradeName = "LOW", session: str = "s", intent: str = "i"
) -> RetryOf | None:
    return watch.seen(session, intent, task, grade, now)


def test_the_same_request_again_is_a_retry_of_the_grade_it_had() -> None:
    watch = RetryWatch()
    assert seen(watch, chat(ASK), 0, "LOW") is None
    assert seen(watch, chat(ASK), 20, "MEDIUM") == RetryOf("i", "LOW", 20)
    assert seen(watch, chat(ASK), 50, "HIGH") == RetryOf("i", "MEDIUM", 30)


def test_asking_again_later_in_the_conversation_is_a_retry() -> None:
    watch = RetryWatch()
    seen(watch, chat(ASK), 0)
    assert seen(watch, chat(ASK, ANSWER, ASK), 30) == RetryOf("i", "LOW", 30)


@pytest.mark.parametrize("after_s", [0.0, 1.0, 301.0])
def test_a_programs_repeat_and_a_late_return_are_none(after_s: float) -> None:
    watch = RetryWatch()
    seen(watch, chat(ASK), 0)
    assert seen(watch, chat(ASK), after_s) is None


def test_another_session_is_none() -> None:
    watch = RetryWatch()
    seen(watch, chat(ASK), 0)
    assert seen(watch, chat(ASK), 20, session="another") is None


def test_the_intent_that_did_not_please_is_the_earlier_one() -> None:
    watch = RetryWatch()
    seen(watch, chat(ASK), 0, intent="a first turn")
    assert seen(watch, chat(ASK, ANSWER, ASK), 20, intent="a second turn") == RetryOf(
        "a first turn", "LOW", 20
    )


def test_the_steps_of_an_agent_loop_are_none() -> None:
    watch = RetryWatch()
    seen(watch, chat(ASK), 0)
    loop = [ASK]
    for step in range(1, 6):
        loop += [CALL, RESULT]
        assert seen(watch, chat(*loop), 10 * step) is None
        assert seen(watch, chat(*loop), 10 * step + 3) is None  # the client repeats a step that failed


@pytest.mark.parametrize("again", [[ASK], [ASK, CALL, RESULT, ANSWER, ASK]])
def test_after_a_loop_the_same_ask_is_a_retry_of_its_last_step(again: list[object]) -> None:
    watch = RetryWatch()
    seen(watch, chat(ASK), 0, "LOW")
    seen(watch, chat(ASK, CALL, RESULT), 30, "MEDIUM")
    assert seen(watch, chat(*again), 60) == RetryOf("i", "MEDIUM", 30)


def test_going_on_is_none() -> None:
    watch = RetryWatch()
    seen(watch, chat(ASK), 0)
    assert seen(watch, chat(ASK, ANSWER, {"role": "user", "content": "ok, continue"}), 20) is None


def test_the_same_intent_about_something_else_is_none() -> None:
    watch = RetryWatch()
    seen(watch, chat({"role": "user", "content": "Weather in 10115?"}), 0)
    assert seen(watch, chat({"role": "user", "content": "Weather in 80331?"}), 20) is None


def test_the_same_ask_about_another_text_is_none() -> None:
    watch = RetryWatch()
    for now, text in ((0, "A first report of some length."), (20, "A second one.")):
        given = [{"role": "system", "content": text}, {"role": "user", "content": "Sum this up."}]
        assert seen(watch, chat(*given), now) is None


def test_an_ask_without_words_is_none() -> None:
    watch = RetryWatch()
    empty = Task(images=1)
    seen(watch, empty, 0)
    assert seen(watch, empty, 20) is None


def test_memory_is_bounded_and_the_latest_are_kept() -> None:
    watch = RetryWatch(sessions=2, asks_per_session=2)
    asks = {
        name: chat({"role": "user", "content": f"Write about {name}."}) for name in ("one", "two", "three")
    }
    for session in ("old", "mid", "new"):
        for task in asks.values():
            seen(watch, task, 0, session=session)
    kept = [
        (session, name)
        for session in ("new", "mid", "old")
        for name in ("three", "two", "one")
        if seen(watch, asks[name], 20, session=session)
    ]
    assert kept == [("new", "three"), ("new", "two"), ("mid", "three"), ("mid", "two")]


@pytest.mark.parametrize(
    "bounds", [{"at_least_s": 300.0}, {"at_least_s": -1.0}, {"sessions": 0}, {"asks_per_session": 0}]
)
def test_bounds_that_watch_nothing_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need 0 <= at_least_s"):
        RetryWatch(**bounds)  # type: ignore[arg-type]
