"""What is asked, apart from how the prompt is laid out: the last question, its options, its context."""

import re
from dataclasses import dataclass

from farthing.grading.lexicon import DEMANDING, NARROW, ROUTINE

ENDS = 400
"""Characters read of each end of what is asked."""
_HEAD, _TAIL = 500, 1_500
_LONG = 1_100
_QUESTION = 400

_CUES = (
    r"answer|a|output|response|solution|antwort|réponse|respuesta|risposta|resposta|ответ|"
    r"答案|回答|答え|答|정답|답"
)
_ASKS = r"question|q|problem|input|frage|pregunta|domanda|pergunta|вопрос|问题|题目|問題|質問|질문|문제"
_CUE = re.compile(rf"(?im)(?:^|(?<=[.\"'] ))[ \t#*]{{0,4}}(?:{_CUES})[ \t*]{{0,3}}[:][ \t*]{{0,3}}")
_ASK = re.compile(rf"(?im)^[ \t#*]{{0,4}}(?:{_ASKS})[ \t]{{0,2}}\d{{0,3}}[ \t*]{{0,3}}[:.]")
_OPTION = re.compile(r"(?m)^[ \t]{0,4}[\[(]?([A-J])[\]).:、][ \t]*(.{0,400})$")
_INLINE = re.compile(r"(?:^|\s)[\[(]?([A-J])[\]).:、]\s{0,2}(\S.{0,200}?)(?=\s[\[(]?[B-J][\]).:、]\s|\n|$)")
_FIRST_OPTIONS = tuple("A" + mark for mark in "]).:、")
_FRAME = re.compile(
    r"(?im)^(?:please |now |only |just )?(?:print|answer|respond|reply|choose|select|give|return)\b.{0,60}\b"
    r"(?:letter|single choice|correct (?:choice|option)|explanation|explaining)\b.{0,80}$|"
    r"\b(?:let'?s |please |now )?(?:think|reason|work|go)\b[^.\n]{0,24}\bstep[ -]by[ -]step\b"
    r"[^.\n]{0,60}[.:!]?|"
    r"\b(?:take a deep breath|think (?:hard|carefully|deeply|it through)|reason carefully)\b"
    r"[^.\n]{0,60}[.:!]?"
)
_OPERATION = 160
_PASTED = 200
"""Characters from which a text may hold another that is only to be worked on."""
_OPENING = re.compile(rf"\s*([^\n]{{1,{_OPERATION}}}?)(?::\s|\n|\s*\"\"\"|\s*```)")
_GIVEN = re.compile(r"(?i)\b(?:context|passage|document|article|excerpt|text)\b")
_WORDS = re.compile(r"[^\W\d_]+")
_ALIKE = 0.3
_FRAMED = 300
_ESCAPES = (("\\n", "\n"), ("\\'", "'"), ('\\"', '"'), ("\\t", " "))


@dataclass(frozen=True, slots=True)
class Question:
    """``stem``: what is asked. ``options``: the answers to choose among.

    ``context``: characters of the document that a short question is about; 0 if there is none.
    """

    stem: str
    options: tuple[str, ...]
    context: int


def question_of(text: str) -> Question:
    """Return what ``text`` (at most a few thousand characters) asks.

    Worked examples before the last question, the choice's letters and the sentences that only say how
    to answer are layout: two prompts that differ in them ask the same.
    """
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]}\n\n{text[-_TAIL:]}"
    if not text.isascii():
        text = text.translate(NARROW)
    if text[:2] in ("['", '["') and text.rstrip()[-2:] in ("']", '"]'):
        text = text.strip()[2:-2]  # a list of one prompt, printed
        for escaped, plain in _ESCAPES:
            text = text.replace(escaped, plain)
    asked = _last_example(text.strip())
    stem, options = _choices(_unframed(asked))
    context = 0
    if len(stem) > _LONG:
        small = _small_question(stem)
        context, stem = len(stem) - len(small), small
    if not options and not context and len(stem) >= _PASTED:
        operation = _operation(stem)
        context, stem = len(stem) - len(operation), operation
    if len(stem) > 2 * ENDS:
        stem = f"{stem[:ENDS]}\n{stem[-ENDS:]}"
    stem = stem.strip() or asked[: 2 * ENDS]
    return Question(stem, options, context)


