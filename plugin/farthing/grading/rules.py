"""Grade v1: rules. A transparent weighted score, honest about being one.

The score is the logistic of a base plus capped contributions. Everything that the words and signs of the
ask can add stays within a range that grows with the length of the ask, and their counts are weighed
against that length: with the default cuts one phrase of up to 100 characters, whatever it says, moves a
task by one tier at most, and so does any single feature.
"""

import math
import re

from farthing.grading.grade import Grade, GradeName
from farthing.grading.lexicon import GROUPS, STOPWORDS, UNSPACED
from farthing.grading.task import Task

_BASE = -0.48
_RANGE_SHORT, _RANGE_LONG, _RANGE_CHARS = 0.40, 1.55, 420.0
"""Logits that the text of a very short and of a very long ask may add, and the length between them."""

_WEIGHTS = {"reasoning": 0.70, "maths": 0.35, "code": 0.45, "design": 0.45, "constraints": 0.30}
"""Most that a group of words adds, in logits."""
_FEW, _DENSITY = 1.2, 0.05
"""A group is at 63 % of its weight at this count of words, or this share of a long ask's words."""
_LABELS = {
    "reasoning": "reasoning words",
    "maths": "maths words",
    "code": "code words",
    "design": "design words",
    "constraints": "constraints",
    "simple": "simple ask",
    "numbers": "numbers",
    "symbols": "formulas",
    "constructs": "code",
    "questions": "several questions",
    "list": "list of points",
    "length": "length of the ask",
    "vocabulary": "long words",
    "loop": "deep tool loop",
    "errors": "failing tools",
    "tools": "many tools",
    "history": "long conversation",
    "structured": "structured output",
    "foreign": "language the rules do not know",
}
_WORDS = re.compile(r"[^\W\d_]+")
_NUMBERS = re.compile(r"\d+")
_SYMBOLS = re.compile(r"[=^∑∫√≤≥≠∂∞∈∀∃⇒→≈±×÷]|\\[a-z]{2,12}")
_CONSTRUCTS = re.compile(
    r"```|\b(?:def|class|return|import|void|const|SELECT|CREATE TABLE|fn|func)\b[ (]|=>|\);|\{\n|#include"
)
_POINTS = re.compile(r"\n[ \t]{0,8}(?:[-*•]|\d{1,3}[.)])[ \t]")


class RuleGrader:
    """Grades by rules. ``medium_from`` and ``high_from`` are the lowest scores of MEDIUM and HIGH."""

    def __init__(self, medium_from: float = 0.35, high_from: float = 0.65) -> None:
        """Raises ValueError unless 0 <= medium_from <= high_from <= 1."""
        if not 0 <= medium_from <= high_from <= 1:
            raise ValueError(f"need 0 <= medium_from ({medium_from}) <= high_from ({high_from}) <= 1")
        self._medium, self._high = medium_from, high_from

    def grade(self, task: Task) -> Grade:
        """Return the grade of ``task``; the same task always gets the same grade."""
        if not (task.ask.strip() or task.images or task.audio or task.documents or task.tool_results):
            return Grade("LOW", 0.0, "rule: empty input")
        signals = contributions(task)
        score = 1 / (1 + math.exp(-_BASE - sum(signals.values())))
        reason = _reason(signals, task)
        needs = _senses(task)
        if needs and score < self._medium:
            # A capability, not a difficulty: the local tier cannot see. Order among them is kept.
            score = self._medium + (self._high - self._medium) * 0.5 * score / self._medium
            reason = f"{reason}; {needs}: at least MEDIUM"
        return Grade(self._name(score, bool(needs)), score, reason)

    def _name(self, score: float, needs_senses: bool) -> GradeName:
        if score >= self._high:
            return "HIGH"
        return "MEDIUM" if score >= self._medium or needs_senses else "LOW"


def contributions(task: Task) -> dict[str, float]:
    """Return what each feature adds to the score, in logits, by feature name."""
    text = task.ask
    words = _WORDS.findall(text.lower())
    signals = _word_signals(words, text) | _sign_signals(text)
    signals["vocabulary"] = _vocabulary(words)
    signals["foreign"] = _foreign(words, text)
    reach = _RANGE_SHORT + (_RANGE_LONG - _RANGE_SHORT) * (1 - math.exp(-len(text) / _RANGE_CHARS))
    return _scaled(signals, reach) | _state_signals(task)


