"""Are the tool calls of an answer calls that the client can carry out?"""

from collections.abc import Mapping, Sequence
from time import perf_counter

from farthing.grading.check.answer import ToolCall
from farthing.grading.check.schemas import MAX_SECONDS, mismatch, read_json
from farthing.grading.check.verdict import OK, Verdict, failed
from farthing.grading.check.wanted import Wanted

MAX_CALLS = 64
"""Calls of one answer whose arguments are checked; no further one is begun after MAX_SECONDS."""


def check_tools(wanted: Wanted, calls: Sequence[ToolCall]) -> Verdict:
    """Return whether ``calls`` are allowed, offered and well formed. No call at all is checked apart."""
    verdict = check_names(wanted, [call.name for call in calls])
    if not verdict.ok:
        return verdict
    deadline = perf_counter() + MAX_SECONDS
    for call in calls[:MAX_CALLS]:
        if perf_counter() > deadline:
            break
        if not call.free_text:
            verdict = _arguments(call, wanted.tools.get(call.name))
        if not verdict.ok:
            return verdict
    return OK


def check_names(wanted: Wanted, names: Sequence[str]) -> Verdict:
    """Return whether tools of these names may be called."""
    if names and wanted.calls_forbidden:
        return failed("unknown_tool", "a tool was called though tool_choice forbids it")
    if not wanted.tools_open and any(name not in wanted.tools for name in names):
        return failed("unknown_tool", f"a tool was called that is not among the {len(wanted.tools)} offered")
    if wanted.call_named in wanted.tools and names and wanted.call_named not in names:
        return failed("unknown_tool", "another tool was called than tool_choice names")
    return OK


def _arguments(call: ToolCall, schema: object) -> Verdict:
    # Servers write the arguments of a tool without parameters as an empty text.
    state, value = read_json(call.arguments) if call.arguments.strip() else ("json", {})
    if state == "unknown":
        return OK
    if state == "not_json" or not isinstance(value, dict):
        return failed("tool_arguments", "the arguments of a tool call are not a JSON object")
    broken = mismatch(_without_nulls(value, schema), schema)
    if broken:
        return failed("tool_arguments", f"the arguments of a tool call break their schema ({broken})")
    return OK


def _without_nulls(value: dict[str, object], schema: object) -> dict[str, object]:
    """Leave out optional parameters given as null: every client takes them as left out."""
    required = schema.get("required") if isinstance(schema, Mapping) else None
    kept = required if isinstance(required, list) else []
    return {name: item for name, item in value.items() if item is not None or name in kept}
