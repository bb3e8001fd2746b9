"""What the learned grader looks at: measures of the ask, its options, its tools and its conversation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p

import numpy as np
from numpy.typing import NDArray

from farthing.embedding import Embedder, Vector
from farthing.grading.learned.question import Question, question_of
from farthing.grading.lexicon import DEMANDING, GROUPS, NUMBERS, QUANTIFIERS, STOPWORDS, UNSPACED
from farthing.grading.task import Task

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d[\d,.]*")
_SENTENCES = re.compile(r"(?<=[.!?;:])\s+|(?<=[。!?؟।])|\n+")
_SYMBOL = re.compile(r"[=^∑∫√≤≥≠∂∞∈∀∃⇒→≈±×÷<>|]|\\[a-zA-Z]{2,12}")
_CONSTRUCT = re.compile(
    r"```|\b(?:def|class|return|import|void|const|SELECT|CREATE TABLE|fn|func|function)\b[ (]|=>|\);|\{\n|"
    r"#include|\w\(\w{0,40}\)|\w\[\w{0,20}\]"
)
_CODE_WORDS = frozenset(
    ["def", "class", "return", "import", "void", "const", "select", "create", "fn", "func", "function"]
)
_CODE_SIGNS = ("`", "(", "[", "{", "=>", "#include")
_POINT = re.compile(r"(?m)^[ \t]{0,8}(?:[-*•]|\d{1,3}[.)])[ \t]")
_NEGATION = frozenset(
    ["not", "except", "least", "never", "false", "incorrect", "neither", "nor", "without", "unless"]
)
_CONDITION = frozenset(["if", "suppose", "assume", "given", "when", "would", "could", "let"])
_AND = frozenset(["and", "then", "also", "both", "respectively", "und", "et", "y", "e", "и"])
_ALSO = frozenset(
    [
        "and",
        "also",
        "then",
        "both",
        "each",
        "another",
        "respectively",
        "additionally",
        "first",
        "second",
        "secondly",
        "next",
        "finally",
        "und",
        "auch",
        "sowie",
        "dann",
        "beide",
        "et",
        "aussi",
        "puis",
        "ensuite",
        "y",
        "también",
        "luego",
        "ambos",
        "e",
        "anche",
        "poi",
        "também",
        "и",
        "также",
        "затем",
        "hem",
        "ve",
        "dan",
        "juga",
        "i",
        "oraz",
        "och",
        "en",
        "ook",
    ]
)
_ALSO_UNSPACED = (
    "以及",
    "还有",
    "然后",
    "分别",
    "和",
    "そして",
    "また",
    "それぞれ",
    "그리고",
    "또한",
    "各",
    "و",
    "और",
    "तथा",
)
_STOPS = ",;、,،"
_LIST = re.compile(r"\[[^\[\]]{0,400}\]|\([^()]{0,200}\)")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")
_ACRONYM = re.compile(r"\b[A-Z]{2,}\b")
_BLANK = re.compile(r"_+|…|\.\.\.")
_COMBINED = re.compile(r"(?i)all of (?:the|these)|none of|both |neither|\bI+ (?:and|only)|\bonly\b")
_WHY = frozenset(["why", "explain", "because", "cause", "warum", "pourquoi", "почему"])
_PRONOUN = frozenset(["he", "she", "him", "her", "his", "they", "them", "it"])

NAMES = (
    "words", "sentences", "numbers", "number_size", "decimals", "quantifiers", "questions", "negation",
    "blank", "symbols", "code", "points", "rarity", "rare_words", "fragments", "word_length", "names",
    "acronyms", "foreign", "asks", "also", "again", "conditions", "why", "which", "pronouns", "quotes",
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
    """What was measured of a task: ``values`` by NAMES, its question, the tokens and vector of the stem."""

    values: NDArray[np.float64]
    question: Question
    tokens: NDArray[np.int32]
    vector: Vector


class Reader:
    """Measures tasks."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def read(self, task: Task) -> Reading:
        """Return the reading of ``task``."""
        question = question_of(task.ask)
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
            log1p((question.context and max(question.context, task.ask_chars)) / 400),
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


_DEMANDING_PARTS = tuple(
    part for name in ("reasoning", "code", "design", "constraints") for part in UNSPACED[name]
)
_ORDINARY = 3
"""Demanding words that any ask may hold without being demanding."""
_PHRASE = 160
_MOST_DEMANDS = 40
_FEW_WORDS = 16


