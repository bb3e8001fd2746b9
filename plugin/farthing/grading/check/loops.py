"""Has an answer fallen into a loop? Linear in the length of the end that is looked at."""

import re
from collections import Counter
from collections.abc import Sequence

TAIL = 6_000
"""Characters of the end of an answer that are looked at."""
_ASKED_FOR = re.compile(
    r"\b(?:repeat\w*|times|lorem|chorus|refrain|over and over|again and again|loop|copies|ascii|rows|lines)\b"
    r"|wiederhol|répét|repit|повтор|重复|繰り返|반복"
)
_WORDS = re.compile(r"\w+")


def loops(text: str, ask: str, ended: bool, strict: bool = False) -> bool:
    """Return whether ``text`` ends in a loop: a unit, a line or words again and again.

    ``ended``: the model stopped by itself, which a loop seldom does: then more is needed. ``strict`` is
    for a beginning, where the rest may still leave the loop. Nothing is found where the user asked for
    repetition.
    """
    tail = text[-TAIL:].rstrip()
    least = 600 if strict or ended else 240
    if len(tail) < least or _ASKED_FOR.search(ask.lower()):
        return False
    patient = strict or ended
    return _periodic(tail, least) or _same_lines(tail, patient) or (not patient and _few_grams(tail))


def _periodic(tail: str, least: int) -> bool:
    """Does the end consist of one unit, at least 6 times and over ``least`` characters?

    The borders of the reversed end (Knuth, Morris, Pratt 1977) give the shortest period of each suffix.
    """
    turned = tail[::-1]
    border = [0] * len(turned)
    length = 0
    for i in range(1, len(turned)):
        while length and turned[i] != turned[length]:
            length = border[length - 1]
        length += turned[i] == turned[length]
        border[i] = length
    for size in range(len(turned), least - 1, -1):
        period = size - border[size - 1]
        if size >= 6 * period:
            unit = turned[:period]
            letters = sum(map(str.isalpha, unit))
            # Rules, table lines and rows of figures repeat by right; so do single letters in data.
            needed = least if letters >= 3 else 4 * least
            if size >= needed:
                return True
    return False


def _same_lines(tail: str, patient: bool) -> bool:
    """Is one line of words most of the last lines?"""
    lines = [line.strip() for line in tail.splitlines() if line.strip()][-60:]
    wordy = [line for line in lines if len(line) >= 20 and sum(map(str.isalpha, line)) >= 12]
    if len(wordy) < (24 if patient else 12):
        return False
    return _most_common(wordy) >= 0.6 * len(lines)


def _few_grams(tail: str) -> bool:
    """Are the last 300 words made of the same few groups of four?"""
    words = _WORDS.findall(tail.lower())[-300:]
    if len(words) < 200:
        return False
    grams = {tuple(words[i : i + 4]) for i in range(len(words) - 3)}
    return len(grams) < 0.15 * len(words)


def _most_common(items: Sequence[str]) -> int:
    return Counter(items).most_common(1)[0][1] if items else 0
