"""The beginning of a stream: only what nothing after it can mend is a failure."""

import pytest

from farthing.grading.check import check_prefix


def asked(text: str, **more: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize(
    ("payload", "text", "found"),
    [
        (asked("Write a poem."), "I'm sorry, but I can't help with that. ", "refusal"),
        (asked("Write a poem."), "I'm sorry, but I can't help", ""),
        (asked("Write a poem."), "I'm sorry, but I can't write it in Latin, here it is in English", ""),
        (asked("x", response_format={"type": "json_object"}), "Sure! Here is", "invalid_json"),
        (asked("x", response_format={"type": "json_object"}), "```json\n{", "invalid_json"),
        (asked("x", response_format={"type": "json_object"}), ' \n{"a": ', ""),
        (asked("x", response_format={"type": "json_object"}), "tr", ""),
        (asked("x", response_format={"type": "json_object"}), "trial", "invalid_json"),
        (asked("Tell me more."), "It is so. " + "And then it went on. " * 40, "repetition"),
        (asked("Tell me more."), "And then it went on. " * 5, ""),
        (asked("What colour? Answer in one word."), "The colour of the sky is", "format"),
        (asked("What colour? Answer in one word."), "The", ""),
        (asked("What colour?"), "", ""),
        (asked("What colour?"), "<thi", ""),
        (asked("x", response_format={"type": "json_object"}), "<think>first I", ""),
        (asked("x", response_format={"type": "json_object"}), "<think>a</think>Well", "invalid_json"),
    ],
)
def test_what_a_beginning_decides(payload: dict[str, object], text: str, found: str) -> None:
    assert check_prefix(payload, text).failure == found


def test_a_tools_name_decides_at_once() -> None:
    payload = asked("Weather?", tools=[{"type": "function", "function": {"name": "forecast"}}])
    assert check_prefix(payload, "", ["forecast"]).ok
    assert check_prefix(payload, "One moment.", ["forecasts"]).failure == "unknown_tool"
    assert check_prefix(payload | {"tool_choice": "none"}, "", ["forecast"]).failure == "unknown_tool"
    assert check_prefix(asked("Weather?"), "", ["forecast"]).failure == "unknown_tool"
