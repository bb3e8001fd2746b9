"""The words of a text as they are looked up: what a question and a passage must share to fit each other."""

import re
from collections.abc import Iterable, Iterator

import Stemmer

_STOP = frozenset(
    re.findall(
        r"\w+",
        """
    a about above after again all also am an and any are aren as at be because been before being
    below between both but by can cannot could couldn d did didn do does doesn doing don down during
    each either else ever every few for from further had hadn has hasn have haven having he her here
    hers herself him himself his how i if in into is isn it its itself just ll m maybe me might mine
    more most much must my myself neither no nor not now of off on once one only onto or other ought
    our ours ourselves out over own perhaps re s same shall she should shouldn since so some such t
    than that the their theirs them themselves then there these they this those though through to
    too under until up upon us ve very was wasn we were weren what whatever when where which while
    who whom whose why will with within without won would wouldn yet you your yours yourself
    bye carry cheers continue cool fine go going good great hello hey hi kindly like mhm nice no ok
    okay perfect please proceed right sorry sure thank thanks thx well wow yeah yep yes yup
    """,
    )
)
"""What carries no meaning to look up: function words, and what people say to go on, to greet or to thank."""

ID = "#"
"""What a term that stands for an id or a number as a whole begins with."""
_MOST_CHARS = 64
_PIECE = 4
_LEAST_ID = 5
"""Shorter numbers (a year, an hour, an amount) are words like others."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_CAMEL = re.compile(r"(?<=[a-z\d])(?=[A-Z][a-z])")
_CJK = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_WHOLE = re.compile(r"[^\W_]+(?:[-_./:@]+[^\W_]+)*")


def words(text: str) -> list[str]:
    """Return the words of ``text`` in lower case, without those that carry no meaning.

    Compound names are taken apart (``getUserName``, ``user_name``); Chinese, Japanese, Korean and Thai, which
    do not mark their words, come as pairs of letters.
    """
    found = []
    for word in _WORD.findall(_CAMEL.sub(" ", _THOUSANDS.sub("", text)).lower()):
        if word[0] >= "\u0e00" and len(word) > 2 and re.match(f"[{_CJK}]", word):
            found += [word[at : at + 2] for at in range(len(word) - 1)]
        elif word not in _STOP:
            found.append(word[:_MOST_CHARS])
    return found


def pieces(found: Iterable[str]) -> Iterator[str]:
    """Yield the runs of four letters in some words.

    By them words are found that are misspelt, compounded, or of a language whose endings are not stemmed.
    """
    for word in found:
        whole = f"<{word}>"
        for at in range(max(1, len(whole) - _PIECE + 1)):
            yield whole[at : at + _PIECE]


def ids(text: str) -> list[str]:
    """Return the terms of the ids and long numbers in ``text``: what holds a digit, as a whole."""
    wholes = _WHOLE.findall(_THOUSANDS.sub("", text))
    return [
        ID + whole[:_MOST_CHARS].lower()
        for whole in wholes
        if len(whole) >= _LEAST_ID and any(map(str.isdigit, whole))
    ]


def stems(found: list[str]) -> list[str]:
    """Return the stems of some words, one each, by Snowball's English rules."""
    stemmed: list[str] = Stemmer.Stemmer("english").stemWords(found)
    return stemmed
