"""Whether a cheap tier's answer says the same as the strong tier's, as far as that can be told for sure."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from farthing.grading.lexicon import NARROW

SIMILAR_FROM = 0.95
DIFFERENT_BELOW = 0.3
"""Similarities (cosine, -1 to 1) from which long texts say the same, and below which they do not.

Between right and wrong long answers to the same sums, wordllama's embeddings hardly tell: 8 % of the pairs
that agree and 0.5 % of those that do not reach the upper bound, 0 and 0.8 % stay below the lower.
"""

_MOST_CHARS = 100_000
_LABEL_CHARS = 32
_NEAR_END = 2
"""How many of a text's last numbers may be its result."""

_SHORT_CHARS = 2_000
"""Longer texts are the same only as they stand: folding takes the square of a run of combining marks."""

# What follows reads answers that may be hostile: no two repeats in a row can share the same characters.
_CALCULATION = re.compile(r"[-+*/×÷−\\x][^=\n]{0,60}=[\s*_\\$€£¥₹(-]{0,8}\d")
_NUMBER = re.compile(
    r"(?<![\w.,^/])(?P<sign>[-−–]\s?)?(?P<currency>[$€£¥₹]\s?)?(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d{1,40})"
    r"(?P<rest>\.\d{1,40})?(?:\s?/\s?(?P<below>\d{1,40}))?(?![\d^]|[.,]\d)\s?(?P<unit>%|[^\W\d_]+)?"
)
_MARKED = re.compile(
    r"(?:####|\\boxed\s*\{|\b(?:final\s+)?"
    r"(?:answer|result|antwort|ergebnis|réponse|résultat|respuesta|resultado|ответ)\b"
    r"(?:\s{1,4}(?:is|ist|est|es)\b)?\s{0,4}:?|答案是?\s{0,4}:?)[\s*_$\\(]{0,16}(?P<what>[^\n]{1,200})",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[\s*_$({\[]*(?:(?:option|choice)\s+)?\(?([A-Ja-j])[\s*_$)}\].:]*")
_LETTER_FIRST = re.compile(r"[\s*_(]*([A-J])[*_]*(?:[).:]+(?:[\s*_]|$)|\s*\}|\s*$)")
_VERDICT = re.compile(r"\W*(\w+)\W*(?:$|(?<=[.,!:;。*—-])|(?<=[.,!:;。*—-]\s))")
_VERDICTS = {
    **dict.fromkeys(("yes", "true", "oui", "ja", "sí", "да", "是", "はい", "correct"), True),
    **dict.fromkeys(("no", "false", "non", "nein", "нет", "否", "いいえ", "incorrect"), False),
}
_SCALES = frozenset(
    {"%", "k", "m", "bn", "b", "dozen", "thousand", "million", "billion", "trillion", "mio", "mrd"}
    | {"tausend", "millionen", "milliarden", "mille", "mil", "millones", "万", "億", "亿"}
)
"""Units that change what the same number says; others may be left out."""
_WORDS = re.compile(r"\w+")
_NOT_JSON = object()


def answers_agree(
    cheap: str, strong: str, similarity: Callable[[str, str], float] | None = None
) -> bool | None:
    """Return whether two answers to the same ask say the same; None if that cannot be told.

    They do if they are the same text, JSON value, choice letter, final number or yes or no, in whatever
    form; they do not if they hold two different ones of a kind. Other texts are undecided, unless
    ``similarity`` gives the cosine similarity of their embeddings: from `SIMILAR_FROM` they agree if they
    also hold the same numbers, below `DIFFERENT_BELOW` they do not. An embedding hardly sees a "not": leave
    it out where a false agreement costs more than an undecided one.
    """
    cheap, strong = (text[:_MOST_CHARS].translate(NARROW) for text in (cheap, strong))
    if not strong.strip():
        return None
    if not cheap.strip():
        return False
    if _plain(cheap) == _plain(strong):
        return True
    these, those = _json(cheap), _json(strong)
    if these is not _NOT_JSON or those is not _NOT_JSON:
        return None if _NOT_JSON in (these, those) else _same_value(these, those)
    mine, theirs = _choice(cheap), _choice(strong)
    if mine or theirs:
        return mine == theirs if mine and theirs else None
    for told in (_same_number, _same_verdict, _same_label):
        agree = told(cheap, strong)
        if agree is not None:
            return agree
    return _similar(cheap, strong, similarity) if similarity else None


def _plain(text: str) -> str:
    """Fold what does not change what a short text says: case, width, spaces, quotes, emphasis, full stop."""
    if len(text) > _SHORT_CHARS:
        return " ".join(text.split())
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip("\"'`*_ “”‘’«»").rstrip(".!。").strip("\"'`*_ “”‘’«»")


def _json(text: str) -> object:
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].partition("\n")[2].strip()
    if text[:1] not in ("{", "["):
        return _NOT_JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _same_value(these: object, those: object, depth: int = 0) -> bool | None:
    if depth > 64:
        return None
    if isinstance(these, str) and isinstance(those, str):
        if _plain(these) == _plain(those):
            return True
        return False if max(len(these), len(those)) <= _LABEL_CHARS else None
    if isinstance(these, dict) and isinstance(those, dict):
        if these.keys() != those.keys():
            return False
        return _all(_same_value(these[name], those[name], depth + 1) for name in these)
    if isinstance(these, list) and isinstance(those, list):
        if len(these) != len(those):
            return False
        return _all(_same_value(a, b, depth + 1) for a, b in zip(these, those, strict=True))
    if isinstance(these, bool) or isinstance(those, bool):
        return these is those
    return these == those


def _all(parts: Iterable[bool | None]) -> bool | None:
    verdicts = set(parts)
    return False if False in verdicts else None if None in verdicts else True


def _marked(text: str) -> str | None:
    what = None
    for found in _MARKED.finditer(text):
        what = found["what"]
    return what


def _choice(text: str) -> str | None:
    if letter := _LETTER.fullmatch(text):
        return letter[1].upper()
    marked = _marked(text)
    letter = _LETTER_FIRST.match(marked) if marked else _LETTER_FIRST.match(text)
    return letter[1] if letter else None


Standing = Literal["stated", "worked out", "mentioned"]


@dataclass(frozen=True, slots=True)
class _Number:
    value: Fraction
    unit: str
    standing: Standing
    """Given as the answer; last of a calculation; or only one in a sentence about something."""


def _same_number(cheap: str, strong: str) -> bool | None:
    mine, theirs = _number(cheap), _number(strong)
    if mine is None or theirs is None:
        return None
    standings = {mine.standing, theirs.standing}
    if standings == {"mentioned"}:
        return None
    if mine.value != theirs.value:
        if standings == {"stated"}:
            return False
        # The last number of a calculation need not be its result, but the result is near the end.
        nearly = mine.value in _last_values(strong) or theirs.value in _last_values(cheap)
        return None if nearly or "mentioned" in standings else False
    if standings != {"stated"} or mine.unit == theirs.unit:
        return True
    units = {mine.unit, theirs.unit}
    return True if "" in units and not units & _SCALES else None


def _last_values(text: str) -> set[Fraction]:
    found = [_as_number(number, "mentioned") for number in list(_NUMBER.finditer(text))[-_NEAR_END:]]
    return {number.value for number in found if number}


def _number(text: str) -> _Number | None:
    marked = _marked(text)
    found = _NUMBER.search(marked) if marked else None
    if found and marked and not _WORDS.search(marked[: found.start()]):
        return _as_number(found, "stated")
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return None
    last = numbers[-1]
    if len(numbers) == 1 and not _WORDS.search(text[: last.start()] + text[last.end() :]):
        return _as_number(last, "stated")
    if "```" not in text and _CALCULATION.search(text):
        return _as_number(last, "worked out")
    return _as_number(last, "mentioned") if len(numbers) == 1 else None


def _as_number(found: re.Match[str], standing: Standing) -> _Number | None:
    below = int(found["below"] or 1)
    if not below:
        return None
    value = Fraction(found["whole"].replace(",", "") + (found["rest"] or "")) / below
    unit = (found["unit"] or found["currency"] or "").strip().casefold()
    unit = unit.rstrip("s") if len(unit) > 1 else unit
    return _Number(-value if found["sign"] else value, unit, standing)


def _same_verdict(cheap: str, strong: str) -> bool | None:
    mine, theirs = _verdict(cheap), _verdict(strong)
    if mine is None or theirs is None:
        return None
    if mine != theirs:
        return False
    # Two texts that both begin with "Yes" may still say different things; the bare word says no more.
    return True if min(len(_WORDS.findall(cheap)), len(_WORDS.findall(strong))) == 1 else None


def _verdict(text: str) -> bool | None:
    found = _VERDICT.match(text)
    return _VERDICTS.get(found[1].casefold()) if found else None


def _same_label(cheap: str, strong: str) -> bool | None:
    """Two different single words are two different labels; of longer texts this cannot be said."""
    for text in (cheap, strong):
        plain = _plain(text)
        if len(plain) > _LABEL_CHARS or not _WORDS.fullmatch(plain):
            return None
    return False


def _similar(cheap: str, strong: str, similarity: Callable[[str, str], float]) -> bool | None:
    likeness = similarity(cheap, strong)
    if likeness < DIFFERENT_BELOW:
        return False
    numbers = (
        {found["whole"] + (found["rest"] or "") for found in _NUMBER.finditer(text)}
        for text in (cheap, strong)
    )
    return True if likeness >= SIMILAR_FROM and next(numbers) == next(numbers) else None
