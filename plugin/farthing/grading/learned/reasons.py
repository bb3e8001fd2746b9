"""Why a score is what it is, in words that never come from the prompt."""

from collections.abc import Mapping

from farthing.grading.task import Task

_LABELS = {
    "words": ("long ask", "short ask"),
    "sentences": ("many sentences", "one sentence"),
    "numbers": ("many numbers", "few numbers"),
    "quantifiers": ("quantities to relate", ""),
    "questions": ("several questions", ""),
    "negation": ("negation", ""),
    "symbols": ("formulas", ""),
    "code": ("code", ""),
    "points": ("list of points", ""),
    "acronyms": ("acronyms", ""),
    "names": ("many names", ""),
    "asks": ("several parts", "one part"),
    "also": ("several asks", "one ask"),
    "again": ("recurring terms", ""),
    "conditions": ("conditions", ""),
    "reasoning": ("reasoning words", ""),
    "maths": ("maths words", ""),
    "technical": ("technical words", ""),
    "design": ("design words", ""),
    "constraints": ("constraints", ""),
    "simple": ("", "routine task"),
    "demand": ("many demands", ""),
    "decimals": ("decimal numbers", ""),
    "option_likeness": ("options that are alike", "options far apart"),
    "option_sharing": ("options that share words", ""),
    "parallel": ("several calls in one ask", ""),
    "tools": ("many tools", ""),
    "parameters": ("many parameters", ""),
    "loop": ("deep tool loop", ""),
    "errors": ("failing tools", ""),
    "turns": ("long conversation", ""),
    "context": ("much context", ""),
    "system": ("long instructions", ""),
    "structured": ("structured output", ""),
    "vocabulary": ("demanding vocabulary", "everyday vocabulary"),
    "options_expert": ("hard kind of choice", "easy kind of choice"),
}


def reason_of(parts: Mapping[str, float], task: Task) -> str:
    """Return the three strongest parts in words."""
    if not parts:
        return "learned: empty input"
    strongest = sorted(parts, key=lambda name: abs(parts[name]), reverse=True)
    labels = [_LABELS.get(name, ("", ""))[parts[name] < 0] for name in strongest if abs(parts[name]) >= 0.02]
    named = [label for label in labels if label][:3]
    if task.continued:
        named.append("continues an earlier ask")
    return "learned: " + (", ".join(named) or "nothing stands out")