def _saturating(count: float, most: float, scale: float) -> float:
    return most * (1 - math.exp(-count / scale))


def _scaled(signals: dict[str, float], most: float) -> dict[str, float]:
    """Shrink contributions so that their sum stays within ``most`` either way."""
    total = sum(signals.values())
    if total == 0:
        return signals
    share = most * math.tanh(total / most) / total
    return {name: value * share for name, value in signals.items()}


def _word_signals(words: list[str], text: str) -> dict[str, float]:
    # Repeating one word is no evidence: each counts once.
    distinct = set(words)
    counts = {name: len(distinct & GROUPS[name]) for name in _WEIGHTS}
    if not text.isascii():
        for name, parts in UNSPACED.items():
            counts[name] += sum(part in text for part in parts)
    scale = max(_FEW, _DENSITY * len(words))
    signals = {name: _saturating(counts[name], most, scale) for name, most in _WEIGHTS.items()}
    # A routine verb tells at the place where instructions stand; in the middle it is what a text is about.
    edges = distinct if len(words) <= 60 else {*words[:30], *words[-30:]}
    signals["simple"] = -_saturating(len(edges & GROUPS["simple"]), 0.30, 1.0)
    return signals


def _sign_signals(text: str) -> dict[str, float]:
    return {
        "numbers": _saturating(len(set(_NUMBERS.findall(text))), 0.25, 4.0),
        "symbols": _saturating(len(_SYMBOLS.findall(text)), 0.30, 5.0),
        "constructs": _saturating(len(_CONSTRUCTS.findall(text)), 0.30, 4.0),
        "questions": _saturating(max(0, text.count("?") - 1), 0.15, 2.0),
        "list": _saturating(len(_POINTS.findall(text)), 0.20, 4.0),
    }


def _state_signals(task: Task) -> dict[str, float]:
    return {
        # 10 characters: -0.42; 200: 0.02; 1 000: 0.46; 10 000: 0.64.
        "length": 0.65 * math.tanh(0.62 * math.log((task.ask_chars + 60) / 250)),
        "loop": _saturating(task.loop_steps, 0.60, 6.0),
        "errors": _saturating(task.loop_errors, 0.25, 2.0),
        "tools": _saturating(task.tools + task.tool_parameters / 4, 0.45, 8.0),
        "history": _saturating(task.turns - 1 if task.turns else 0, 0.25, 10.0)
        + min(0.25, 0.05 * math.log1p(max(0, task.total_chars - task.ask_chars) / 2000)),
        "structured": 0.20 if task.structured else 0.0,
    }


def _vocabulary(words: list[str]) -> float:
    """Longer words mark technical text. Weak, but it varies smoothly, so that few scores tie."""
    if not words:
        return 0.0
    mean = sum(map(len, words)) / len(words)
    return max(-0.25, min(0.25, 0.08 * (mean - 4.6))) * min(1.0, len(words) / 12)


def _foreign(words: list[str], text: str) -> float:
    """In a language whose words we do not know, their absence tells nothing: lean to the middle."""
    if text.isascii() and (len(words) < 4 or any(word in STOPWORDS for word in words[:60])):
        return 0.0
    letters = sum(map(len, words))
    if not letters:
        return 0.0
    known = sum(word in STOPWORDS for word in words) / len(words)
    return 0.45 * max(0.0, 1 - known / 0.15) * min(1.0, letters / 20)


def _senses(task: Task) -> str:
    for count, need in (
        (task.images, "an image needs vision"),
        (task.audio, "audio needs hearing"),
        (task.documents, "an attached file needs reading"),
    ):
        if count:
            return need
    return ""


def _reason(signals: dict[str, float], task: Task) -> str:
    strongest = sorted(signals, key=lambda name: abs(signals[name]), reverse=True)[:3]
    named = [_label(name, signals[name]) for name in strongest if abs(signals[name]) >= 0.05]
    if task.continued:
        named.append("continues an earlier ask")
    return "rule: " + (", ".join(named) or "nothing stands out")


def _label(name: str, value: float) -> str:
    if name == "length" and value < 0:
        return "short ask"
    if name == "vocabulary" and value < 0:
        return "short words"
    return _LABELS[name]