def _demand(text: str) -> int:
    """Count the demanding words left when the _PHRASE characters that hold most of them are cut out.

    So one phrase, whatever it says and wherever it stands, makes no ask demanding.
    """
    if len(text) < _PHRASE:
        return 0
    found = [(m.start(), word) for m in _WORD.finditer(text) if (word := m[0].lower()) in DEMANDING]
    if not text.isascii():
        for part in _DEMANDING_PARTS:
            at = text.find(part)
            while at >= 0 and len(found) < 4 * _MOST_DEMANDS:
                found.append((at, part))
                at = text.find(part, at + 1)
        found.sort()
    if len(found) > 2 * _MOST_DEMANDS:
        found = found[:_MOST_DEMANDS] + found[-_MOST_DEMANDS:]
    least = len({word for _, word in found})
    end = 0
    for start, (at, _) in enumerate(found):
        while end < len(found) and found[end][0] < at + _PHRASE:
            end += 1
        least = min(least, len({word for _, word in (*found[:start], *found[end:])}))
    return least


def _parts(sentences: list[str]) -> tuple[int, int, int]:
    """Count sentences, separate parts and separate asks; no sentence tells more than its length allows."""
    count = parts = asks = 0
    for text in sentences:
        words = text.lower().split()
        size = len(words)
        foreign = not text.isascii()
        if foreign and len(text) > 8 * size:
            size = len(text) // 3  # a script without spaces
        count += size > 2
        ands = sum(map(_AND.__contains__, words)) + sum(map(text.count, _STOPS if foreign else ",;"))
        also = sum(word.rstrip(",;:.") in _ALSO for word in words)
        if foreign:
            also += sum(map(text.count, _ALSO_UNSPACED))
        parts += min(ands, size // 4, 5)
        asks += min(also, size // 5, 4)
    return count, parts, asks


def _text(text: str, tokens: NDArray[np.int32]) -> list[float]:
    words = _WORD.findall(text)
    lower = [word.lower() for word in words]
    distinct = set(lower)
    n = max(1, len(words))
    numbers = _NUMBER.findall(text)
    kept = {number.rstrip(".,") for number in numbers} | (distinct & NUMBERS)
    plain = _LIST.sub(" ", text) if "(" in text or "[" in text else text
    count, separate, asks = _parts(_SENTENCES.split(plain))
    groups = {name: len(distinct & known) for name, known in GROUPS.items()}
    if not text.isascii():
        for name, parts in UNSPACED.items():
            groups[name] += sum(part in text for part in parts)
    points = min(len(_POINT.findall(text)), n / 5)
    coded = not _CODE_WORDS.isdisjoint(distinct) or any(map(text.__contains__, _CODE_SIGNS))
    code = min(len(_CONSTRUCT.findall(text)), n / 3) if coded else 0
    known = sum(map(STOPWORDS.__contains__, lower)) / n
    letters = sum(map(len, words))
    return [
        log1p(max(len(words), letters / 6)),
        log1p(count),
        log1p(min(len(kept), n / 3)),
        max((min(9, len(number)) for number in numbers), default=0) / 3,
        # Among few words decimals are there to be compared, which small models get wrong.
        log1p(sum("." in number.rstrip(".") for number in numbers)) if n <= _FEW_WORDS else 0.0,
        log1p(min(sum(map(QUANTIFIERS.__contains__, lower)), n / 6)),
        log1p(min(text.count("?") + text.count("?"), n / 4)),
        log1p(min(sum(map(_NEGATION.__contains__, lower)), n / 8)),
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
        log1p(separate),
        log1p(asks),
        log1p(len(words) - len(distinct)),
        log1p(min(sum(map(_CONDITION.__contains__, lower)), n / 8)),
        float(not _WHY.isdisjoint(distinct)),
        float("which" in distinct),
        log1p(min(sum(map(_PRONOUN.__contains__, lower)), n / 5)),
        log1p(min(text.count('"') + text.count("“") + text.count("'"), n / 4)),
        log1p(groups["reasoning"]),
        log1p(groups["maths"]),
        log1p(groups["code"]),
        log1p(groups["design"]),
        log1p(groups["constraints"]),
        log1p(groups["simple"]),
        log1p(max(0, _demand(text) - _ORDINARY) ** 2 / 2),
    ]
