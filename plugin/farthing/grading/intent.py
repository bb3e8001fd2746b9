"""The intent: the ask of a task with what varies in it masked, and the key it is remembered by.

Masking keeps what a grade depends on. A number keeps its magnitude and its place, a quotation its size and
kind, a file its extension; exponents and names such as ``sha256`` stay as they are. The state of the
conversation (tools, loop, attachments, sizes) goes into the key in buckets.
"""

import hashlib
import re
import unicodedata

from farthing.grading.cache.words import words_digest
from farthing.grading.task import Task

_QUOTE_CHARS = 80
_QUOTED = re.compile(
    rf'"([^"\n]{{1,{_QUOTE_CHARS}}})"'
    rf"|“([^”\n]{{1,{_QUOTE_CHARS}}})”"
    rf"|«([^»\n]{{1,{_QUOTE_CHARS}}})»"
    rf"|(?<!\w)'([^'\n]{{1,{_QUOTE_CHARS}}})'(?!\w)"
)
_FORMULA = re.compile(r"[=+*/^\\{}()<>\[\]|&%#∑∫√≤≥]")

# These read single tokens. Each starts where a token or its inner part starts, so that a long one is read
# once, not from each place in it.
_URL = re.compile(r"(?:https?|ftp|s3|file)://\S+|\bwww\.\S+")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.-]*\w")
_PATH = re.compile(
    r"(?<![\w.~/\\-])(?:"
    r"(?:~|\.\.?)?/(?:[\w.@+-]+/)+[\w.@+-]*"  # /var/log/app.log, ~/notes/a.md, ./src/b/
    r"|[a-z]:\\[^\"'<>|,;]+"  # c:\temp\report.xlsx
    r"|(?:[\w-][\w.-]*/)+[\w-][\w.-]*\.[a-z]\w{0,4}(?!\w)"  # src/app/main.py
    r")"
)
_FILE = re.compile(
    r"(?<![\w.-])[\w-][\w.-]*\.(?:pdf|csv|tsv|xlsx?|docx?|pptx?|txt|md|json|ya?ml|xml|html?|log|png|jpe?g|gif"
    r"|svg|mp[34]|wav|zip|gz|py|js|tsx?|jsx|go|rs|java|kt|c|cc|cpp|h|hpp|cs|rb|php|sh|sql|ipynb|toml|ini"
    r"|parquet)\b"
)
# Possessive: the classes share signs, which a long token that is no number would try in every split.
_NUMBER = re.compile(r"[-+($£€¥]*+\d[\d.,:/%]*+[)\].,;:?!€]*+")
_ID = re.compile(
    r"(?<![\w-])(?:[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}"
    r"|0x[\da-f]+|(?=\d*[a-f])(?=[a-f]*\d)[\da-f]{8,})(?![\w-])"
)
_OPAQUE = re.compile(r"(?<![\w+/=-])[\w+/=-]{16,}")
_MONTH_NAME = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_MONTH = re.compile(rf"\b{_MONTH_NAME}\.?,? (?=[0Q])|(?<=[0.] ){_MONTH_NAME}\b")
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"\d+")
_NAMED = re.compile(r"(?:[^\W\d]|\^|\*\*)[({]?\d+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")

_KEPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_MASK = str.maketrans("0123456789£€¥", "0000000000$$$")
_NORMALISED_AT_ONCE = 128
"""Normalising takes the square of a run of combining marks: longer texts are normalised in pieces."""


def masked(text: str) -> str:
    """Return ``text`` folded (NFKC, case, white space) and with what varies masked. Raises nothing.

    Numbers are written by the count of their digits, coarsened: 1–2, 3, 4, 5–6, 7, 8, 9–10 … digits.
    """
    text = _folded(text)
    if '"' in text or "'" in text or "“" in text or "«" in text:
        text = _quotes_masked(text)
    text = " ".join([token if token.isalpha() else _token_masked(token) for token in text.split()])
    text = text.translate(_MASK) if text.isascii() else _DIGIT.sub("0", text.translate(_MASK))
    # Folded text has no capitals: Q can stand for four digits.
    text = text.replace("0000", "Q").replace("00", "0")
    if "0" in text:
        text = _MONTH.sub("<month> ", text)
    return text.rstrip(" .!?")


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    step = _NORMALISED_AT_ONCE
    pieces = [unicodedata.normalize("NFKC", text[at : at + step]) for at in range(0, len(text), step)]
    folded = "".join(pieces)
    # A ligature of many letters may stand for 18 of them: a text of nothing else stays as it is.
    return (folded if len(folded) <= 2 * len(text) else text).casefold()