def _unframed(text: str) -> str:
    """Leave out the sentences that say how to answer: they stand at an end."""
    if len(text) > 3 * _FRAMED:
        head, body, tail = text[:_FRAMED], text[_FRAMED:-_FRAMED], text[-_FRAMED:]
        return f"{_FRAME.sub(' ', head)}{body}{_FRAME.sub(' ', tail)}"
    return _FRAME.sub(" ", text)


def _last_example(text: str) -> str:
    cues = list(_CUE.finditer(text))
    if cues and not text[cues[-1].end() :].strip():
        text = text[: cues[-1].start()].rstrip()
        cues.pop()
        if len(cues) > 1:
            rest = text[cues[-1].end() :].lstrip()
            _, _, after = rest.partition("\n\n" if "\n\n" in rest else "\n")
            text = _if_alike(after.strip(), [match.start() for match in cues], text)
    asks = list(_ASK.finditer(text))
    if len(asks) > 2:
        text = _if_alike(text[asks[-1].end() :].strip(), [match.start() for match in asks], text)
    elif len(asks) == 1 and asks[0].start() == 0:
        text = text[asks[0].end() :].strip() or text
    return text


def _if_alike(last: str, marks: list[int], text: str) -> str:
    """Examples have the size of the question they lead to; else the marks are part of the ask."""
    longest = max(end - start for start, end in zip([0, *marks], marks, strict=False))
    return last if len(last) >= _ALIKE * longest else text


def _choices(text: str) -> tuple[str, tuple[str, ...]]:
    if not any(first in text for first in _FIRST_OPTIONS):
        return text.strip(), ()
    for pattern in (_OPTION, _INLINE):
        found = list(pattern.finditer(text, max(0, len(text) - 2 * _LONG)))
        starts = [i for i, match in enumerate(found) if match[1] == "A"]
        if not starts:
            continue
        run = [found[starts[-1]]]
        for match in found[starts[-1] + 1 :]:
            if ord(match[1]) == ord(run[-1][1]) + 1:
                run.append(match)
        if len(run) > 1:
            stem = text[: run[0].start()].rstrip() + "\n" + text[run[-1].end() :].strip()
            return stem.strip(), tuple(match[2].strip() for match in run)
    return text.strip(), ()


def _small_question(text: str) -> str:
    """Of a long text the short paragraph that asks about it, at its end or its start; else all of it."""
    blocks = [block for block in re.split(r"\n\s{0,80}\n|\n-{3,}\n|\n`{3}\n", text) if block.strip()]
    if len(blocks) < 2:
        blocks = [line for line in text.split("\n") if line.strip()]
    if len(blocks) < 2:
        return text
    ends = [block for block in (blocks[0], blocks[-1]) if len(block) <= _QUESTION]
    asking = [block for block in ends if "?" in block]
    chosen = asking or ends
    return "\n".join(chosen) if chosen else text


def _operation(text: str) -> str:
    """Of a routine operation on a pasted text the line that names it; else all of the text.

    The words of the text that is to be translated or shortened are not what is asked.
    """
    opening = _OPENING.match(text)
    if opening and _is_routine(opening[1]) and opening.end() < len(text) / 2:
        return opening[1].strip()
    last = text.rstrip().rpartition("\n")[2]
    if len(last) <= _OPERATION and len(last) < len(text) / 2:
        about = _ASK.match(last) and "?" in last and _GIVEN.search(text[:_OPERATION])
        if about or _is_routine(last):
            return last.strip()
    return text


def _is_routine(line: str) -> bool:
    words = set(_WORDS.findall(line.lower()))
    return bool(words & ROUTINE) and not words & DEMANDING
