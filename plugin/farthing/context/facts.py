"""The facts of a text that must survive its shortening: figures, dates, names, ids, paths, code names.

A fact is compared by what it means, not by how it is written: 1,200 is 1200, $50 is 50 USD, May 16, 2024 is
2024-05-16, 4 PM is 16:00. Ids, paths and code names must be the same to the letter; names in any case.
"""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from heapq import merge

from farthing.context.scan import CURRENCIES, MAGNITUDES, MONTHS, Part, parts, quoted
from farthing.cost import count_text

_SMALL = {
    word: str(number)
    for number, word in enumerate(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
        sixteen seventeen eighteen nineteen twenty""".split()  # noqa: SIM905
    )
}
_SMALL_WORD = re.compile(r"\b(?:" + "|".join(_SMALL) + r")\b", re.IGNORECASE)
_MAX_SEARCHED = 500_000_000
"""Characters looked through for facts that a text writes in no known way; beyond, they count as missing."""


def facts_of(text: str) -> tuple[str, ...]:
    """Return the facts in ``text``, each once, in order of appearance, as they are written.

    Takes time linear in the text: 25 to 45 ms for 100 000 characters. Words are not facts, nor are phrases
    that are not quoted.
    """
    found = [(part.start, part.text) for part in parts(text)]
    return tuple(dict.fromkeys(fact for _, fact in merge(quoted(text), found)))


def missing(facts: Iterable[str], text: str) -> tuple[str, ...]:
    """Return those of ``facts`` that ``text`` does not hold, however it writes them (1,200 = 1200)."""
    held = _Held([text])
    return tuple(fact for fact in facts if fact not in held)


def invented(text: str, sources: Iterable[str]) -> tuple[str, ...]:
    """Return the numbers and ids in ``text`` that none of ``sources`` holds."""
    held = _Held(list(sources))
    told = dict.fromkeys(part.text for part in parts(text) if part.kind != "name")
    return tuple(fact for fact in told if fact not in held)


def untold(sources: Iterable[tuple[str, str]], told: str, max_tokens: int) -> str:
    """Return the figures (ids, amounts, dates) of ``sources``, pairs of label and text, that ``told`` lacks.

    A line for each source, at most ``max_tokens`` in all; if they are too many, the oldest sources lack some.
    What is short and the same everywhere, a single digit, is no figure.
    """
    held = _Held([told])
    lines: list[str] = []
    for label, text in reversed(list(sources)):
        figures = dict.fromkeys(part.text for part in parts(text) if part.kind != "name")
        lost = [one for one in figures if len(one) > 1 and _has_figure(one) and one not in held]
        while lost and count_text(line := f"{label}: {' '.join(lost)}") >= max_tokens:
            lost = lost[: len(lost) * 9 // 10]
        if lost:
            max_tokens -= count_text(line) + 1
            lines.append(line)
            held.add(line)
    return "\n".join(reversed(lines))


def _has_figure(text: str) -> bool:
    return "@" in text or any(sign.isdigit() for sign in text)


class _Held:
    """What some texts hold."""

    def __init__(self, texts: list[str]) -> None:
        self._texts: list[str] = []
        self._keys: set[str] = set()
        self._folded: list[str] | None = None
        self._left = _MAX_SEARCHED
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        self._texts.append(text)
        self._folded = None
        self._keys |= {key for part in parts(text) for key in _offers(part)}

    def __contains__(self, fact: str) -> bool:
        read = list(parts(fact))
        if len(read) == 1 and read[0].text == fact.strip() and read[0].kind != "name":
            if any(keys <= self._keys for keys in _needs(read[0])):
                return True
            if read[0].kind == "number":
                return fact in _SMALL.values() and fact in self._small_words()
            return self._stands(fact, self._texts)
        if self._folded is None:
            self._folded = [_fold(text) for text in self._texts]
        return self._stands(_fold(fact), self._folded)

    def _small_words(self) -> set[str]:
        return {_SMALL[word.lower()] for text in self._texts for word in _SMALL_WORD.findall(text)}

    def _stands(self, fact: str, texts: list[str]) -> bool:
        for text in texts:
            at = -1
            while self._left > 0:
                start = at + 1
                at = text.find(fact, start)
                self._left -= (at if at >= 0 else len(text)) - start + 100
                if at < 0:
                    break
                before, after = text[at - 1 : at] if at else "", text[at + len(fact) : at + len(fact) + 1]
                if not (before.isalnum() and fact[:1].isalnum()) and not (
                    after.isalnum() and fact[-1:].isalnum()
                ):
                    return True
        return False


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _needs(part: Part) -> Iterator[set[str]]:
    """Yield the sets of keys each of which means that this fact is there."""
    match = part.match
    if match is None:
        yield {part.text.lstrip("#")}
    elif part.kind == "number":
        yield from _number(match)
    elif part.kind == "date":
        yield from _date(match)
    else:
        half = match["half"] or match["whole_half"]
        yield {_clock(match["hour"], match["minute"], match["second"], half)}


def _offers(part: Part) -> Iterator[str]:
    """Yield the keys of this fact, and those of vaguer ones that it implies."""
    for keys in _needs(part):
        yield from keys
        if part.kind == "date":
            yield from (f"--{key[6:]}" for key in keys if key.startswith("d"))
    if part.kind == "number" and part.match:
        yield (part.match["sign"] or "") + _plain(part.match["figure"])
    elif part.kind == "id":
        for piece in re.split(r"[^\w.]+", part.text):
            yield _plain(piece) if piece[:1].isdigit() else piece


def _plain(figure: str) -> str:
    """Return a number as it is compared: without separators, and without zeros at the end of its fraction."""
    figure = figure.replace(",", "")
    return figure.rstrip("0").rstrip(".") if "." in figure else figure


def _number(match: re.Match[str]) -> Iterator[set[str]]:
    figure = match["figure"]
    value = _plain(figure)
    unit = (match["unit"] or "").lower().rstrip(".")
    sign = match["sign"] or ""
    magnitude = (match["magnitude"] or "").lower()
    if magnitude and len(value) <= 30:
        value = _plain(f"{Decimal(value).scaleb(MAGNITUDES[magnitude]):f}")
    currency = CURRENCIES.get(match["currency"] or "") or CURRENCIES.get(unit)
    if currency:
        yield {f"{sign}{value} {currency}"}
    elif unit:
        yield {f"{sign}{value} {_one(unit)}"}
    else:
        yield {f"{sign}{value}"}
    if "," in figure:  # or a list of numbers
        yield {_plain(piece) for piece in figure.split(",")}


def _one(unit: str) -> str:
    if unit in ("%", "percent"):
        return "%"
    return unit[:-1] if len(unit) > 2 and unit.endswith("s") else unit


def _date(match: re.Match[str]) -> Iterator[set[str]]:
    if named := match["month"] or match["month_after"]:
        month = f"{MONTHS.index(named[:3].lower()) + 1:02}"
        day = _two_digits(match["day"] or match["day_first"])
        year = match["year"] or match["year_after"]
        yield {f"d{year}-{month}-{day}" if year else f"--{month}-{day}"}
    elif match["iso_year"]:
        day = f"d{match['iso_year']}-{match['iso_month']}-{match['iso_day']}"
        hour, minute, second = match["iso_hour"], match["iso_minute"], match["iso_second"]
        yield {day, _clock(hour, minute, second, None)} if hour else {day}
    else:
        one, other = _two_digits(match["slash_one"]), _two_digits(match["slash_other"])
        yield {f"d{match['slash_year']}-{one}-{other}"}
        yield {f"d{match['slash_year']}-{other}-{one}"}


def _clock(hour: str, minute: str | None, second: str | None, half: str | None) -> str:
    hours = int(hour)
    if half:
        hours = hours % 12 + (12 if half in "pP" else 0)
    return f"t{hours:02}:{minute or '00'}:{second or '00'}"


def _two_digits(number: str) -> str:
    return number.zfill(2)