def _token_masked(token: str) -> str:
    if token.isdigit():
        return token
    if len(token) > 4:
        if "://" in token or "www." in token:
            token = _URL.sub("<url>", token)
        if "@" in token:
            token = _EMAIL.sub("<email>", token)
        if "/" in token or "\\" in token:
            token = _PATH.sub(_path, token)
        if "." in token:
            token = _FILE.sub(_path, token)
    if not _DIGIT.search(token):
        return token
    if _NUMBER.fullmatch(token):
        return _THOUSANDS.sub("", token)
    if len(token) >= 8:
        token = _OPAQUE.sub(_opaque, _ID.sub("<id>", token))
    return _NAMED.sub(_kept, token)


def _kept(match: re.Match[str]) -> str:
    return match[0].translate(_KEPT)


def _opaque(match: re.Match[str]) -> str:
    return "<id>" if len(_DIGITS.findall(match[0])) >= 3 else match[0]


def _quotes_masked(text: str) -> str:
    # What is quoted at length is not a parameter of the ask: it is the ask.
    most = len(text) // 3

    def quote(match: re.Match[str]) -> str:
        inside = match[match.lastindex or 0]
        if len(inside) > most:
            return match[0]
        size = "s" if len(inside) <= 8 else "m" if len(inside) <= 24 else "l"
        digits = "#" if _DIGIT.search(inside) else ""
        return f"<quote {size}{digits}{'=' if _FORMULA.search(inside) else ''}>"

    return _QUOTED.sub(quote, text)


def _path(match: re.Match[str]) -> str:
    stem, dot, extension = match[0].rpartition(".")
    known = dot and stem and extension.isalnum() and len(extension) <= 5
    return f"<file {extension}>" if known else "<path>"


def state_of(task: Task) -> str:
    """Return the state of the conversation that changes a grade, in buckets, as a short text."""
    attached = f"{_log2(task.images)}.{_log2(task.audio)}.{_log2(task.documents)}"
    beyond = max(0, task.total_chars - task.ask_chars - task.system_chars)
    return (
        f"t{_log2(task.tools)}.{_log2(task.tool_parameters) // 2}"
        f" l{_log2(task.loop_steps)}.{min(task.loop_errors, 3)} a{attached}"
        f" n{_log2(task.turns)} s{_log4(task.system_chars)} h{_log4(beyond)}"
        f" {'j' if task.structured else ''}{'c' if task.continued else ''}"
    )


def _log2(count: int) -> int:
    """0, 1, 2–3, 4–7 …"""
    return min(count.bit_length(), 16) if count > 0 else 0


def _log4(chars: int) -> int:
    """Up to 256 characters, up to 1 024, up to 4 096 …"""
    return max(0, chars.bit_length() - 7) // 2 if chars > 0 else 0


def intent_of(task: Task, scope: str, realm: str) -> str:
    """Return the key of the intent of ``task``: 32 hexadecimal digits.

    ``scope`` is the account scope, ``realm`` the grader's version and settings: keys of different scopes
    or realms never meet. The key tells nothing of the prompt.
    """
    text = f"{len(scope)} {scope} {len(realm)} {realm} {task.ask_chars.bit_length()} {state_of(task)}\n"
    text += masked(task.ask)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def room_of(scope: str, realm: str) -> str:
    """Return the name of the room in which entries of ``scope`` and ``realm`` may meet: 32 hex digits."""
    text = f"{len(scope)} {scope} {realm}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def facts_of(task: Task) -> str:
    """Return what two tasks must share, beside their meaning, to be near: ``state words~characters``.

    What stands before the ``~`` must be equal: the state and the digest of the words that count. The
    sizes of the asks, in characters, must be close.
    """
    return f"{state_of(task)} {words_digest(masked(task.ask))}~{task.ask_chars}"
