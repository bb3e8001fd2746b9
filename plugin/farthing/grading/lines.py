"""JSON lines in, grades out: what `farthing grade` streams."""

import json
from collections.abc import Iterable, Iterator, Mapping
from time import perf_counter_ns

from farthing.grading.grade import Grader
from farthing.grading.task import task_from

_ASKS = ("prompt", "messages", "input")


def grade_lines(lines: Iterable[str], grader: Grader) -> Iterator[str]:
    """Yield one JSON text per line of ``lines``, each a request such as ``{"prompt": "…"}``.

    A line gives ``{"grade", "score", "reason", "source", "micros"}`` (``micros``: microseconds spent
    reading and grading the task); a bad one ``{"error", "line"}``, and the rest goes on. Blank lines
    are passed over, but counted.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            payload = _request(line)
        except ValueError as error:
            yield json.dumps({"error": str(error), "line": number})
            continue
        started = perf_counter_ns()
        try:
            grade = grader.grade(task_from(payload))
        except Exception as error:  # one line's failure must not end the stream
            yield json.dumps({"error": f"grading failed: {type(error).__name__}", "line": number})
            continue
        micros = (perf_counter_ns() - started) / 1000
        yield json.dumps(
            {
                "grade": grade.grade,
                "score": grade.score,
                "reason": grade.reason,
                "source": grade.source,
                "micros": round(micros, 1),
            },
            ensure_ascii=False,
        )


def _request(line: str) -> Mapping[str, object]:
    try:
        payload = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    if not isinstance(payload, dict):
        raise ValueError(f"expected an object, got {type(payload).__name__}")
    if not any(name in payload for name in _ASKS):
        raise ValueError("has none of prompt, messages, input")
    return payload
