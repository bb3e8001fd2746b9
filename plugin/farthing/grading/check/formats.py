"""Does an answer contradict a format that the user asked for in words?

Only formats that can be told cheaply and surely, read from the user's own turn; each with a generous
tolerance. Where the ask is about code, names alternatives ("otherwise …") or wants several texts, the
check has no opinion.
"""

import re
from collections.abc import Callable

from farthing.grading.check.schemas import read_json
from farthing.grading.check.scripts import unspaced

_HEAD, _TAIL = 400, 600
"""Of a longer ask only these ends are read: instructions stand around what they are about."""
MAX_COUNTED = 200_000
"""Characters of an answer in which words, sentences and points are counted."""

_SAY = r"\b(?:answer|respond|reply|return|output|give|provide|state|write|use)\b"
_ONLY = r"\b(?:only|just|nothing but|solely|simply|exactly)\b"
_STOPS = r"(?=\s*(?:[.!?,;:)\n]|$|and nothing|with no|without|no explanation|nothing else|as your))"
_NUMBER_ONLY = re.compile(
    rf"{_SAY}[^.\n!?]{{0,40}}{_ONLY}[^.\n!?]{{0,12}}\b(?:a|an|the|one|single|final)"
    rf" (?:single |final |numeric(?:al)? )?(?:number|integer|numeric value){_STOPS}"
    rf"|{_ONLY} {_SAY} with (?:a|the|one) (?:single |final )?(?:number|integer){_STOPS}"
)
_ONE_WORD = re.compile(
    rf"{_SAY}[^.\n!?]{{0,40}}\b(?:in|with|using|only|just)\b[^.\n!?]{{0,12}}"
    rf"\b(?:one|a single|1|exactly one) word{_STOPS}"
    r"|(?:^|\n|[.!?] )(?:in )?(?:one|a single) word(?: only| answer)?[:.,]"
)
_YES_NO = re.compile(
    rf"{_SAY}[^.\n!?]{{0,40}}['\"“]?\byes['\"”]? or ['\"“]?no\b['\"”]?(?! or)"
    r"|\byes[ /]or[ /]no(?: answer)? only\b"
)
_LETTER_ONLY = re.compile(
    rf"{_SAY}[^.\n!?]{{0,40}}{_ONLY}[^.\n!?]{{0,20}}"
    r"\b(?:the|a|one|single) (?:single |correct |right )?letter\b"
    rf"|{_ONLY} {_SAY}[^.\n!?]{{0,20}}\bthe (?:correct )?letter\b"
)
_OPTIONS = re.compile(r"(?:^|\n)\s*\(?([a-j])[).:]\s")
_WORD_LIMIT = re.compile(
    r"\b(in|of|exactly|at most|no more than|not more than|under|below|fewer than|less than|up to|within|max"
    r"|maximum|maximum of|max of|about|around|approximately|roughly|at least|minimum of)"
    r" (?:(exactly|about|around|approximately|roughly|at most|at least|under|fewer than|less than"
    r"|no more than) )?(\d{1,4})[ -]words?\b( or (?:less|fewer|more))?"
)
_COUNTS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COUNT = rf"(?:a single|{'|'.join(_COUNTS)}|\d{{1,2}})"
_SENTENCES = re.compile(
    r"\b(?:in|within|to|using|with|at most|no more than|exactly) (?:just |only |exactly |about |at most )?"
    rf"({_COUNT})"
    rf"(?:(?: to | or |[-–])({_COUNT}))? (?:short |simple |brief |concise |complete |clear )?sentences?\b"
)
_BULLETS = re.compile(
    rf"\b(?:in|as|with|using|list|provide|give|write)\b[^.\n]{{0,30}}?\b({_COUNT})"
    r" (?:short |brief |concise |key |main |clear )?bullet(?:s| points?)\b"
)
_JSON = re.compile(
    r"(?:^|[.!?:\n]\s*)(?:please )?(?:only )?"
    r"(?:respond|reply|answer|output|return|format your (?:answer|response))\b"
    r"[^.\n]{0,40}\b(?:in|as|with|only|valid|a)\b[^.\n]{0,20}\bjson\b(?! ?lines)"
)
_BLOCK = re.compile(
    r"\b(?:answer|respond|reply|return|output|put|wrap|enclose|provide|give)\b[^.\n]{0,60}"
    r"\b(?:in|inside|within|as) (?:a |one )?(?:single )?(?:fenced |markdown )*code (?:block|fence)\b"
)
_ALTERNATIVES = re.compile(
    r"\b(?:otherwise|unless|else|if (?:you|it|the|there|not|no|so|yes|any|none)|then|first|step by step"
    r"|explain|each|every|per|both|paragraphs?|sections?|versions?|options|variations?|alternatives"
    r"|followed by|unknown|maybe|unsure|not sure|examples?)\b"
)
_CODE = re.compile(
    r"```|\b(?:function|def|class|code|script|regex|sql|program|endpoint|api|method|python|javascript"
    r"|bug|error)\b"
)
_ANY_WORD = re.compile(r"\w+(?:[-'’.,/:]\w+)*")
_SENTENCE_END = re.compile(r"(?<=\w{4})[.!?][\"'”)\]*]*(?=\s+[\"'“(*]*[A-ZÀ-Þ])")
_POINT = re.compile(r"(?:^|\n)[ \t]{0,8}(?:[-*•‣◦–]|\d{1,2}[.)])[ \t]+\S|<li>")
_YES_OR_NO = re.compile(r"\b(?:yes|no|true|false|oui|non|sí|si|ja|nein|да|нет|yeah|nope|não|sim)\b|[是否]")


