"""What the learned grader looks at: measures of the ask, its options, its tools and its conversation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p

import numpy as np
from numpy.typing import NDArray

from farthing.grading.embedding import Embedder, Vector
from farthing.grading.learned.question import Question, question_of
from farthing.grading.lexicon import GROUPS, NUMBERS, QUANTIFIERS, STOPWORDS, UNSPACED
from farthing.grading.task import Task

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d[\d,.]*")
_SENTENCES = re.compile(r"(?<=[.!?;:])\s+|(?<=[。!?؟।])|\n+")
_SYMBOL = re.compile(r"[=^∑∫√≤≥≠∂∞∈∀∃⇒→≈±×÷<>|]|\\[a-zA-Z]{2,12}")
_CONSTRUCT = re.compile(
    r"```|\b(?:def|class|return|import|void|const|SELECT|CREATE TABLE|fn|func|function)\b[ (]|=>|\);|\{\n|#include|"
    r"\w\(\w{0,40}\)|\w\[\w{0,20}\]"
)
_POINT = re.compile(r"(?m)^[ \t]{0,8}(?:[-*•]|\d{1,3}[.)])[ \t]")
_NEGATION = re.compile(r"\b(?:NOT|EXCEPT|LEAST|not|except|never|false|incorrect|neither|without|unless)\b")
_CONDITION = re.compile(r"\b(?:if|suppose|assume|given|when|would|could|let)\b", re.IGNORECASE)
_AND = re.compile(r"\b(?:and|then|also|as well as|both|respectively|und|et|y|e|и)\b|[;,、,،]", re.IGNORECASE)
_ALSO = re.compile(
    r"\b(?:and|also|then|both|each|another|respectively|additionally|first|second|secondly|next|finally|"
    r"und|auch|sowie|dann|beide|et|aussi|puis|ensuite|y|también|luego|ambos|e|anche|poi|também|и|также|затем|"
    r"hem|ve|dan|juga|i|oraz|och|en|ook)\b|以及|还有|然后|分别|和|そして|また|それぞれ|그리고|또한|各|و|और|तथा",
    re.IGNORECASE,
)
_LIST = re.compile(r"\[[^\[\]]{0,400}\]|\([^()]{0,200}\)")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
_ACRONYM = re.compile(r"\b[A-Z]{2,}\b")
_BLANK = re.compile(r"_+|…|\.\.\.")
_COMBINED = re.compile(r"(?i)all of (?:the|these)|none of|both |neither|\bI+ (?:and|only)|\bonly\b")
_WHY = re.compile(r"(?i)\b(?:why|how does|how do|explain|because|cause)\b")
_WHICH = re.compile(r"(?i)\bwhich\b")
_PRONOUN = re.compile(r"(?i)\b(?:he|she|him|her|his|they|them|it)\b")

NAMES = (
    "words", "sentences", "numbers", "number_size", "decimals", "quantifiers", "questions", "negation", "blank",
    "symbols", "code", "points", "rarity", "rare_words", "fragments", "word_length", "names", "acronyms",
    "foreign", "asks", "also", "again", "conditions", "why", "which", "pronouns", "quotes",
    "reasoning", "maths", "technical", "design", "constraints", "simple",
    "demand", "options", "option_words", "option_numbers", "option_symbols", "option_likeness", "option_fit",
    "option_lead", "combined_options", "option_rarity", "option_sharing",
    "tools", "parameters", "tool_fit", "tool_lead", "parallel",
    "loop", "errors", "turns", "context", "system", "structured",
)  # fmt: skip
"""The measures, in the order in which a :class:`Reading` holds them."""
INDEX = {name: i for i, name in enumerate(NAMES)}


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured of a task: ``values`` by NAMES, its question, the tokens and vector of the stem.

    ``segments`` are the sentences of the stem as token ranges, in order.
    """

    values: NDArray[np.float64]
    question: Question
    tokens: NDArray[np.int32]
    vector: Vector


