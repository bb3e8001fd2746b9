"""What people and models say, cut into sentences, thinned of what carries nothing, told apart by what it is.

Thinning only ever takes words away. The cues are English; in other languages a sentence is kept or not by the
facts in it, and nothing is taken out of it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from farthing.context.dense import pieces_of

SENTENCE_CHARS = 240
_REPLY_CHARS = 60
_ITEM_CHARS = 80
_GROUP_CHARS = 160


class Section(IntEnum):
    """The sections of a digest, in their order; their heads are `HEADS`."""

    GOAL = 0
    DECISIONS = 1
    FACTS = 2
    QUESTIONS = 3
    CODE = 4
    TOOLS = 5


HEADS = ("Goal", "Decisions", "Facts", "Open questions", "Files and code", "Tools returned")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence or the item of a list: ``text`` thinned, ``said`` as it was; or a line of ``code``."""

    text: str
    said: str
    code: bool = False


# Each pattern is anchored, or reads on from what it found without trying again: time grows with the text.
_ENDS = re.compile(r"(?<=[.!?…])[ \t]+|(?<=[。！？])")
_BOLD = re.compile(r"(?<!\w)\*\*|\*\*(?!\w)")  # not the sign of 2**8
_BULLET = re.compile(r"[ \t]*(?:#{1,6} |[-*•>] |\|)*")
_NUMBERED = re.compile(r"[ \t]*\d{1,3}[.)][ \t]+")
_ITEM = re.compile(r"[ \t]*(?:[-*•>] |\||\d{1,3}[.)][ \t])")
_FENCE = re.compile(r"[ \t]*(?:```|~~~)")
_CODE_LINE = re.compile(
    r"[ \t]*(?:export |public |private |static |async |pub )*"
    r"(?:def|class|function|func|fn|interface|struct|enum|trait|impl|type|const|import|from|package|module|"
    r"create table|alter table|select)\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"(?:(?:(?:hi|hello|hey)(?: there)?|please|also|additionally)[,!.]*\s+"
    r"|(?:sure|okay|ok|thanks|thank you|great|certainly|absolutely|of course|no worries|sorry|oh|ah|wow|well|"
    r"so|actually|alright|perfect|awesome|got it|understood)(?: thing| so much| very much)?[,!.]+\s+)+",
    re.IGNORECASE,
)
_POLITE = re.compile(
    r"\b(?:[Cc]ould|[Cc]an|[Ww]ould) you (?:please |kindly )?(?!like|prefer|have)(?=[a-z]{3})"
    r"|\b(?:[Pp]lease|kindly) |,? please(?=[.?!]|$)|\bI(?: would|'d|’d) like to (?=[a-z])|(?<=[ (])the (?=\w)"
)
_FILLER = re.compile(
    r"(?:thanks?|thank you|thx|cheers|good (?:morning|afternoon|evening|night)|good to (?:see|hear)|"
    r"bye|goodbye|(?:hi|hello|hey)(?=\W*$)|you'?re (?:very )?welcome|my pleasure|no (?:problem|worries)|"
    r"have a (?:great|good|nice|wonderful|lovely)|"
    r"feel free|don'?t hesitate|let me know if|if you(?:'d| would)? (?:need|have|like) any|how are you|"
    r"(?:is|was) there anything else|anything else|how (?:can|may) i (?:help|assist)|"
    r"let me\b.{0,60}\bfor you|"
    r"i(?:'m| am) (?:happy|glad|here) to|glad (?:to|i)|happy to help|i hope (?:this|that)|hope (?:this|that)|"
    r"i(?:'d| would) be happy|i can (?:help|assist)|that'?s all i needed|i appreciate|i understand)\b",
    re.IGNORECASE,
)
_YES_NO = re.compile(
    r"(?:yes|yeah|yep|yup|no|nope|nah|ok|okay|sure|correct|right|confirmed?|agreed|exactly|go ahead|proceed|"
    r"please (?:do|proceed)|do it|sounds good|neither|both|none)\b",
    re.IGNORECASE,
)
_CHOICE = re.compile(
    r"\b(?:let'?s|go with|stick (?:with|to)|choose|chose|pick|prefer|rather|instead|only|must|never|always|"
    r"don'?t|do not|won'?t|cannot|can'?t|no longer|keep|drop|use|avoid|agreed?|decided?|cancel|confirm|"
    r"approved?|at most|at least|no more than|not)\b",
    re.IGNORECASE,
)
_WISH = re.compile(
    r"\b(?:i|we)(?:'d| would)? (?:need|want|like|love|wish|hope|am looking|am trying|plan|have to)\b"
    r"|'m looking\b|\blooking (?:to|for)\b|\bplease\b|\b(?:could|can|would|will) you\b"
    r"|\bhelp me\b|\bmake sure\b|\bgoal\b",
    re.IGNORECASE,
)
_DEED = re.compile(
    r"\b(?:has been|have been|successfully|i(?:'ve| have)|we(?:'ve| have)|decided|will use|we'll|recommend"
    r"|fixed|because|unable|cannot|can't|couldn't|could not|not (?:enough|allowed|possible)|total)\b",
    re.IGNORECASE,
)


def sentences(text: str) -> Iterator[Sentence]:
    """Yield what ``text`` says, without what is nothing but politeness; the items of a list in small groups.

    Of a block of code only the lines that declare something are told.
    """
    in_code = False
    items: list[str] = []
    size = 0
    for line in text.splitlines():
        item = not in_code and len(line) < _ITEM_CHARS and bool(_ITEM.match(line))
        if items and (not item or size + len(line) > _GROUP_CHARS or _NUMBERED.match(line)):
            yield from _grouped(items)
            items, size = [], 0
        if item:
            items.append(line)
            size += len(line)
        elif _FENCE.match(line):
            in_code = not in_code
        elif in_code:
            if _CODE_LINE.match(line):
                yield from (Sentence(piece, piece, code=True) for piece in pieces_of(line, SENTENCE_CHARS))
        else:
            yield from _told(line)
    yield from _grouped(items)


def _told(line: str) -> Iterator[Sentence]:
    for said in _said_in(line):
        if thinned := thin(said):
            yield Sentence(thinned, said)


def _grouped(items: list[str]) -> Iterator[Sentence]:
    """Yield the items of a list that are told together, so that what belongs together stays so."""
    told = [sentence for item in items for sentence in _told(item)]
    if told:
        texts, said = [one.text for one in told], [one.said for one in told]
        yield Sentence(", ".join(text.rstrip(",;:") for text in texts), "\n".join(said))


def _said_in(line: str) -> Iterator[str]:
    line = line[_BULLET.match(line).end() :]  # type: ignore[union-attr]  # matches everywhere
    line = _BOLD.sub("", line)
    number = _NUMBERED.match(line)
    start = number.end() if number else 0
    head = line[:start].strip()
    for sentence in _ENDS.split(line[start:]):
        for piece in pieces_of(sentence, SENTENCE_CHARS):
            yield f"{head} {piece}" if head else piece
            head = ""


def thin(sentence: str) -> str:
    """Return ``sentence`` without greeting, politeness and articles; empty if it was nothing else."""
    if _YES_NO.match(sentence):
        return _POLITE.sub("", sentence).strip()
    opening = _OPENING.match(sentence)
    rest = sentence[opening.end() :] if opening else sentence
    if not any(sign.isalnum() for sign in rest):
        return ""
    greeting = opening is not None and rest.count(" ") < 2 and rest.endswith(("!", "."))
    if (greeting or _FILLER.match(rest)) and not any(sign.isdigit() for sign in rest):
        return ""
    if "`" in rest or '"' in rest:
        return rest
    return _POLITE.sub("", rest).strip()


def is_question(sentence: str) -> bool:
    """Say whether a sentence asks something."""
    return sentence.rstrip(" \"')*").endswith(("?", "？"))


def is_reply(text: str) -> bool:
    """Say whether what a user says can only be understood with what was asked: a few words, a yes or no."""
    return len(text) <= _REPLY_CHARS or bool(_YES_NO.match(text)) or bool(_NUMBERED.match(text))


def place(sentence: Sentence, *, user: bool) -> tuple[Section, float]:
    """Return where a sentence belongs, and how much more it is worth than the facts and words in it."""
    if sentence.code:
        return Section.CODE, 0.3
    if not user:
        return (Section.DECISIONS, 2.0) if _DEED.search(sentence.said) else (Section.FACTS, 0.0)
    if _YES_NO.match(sentence.text):
        return Section.DECISIONS, 2.0
    if _WISH.search(sentence.said):
        return Section.GOAL, 2.0
    if is_question(sentence.text):
        return Section.GOAL, 1.0
    return (Section.DECISIONS, 2.0) if _CHOICE.search(sentence.said) else (Section.FACTS, 0.5)