def contradicts(text: str, ask: str, whole: bool) -> str:
    """Return which format asked for the answer contradicts; empty if none that can be told.

    With ``whole`` false, ``text`` is the beginning of an answer, and only what nothing after it can mend
    counts.
    """
    asked = ask.lower()
    if len(asked) > _HEAD + _TAIL:
        asked = f"{asked[:_HEAD]}\n{asked[-_TAIL:]}"
    if whole and _BLOCK.search(asked) and "```" not in text and "~~~" not in text:
        return "a code block was asked for, the answer has none"
    if _CODE.search(asked):
        return ""
    if whole and _JSON.search(asked) and not _has_json(text):
        return "JSON was asked for, the answer has none that can be read"
    if _ALTERNATIVES.search(asked):
        return ""
    body = text[:MAX_COUNTED]
    if unspaced(body):
        return ""
    return _short_forms(body, asked, whole) or _lengths(body, asked, whole)


def _short_forms(text: str, asked: str, whole: bool) -> str:
    words = _count(_ANY_WORD, text, 40)
    if words > 8 and _NUMBER_ONLY.search(asked):
        return "only a number was asked for, the answer is a text"
    if words > 4 and _ONE_WORD.search(asked):
        return "one word was asked for, the answer is a text"
    if words > 12 and _LETTER_ONLY.search(asked):
        return "only a letter was asked for, the answer is a text"
    if not whole:
        return ""
    if _LETTER_ONLY.search(asked):
        letters = set(_OPTIONS.findall(asked))
        named = set(re.findall(r"\b([a-z])\b", text.lower()[:400]))
        if letters and not letters & named:
            return "one of the offered letters was asked for, the answer has none"
    if _YES_NO.search(asked) and words > 2 and not _YES_OR_NO.search(text[:1000].lower()):
        return "yes or no was asked for, the answer has neither"
    return ""


def _lengths(text: str, asked: str, whole: bool) -> str:
    limits = _WORD_LIMIT.findall(asked)
    if len(limits) == 1:
        return _word_limit(text, limits[0], whole)
    sentences = _SENTENCES.findall(asked)
    if len(sentences) == 1:
        most = max(_number(part) for part in sentences[0] if part)
        if _count(_SENTENCE_END, text, 200) + 1 > 2 * most + 1:
            return f"{most} sentences were asked for, the answer has far more"
    bullets = _BULLETS.findall(asked)
    if len(bullets) == 1 and (wanted := _number(bullets[0])) >= 2:
        points = _count(_POINT, text, 200)
        if points > 2 * wanted + 1 or (whole and 2 * points < wanted):
            return f"{wanted} bullet points were asked for, the answer has another number"
    return ""


def _word_limit(text: str, found: tuple[str, ...], whole: bool) -> str:
    lead, inner, digits, tail = found
    limit, kind = int(digits), f"{lead} {inner}{tail}"
    words = _count(_ANY_WORD, text, 20_000)
    least = "at least" in kind or "minimum" in kind or tail.endswith("more")
    if least:
        return "far fewer words than asked for" if whole and words < limit * 0.4 else ""
    firm = any(word in kind for word in ("most", "than", "under", "below", "up to", "within", "max", "less"))
    if words > limit * (1.5 if firm else 2) + 15:
        return "far more words than asked for"
    if not firm and whole and limit >= 50 and words < limit / 3:
        return "far fewer words than asked for"
    return ""


def _has_json(text: str) -> bool:
    """Is there a JSON object or array in ``text``, alone, fenced or among words?"""
    stripped = text.strip()
    if read_json(stripped)[0] != "not_json":
        return True
    for opening, closing in (("{", "}"), ("[", "]")):
        start, end = stripped.find(opening), stripped.rfind(closing)
        if 0 <= start < end:
            inner = stripped[start : end + 1]
            if read_json(inner)[0] != "not_json":
                return True
            # Several objects, one a line or one a block: the first that closes a line is enough.
            first = re.search(rf"\{closing}\s*(?:\n|$)", inner)
            if first and read_json(inner[: first.start() + 1])[0] != "not_json":
                return True
    return False


def _number(word: str) -> int:
    if word.isdigit():
        return int(word)
    return _COUNTS.index(word) + 1 if word in _COUNTS else 1


def _count(pattern: re.Pattern[str], text: str, most: int) -> int:
    """Count matches, no further than ``most``."""
    found: Callable[[], object] = iter(pattern.finditer(text)).__next__
    for number in range(most):
        try:
            found()
        except StopIteration:
            return number
    return most
