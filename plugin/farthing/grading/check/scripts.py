"""Scripts of writing, and the languages whose name tells one."""

import re

SAMPLE = 2_000
"""Characters of each end of a text that are looked at."""

_RANGES = {
    "latin": "A-Za-zÀ-ɏḀ-ỿ",
    "cyrillic": "Ѐ-ԯ",
    "greek": "Ͱ-Ͽἀ-῿",
    "han": "㐀-䶿一-鿿",
    "kana": "぀-ヿ",
    "hangul": "가-힯ᄀ-ᇿ",
    "arabic": "؀-ۿݐ-ݿ",
    "hebrew": "֐-׿",
    "devanagari": "ऀ-ॿ",
    "bengali": "ঀ-৿",
    "tamil": "஀-௿",
    "thai": "฀-๿",
}
_LETTERS = {name: re.compile(f"[{chars}]") for name, chars in _RANGES.items()}
_UNSPACED = ("han", "kana", "thai")

LANGUAGES: dict[str, tuple[str, ...]] = {
    "chinese|mandarin|cantonese": ("han",),
    "japanese": ("kana", "han"),
    "korean": ("hangul",),
    "russian|ukrainian|bulgarian|belarusian": ("cyrillic",),
    "greek": ("greek",),
    "arabic|persian|farsi|urdu": ("arabic",),
    "hebrew": ("hebrew",),
    "hindi|marathi|nepali|sanskrit": ("devanagari",),
    "bengali": ("bengali",),
    "tamil": ("tamil",),
    "thai": ("thai",),
    "english|french|german|spanish|italian|portuguese|dutch|polish|czech|turkish|vietnamese|indonesian"
    "|swedish|danish|norwegian|finnish|hungarian|romanian|catalan|latin|swahili": ("latin",),
}
"""English names of languages, and the scripts that an answer in them must show."""
_NAMED = re.compile(rf"\b(?:{'|'.join(LANGUAGES)})\b")
_ASKED = re.compile(
    r"\b(?:answer|respond|reply|write|translate|explain|summari[sz]e|output)\b[^.\n?!]{0,60}"
    r"\b(?:in|into|to) (?:(?:simple|plain|formal|modern|standard|traditional|simplified) )?"
    rf"({'|'.join(LANGUAGES)})\b"
)
_TRANSLITERATED = re.compile(r"\b(?:romani[sz]\w*|romaji|pinyin|transliterat\w*|latin (?:letters|script))\b")
_TRANSLATES = re.compile(
    r"\b(?:translat\w*|language|übersetz\w*|tradui\w*|traduc\w*|traduz\w*|перевед\w*|перевод\w*)\b|翻译|翻訳|번역"
)
_EUROPEAN = re.compile(
    r"\b(?:the|is|are|of|and|to|in|for|what|how|why|you|my|this|that|with"
    r"|le|les|des|est|une|que|pour|der|das|und|ist|ein|nicht|los|una|para|con|por|che|per|sono|não|uma)\b"
)
"""Words that tell a European language from another one written in Latin letters ("aap kaise ho")."""
_FEWEST = 40
"""Letters below which the script of a text tells nothing."""


def shares(text: str) -> tuple[int, dict[str, float]]:
    """Return the letters counted in a sample of ``text``, and each script's share of them."""
    sample = text if len(text) <= 2 * SAMPLE else text[:SAMPLE] + text[-SAMPLE:]
    if sample.isascii():
        letters = sum(map(str.isalpha, sample))
        return letters, {"latin": 1.0} if letters else {}
    counts = {name: len(letters.findall(sample)) for name, letters in _LETTERS.items()}
    total = sum(counts.values())
    return total, {name: count / total for name, count in counts.items() if count}


def unspaced(text: str) -> bool:
    """Return whether words of ``text`` cannot be counted by its spaces."""
    _, by_script = shares(text)
    return sum(by_script.get(name, 0.0) for name in _UNSPACED) > 0.2


def asked_script(ask: str) -> tuple[str, ...]:
    """Return the scripts that ``ask`` (lower case) wants the answer in; empty if it names none, or two."""
    found = {_script(match) for match in _ASKED.findall(ask)}
    if len(found) != 1 or _TRANSLITERATED.search(ask):
        return ()
    return found.pop()


def wrong_script(text: str, ask: str, rest: str) -> str:
    """Return why the script of an answer contradicts what was asked; empty if it does not.

    ``ask`` is the user's turn, ``rest`` everything else of the conversation. Without a language asked
    for, only a change of script counts: a conversation in a European language, answered in another script.
    """
    letters, got = shares(text)
    if letters < _FEWEST:
        return ""
    asked = asked_script(ask.lower())
    if asked:
        if sum(got.get(name, 0.0) for name in asked) < 0.02:
            return "the answer is not in the script of the language asked for"
        return ""
    said = f"{ask}\n{rest}"
    spoken, used = shares(said)
    if spoken < 20 or used.get("latin", 0.0) < 1.0 or got.get("latin", 0.0) > 0.3:
        return ""
    if (
        len(_EUROPEAN.findall(ask.lower())) < 2
        or _NAMED.search(said.lower())
        or _TRANSLATES.search(said.lower())
    ):
        return ""
    return "the answer is in another script than the conversation"


def _script(language: str) -> tuple[str, ...]:
    return next(scripts for names, scripts in LANGUAGES.items() if language in names.split("|"))
