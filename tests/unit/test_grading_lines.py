"""JSON lines in, grades out, one bad line never ends the stream."""

import json
from collections.abc import Iterator

from farthing.grading import Grade, Task, grade_lines
from farthing.grading.learned import LearnedGrader

GRADER = LearnedGrader.load()


def test_each_request_gives_its_grade() -> None:
    lines = [
        '{"prompt": "What is the capital of France?"}',
        '{"messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "f"}]}\n',
        '{"input": "hi"}',
    ]
    results = [json.loads(text) for text in grade_lines(lines, GRADER)]
    assert [set(result) for result in results] == [{"grade", "score", "reason", "source", "micros"}] * 3
    assert [result["grade"] for result in results] == ["LOW"] * 3
    assert all(result["micros"] > 0 and result["source"] == "learned" for result in results)
    assert results[0]["score"] != results[2]["score"]


def test_scores_keep_all_their_digits() -> None:
    class Fine:
        def grade(self, task: Task) -> Grade:
            return Grade("LOW", 0.1 + 0.2, "r", "learned")

    (result,) = grade_lines(['{"prompt": "x"}'], Fine())
    assert json.loads(result)["score"] == 0.1 + 0.2


def test_a_bad_line_is_named_and_the_rest_goes_on() -> None:
    lines = [
        "not json",
        "",
        "[1]",
        '{"a": 1}',
        "[" * 100_000,
        '{"prompt": "\\ud800 \\u0000"}',
        '{"messages": 7}',
    ]
    results = [json.loads(text) for text in grade_lines(lines, GRADER)]
    assert [result.get("line") for result in results] == [1, 3, 4, 5, None, None]
    assert [result["error"] for result in results[:4]] == [
        "not JSON: Expecting value at column 1",
        "expected an object, got list",
        "has none of prompt, messages, input",
        "JSON is nested too deeply",
    ]


def test_a_failing_grader_is_reported_by_line_without_its_message() -> None:
    class Broken:
        def grade(self, task: Task) -> Grade:
            raise RuntimeError(task.ask)

    (result,) = grade_lines(['{"prompt": "private"}'], Broken())
    assert json.loads(result) == {"error": "grading failed: RuntimeError", "line": 1}


def test_lines_are_graded_as_they_come() -> None:
    taken: list[int] = []

    def source() -> Iterator[str]:
        for i in range(3):
            taken.append(i)
            yield '{"prompt": "x"}'

    results = grade_lines(source(), GRADER)
    next(results)
    assert taken == [0]