class Reader:
    """Measures tasks."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def read(self, task: Task, whole: bool = False) -> Reading:
        """Return the reading of ``task``; with ``whole``, of the ask as it stands, its layout included."""
        question = Question(task.ask[:ENDS] + task.ask[ENDS:][-ENDS:], (), 0) if whole else question_of(task.ask)
        stem = question.stem
        tokens = self._embedder.tokens(stem)
        vector = self._embedder.pool(tokens)
        values = [
            *_text(stem, tokens),
            *self._options(question.options, vector),
            *self._tools(task, stem, vector),
            log1p(task.loop_steps),
            log1p(task.loop_errors),
            log1p(max(0, task.turns - 1)),
            log1p((max(0, task.ask_chars - len(task.ask)) + question.context) / 400),
            log1p(task.system_chars / 400),
            float(task.structured),
        ]
        return Reading(np.array(values), question, tokens, vector)

    def _options(self, options: Sequence[str], asked: Vector) -> list[float]:
        if not options:
            return [0.0] * 10
        embedder = self._embedder
        tokens = [embedder.tokens(option[:200]) for option in options]
        vectors = np.stack([embedder.pool(ids) for ids in tokens])
        alike = vectors @ vectors.T
        n = len(options)
        likeness = (float(alike.sum()) - float(np.trace(alike))) / max(1, n * (n - 1))
        fit = np.sort(vectors @ asked)
        joined = "\n".join(options)
        ids = np.concatenate(tokens)
        return [
            float(n),
            log1p(len(joined.split()) / n),
            sum(any(map(str.isdigit, option)) for option in options) / n,
            min(6.0, len(_SYMBOL.findall(joined)) / n),
            likeness,
            float(fit.mean()),
            float(fit[-1] - fit[-2]) if n > 1 else 0.0,
            float(bool(_COMBINED.search(joined))),
            float(np.log1p(ids).mean()) if len(ids) else 0.0,
            1 - len(set(ids.tolist())) / max(1, len(ids)),
        ]

    def _tools(self, task: Task, stem: str, asked: Vector) -> list[float]:
        if not task.tools:
            return [0.0] * 5
        fit = sorted(float(self._embedder.embed(text) @ asked) for text in task.tool_texts) or [0.0]
        numbers = len(set(_NUMBER.findall(stem)))
        needed = max(1.0, task.tool_parameters / task.tools)
        return [
            log1p(task.tools),
            log1p(task.tool_parameters),
            fit[-1],
            fit[-1] - fit[-2] if len(fit) > 1 else 0.5,
            log1p(numbers / needed),
        ]


ENDS = 800
_DEMANDS = ("reasoning", "code", "design", "constraints")
_ORDINARY = 2
"""Demanding words and signs that any ask may hold without being demanding."""


def _per_sentence(pattern: re.Pattern[str], sentences: list[tuple[str, int]], words: int, most: int) -> int:
    """Count matches; no sentence tells more than one per ``words`` of its words, nor more than ``most``."""
    return sum(min(len(pattern.findall(text)), n // words, most) for text, n in sentences)


def _text(text: str, tokens: NDArray[np.int32]) -> list[float]:
    words = _WORD.findall(text)
    lower = [word.lower() for word in words]
    distinct = set(lower)
    n = max(1, len(words))
    numbers = _NUMBER.findall(text)
    kept = {number.rstrip(".,") for number in numbers} | (distinct & NUMBERS)
    plain = _LIST.sub(" ", text) if "(" in text or "[" in text else text
    sentences = [(part, len(part.split()) or len(part) // 3) for part in _SENTENCES.split(plain) if part]
    groups = {name: len(distinct & known) for name, known in GROUPS.items()}
    if not text.isascii():
        for name, parts in UNSPACED.items():
            groups[name] += sum(part in text for part in parts)
    points = min(len(_POINT.findall(text)), n / 5)
    code = min(len(_CONSTRUCT.findall(text)), n / 3)
    demand = sum(groups[name] for name in _DEMANDS) + points + min(code, 6)
    known = sum(word in STOPWORDS for word in lower) / n
    letters = sum(map(len, words))
    return [
        log1p(max(len(words), letters / 6)),
        log1p(sum(size > 2 for _, size in sentences)),
        log1p(min(len(kept), n / 3)),
        max((min(9, len(number)) for number in numbers), default=0) / 3,
        log1p(min(sum("." in number.rstrip(".") for number in numbers), n / 4)),
        log1p(min(sum(word in QUANTIFIERS for word in lower), n / 6)),
        log1p(min(text.count("?") + text.count("?"), n / 4)),
        log1p(min(len(_NEGATION.findall(text)), n / 8)),
        float(bool(_BLANK.search(text))),
        log1p(min(len(_SYMBOL.findall(text)), n / 2)),
        log1p(code),
        log1p(points),
        float(np.log1p(tokens).mean()) if len(tokens) else 0.0,
        float((tokens > 10_000).mean()) if len(tokens) else 0.0,
        min(4.0, len(tokens) / n),
        min(12.0, letters / n),
        log1p(min(len(set(_NAME.findall(text))), n / 6)),
        log1p(min(len(set(_ACRONYM.findall(text))), n / 6)),
        max(0.0, 1 - known / 0.15) * min(1.0, letters / 40),
        log1p(_per_sentence(_AND, sentences, 4, 5)),
        log1p(_per_sentence(_ALSO, sentences, 5, 4)),
        log1p(len(words) - len(distinct)),
        log1p(min(len(_CONDITION.findall(text)), n / 8)),
        float(bool(_WHY.search(text))),
        float(bool(_WHICH.search(text))),
        log1p(min(len(_PRONOUN.findall(text)), n / 5)),
        log1p(min(text.count('"') + text.count("“") + text.count("'"), n / 4)),
        log1p(groups["reasoning"]),
        log1p(groups["maths"]),
        log1p(groups["code"]),
        log1p(groups["design"]),
        log1p(groups["constraints"]),
        log1p(groups["simple"]),
        log1p(max(0.0, demand - _ORDINARY)),
    ]
