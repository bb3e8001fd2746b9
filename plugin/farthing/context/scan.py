"""Reading a text for what may be facts: in one pass, linear in its length whatever stands in it."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

PartKind = Literal["number", "date", "time", "id", "name"]

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MAGNITUDES = {"k": 3, "thousand": 3, "m": 6, "million": 6, "bn": 9, "billion": 9, "trillion": 12}
CURRENCIES = {
    "$": "usd", "€": "eur", "£": "gbp", "¥": "jpy", "₹": "inr", "usd": "usd", "eur": "eur", "gbp": "gbp",
    "jpy": "jpy", "inr": "inr", "chf": "chf", "cad": "cad", "aud": "aud", "cny": "cny", "dollar": "usd",
    "dollars": "usd", "euro": "eur", "euros": "eur", "yen": "jpy", "rupees": "inr",
}  # fmt: skip
_UNITS = (
    "usd|eur|gbp|jpy|inr|chf|cad|aud|cny|dollars?|euros?|yen|rupees|percent|kg|mg|g|lbs?|oz|tons?|"
    "tonnes?|km|cm|mm|nm|m|miles?|ft|feet|inches|mph|kwh|kw|mw|hz|khz|mhz|ghz|bytes?|kb|mb|gb|tb|kib|"
    "mib|gib|tokens?|ms|ns|s|sec|seconds?|min|minutes?|h|hrs?|hours?|days?|weeks?|months?|years?|px"
)
_MONTH = (
    "(?:[Jj]an(?:uary)?|[Ff]eb(?:ruary)?|[Mm]ar(?:ch)?|[Aa]pr(?:il)?|[Mm]ay|[Jj]une?|[Jj]uly?|[Aa]ug(?:ust)?"
    "|[Ss]ept?(?:ember)?|[Oo]ct(?:ober)?|[Nn]ov(?:ember)?|[Dd]ec(?:ember)?)"
)
_TH = "(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\ (?P<{}>\d{{4}})(?![\w,.:\-]\w|\w))?"
_END = r"(?![\w@/\\]|[.\-]\w)"
_SCAN = re.compile(
    rf"""(?:
        (?!(?=[jfmasond]){_MONTH}\.?\ \d)[a-z]++(?![\w@/\\(]|[.\-'’]\w|:/)  # plain words, what stands between
      | [^\w$€£¥₹\#@/~\\.+\-]++
    )*+(?:
      (?P<url>[A-Za-z][A-Za-z\d+]{{1,9}}://[^\s"'<>)\]}}`|\\]++)
    | (?P<date>(?P<iso_year>\d{{4}})[-/](?P<iso_month>\d\d)[-/](?P<iso_day>\d\d)
          (?:[T\ ](?P<iso_hour>\d\d):(?P<iso_minute>\d\d)(?::(?P<iso_second>\d\d)(?:\.\d{{1,9}})?)?
          (?:Z|[+-]\d\d:?\d\d)?)?{_END}
      | (?P<slash_one>\d{{1,2}})[/.](?P<slash_other>\d{{1,2}})[/.](?P<slash_year>\d{{4}}){_END}
      | (?P<month>{_MONTH})\.?\ (?P<day>\d{{1,2}}){_TH}(?!\w|[:.,]\d){_YEAR.format("year")}
      | (?P<day_first>\d{{1,2}}){_TH}\ (?:of\ )?(?P<month_after>{_MONTH})\b{_YEAR.format("year_after")})
    | (?P<time>(?P<hour>\d{{1,2}})(?:
          :(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d{{1,9}})?)?(?:\ ?(?P<half>[AaPp])\.?[Mm]\b)?
        | \ ?(?P<whole_half>[AaPp])\.?[Mm]\b){_END})
    | (?P<number>(?P<sign>-)?(?P<currency>[$€£¥₹])?
        (?P<figure>\d{{1,3}}(?:,\d{{3}})++(?:\.\d++)?|\d++(?:\.\d++)?)
        (?:\ ?(?P<magnitude>(?i:thousand|million|billion|trillion|bn|(?<=\d)[km]))\b)?
        (?:\ ?(?P<unit>%|(?i:{_UNITS})\b))?{_END})
    | (?P<token>[\w$€£¥₹\#@/~\\.+\-][\w\#@/~\\.+\-'’]*+(?:\(\))?)
    | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_QUOTED = re.compile(
    r"\"(\w[^\"\n]{1,58}[\w.%)])\"(?!\s?:)|(?<!\w)'(\w[^'\n]{1,58}[\w.%)])'(?![\w:])|“(\w[^”\n]{1,59})”"
)
_CODE_NAME = re.compile(r"\w*[a-z]\d*[A-Z]\w*|\w+_\w+|\w+(?:\.\w+)*\(\)")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_DOTTED = re.compile(r"[^\W\d]\w*(?:[.][^\W\d]\w*)+")
_STARTERS = frozenset(
    """
    A An And Any Are As At But By Can Could Did Do Does Each For From Has Have He Hello Her Here Hi His
    How I I'd I'll I'm I've If In Is It It's Its Let Let's May My No Not Now Of Oh Ok Okay On Or Our
    Please She Should Since So Some Sure Thank Thanks That The Their Then There These They This Those To
    Was We Well Were What When Where Which While Who Why Will With Would Yes You Your None True False
    """.split()  # noqa: SIM905
)
"""Words that are written with a capital only where they begin a sentence, and Python's constants."""
_LONGEST = 256
"""Characters of a fact: what is longer is data."""
_STOPS = ".!?:*#>-•"
_LONGEST_CODE = 6
"""Letters of a word in capitals that is a code (JFK, USD, WARN), not shouting."""
_FIGURES: dict[str, PartKind] = {"date": "date", "time": "time", "number": "number"}


class Part(NamedTuple):
    """What may be a fact: its kind, where it starts, how it is written, and of a figure how it was read."""

    kind: PartKind
    start: int
    text: str
    match: re.Match[str] | None = None


def parts(text: str) -> Iterator[Part]:
    """Yield what may be facts in ``text``, in order."""
    name: list[Part] = []
    end = -1
    for part in _pieces(text):
        if name and (part.kind != "name" or text[end : part.start] != " "):
            yield from _named(text, name)
            name = []
        if part.kind == "name":
            name.append(part)
            end = part.start + len(part.text)
        else:
            yield part
    if name:
        yield from _named(text, name)


def quoted(text: str) -> Iterator[tuple[int, str]]:
    """Yield the short phrases that stand in quotation marks, and where; no single words, no names of JSON."""
    for match in _QUOTED.finditer(text):
        group = match.lastindex or 0
        if 1 <= match[group].count(" ") < 8:
            yield match.start(group), match[group]


def _pieces(text: str) -> Iterator[Part]:
    kinds: dict[str, PartKind | None] = {}
    for match in _SCAN.finditer(text):
        group = match.lastgroup or ""
        if match.end() - match.start(group) > _LONGEST:
            continue
        if group == "token":
            token = _trimmed(match[group])
            kind = kinds[token] if token in kinds else kinds.setdefault(token, _kind(token))
            if kind:
                yield Part(kind, text.index(token, match.start(group)), token)
        elif group in _FIGURES:
            start, end = match.span(group)
            if not _marks_list(text, start, end):
                yield Part(_FIGURES[group], start, match[group], match)
        elif group == "url":
            yield Part("id", match.start(group), match[group].rstrip(".,;:!?"))


def _trimmed(token: str) -> str:
    """Return a token without the signs that stand around it in a sentence."""
    token = token.rstrip(".+-'’/\\@#")
    bare = token.lstrip(".+-'’@$€£¥₹")
    return token if token[:2] in ("./", "..") and "/" in token else bare


def _kind(token: str) -> PartKind | None:
    if not any(sign.isalnum() for sign in token):
        return None
    if len(token) > 1 and token.isalpha():
        if token.istitle():
            return "name"
        if token.isupper():
            return "id" if len(token) <= _LONGEST_CODE else None
    if any(sign.isdigit() for sign in token) or _CODE_NAME.fullmatch(token) or _MAIL.fullmatch(token):
        return "id"
    if "/" in token or "\\" in token:
        rooted = token[0] in "/~.\\" or token[1:2] == ":"
        return "id" if rooted or "." in token or token.count("/") > 1 else None
    if "." in token:
        return "id" if _DOTTED.fullmatch(token) and len(token) > 4 else None
    first, *others = re.split("[-'’]", token)  # Anna-Lena, Ada's, O'Neill
    last = others[-1] if others else ""
    titled = (len(first) > 1 and first.istitle()) or (len(last) > 2 and last.istitle())
    return "name" if titled else None


def _marks_list(text: str, start: int, end: int) -> bool:
    """Whether a number only counts the items of a list: ``1. First``."""
    if end - start > 2 or text[end : end + 2] not in (". ", ") "):
        return False
    before = text[max(0, start - 20) : start]
    return not before.rpartition("\n")[2].strip()


def _named(text: str, words: list[Part]) -> Iterator[Part]:
    """Yield the name that some capitalised words make; one word that begins a sentence is none."""
    first = words[0].start
    before = text[max(0, first - 4) : first].rstrip(" \t(*")
    begins = first == 0 or not before or before[-1] in _STOPS or before[-1] == "\n"
    while words and words[0].text.split("'")[0].split("’")[0] in _STARTERS:
        words = words[1:]
        begins = False
    if words and (len(words) > 1 or not begins):
        last = words[-1]
        yield Part("name", words[0].start, text[words[0].start : last.start + len(last.text)])
