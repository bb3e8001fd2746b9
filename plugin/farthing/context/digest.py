"""Farthing's own summary of some turns: extracted, never invented; free, and ready at once.

What is said is cut into sentences, what tools return into fields, records and lines. Those that tell most in
few tokens are taken, by the facts and words in them that are not told yet: a fact counts for more if the user
says it, if it is used again, and if it is recent. What is taken is quoted, with politeness and articles left
out, in sections that are always in the same order.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from farthing.context.conversation import Entry, ToolCall
from farthing.context.dense import Part, arguments_of, clipped, excerpt, parts_of
from farthing.context.picking import Line, Piece, keys_of, pick, words_of
from farthing.context.telling import Section, Sentence, is_question, is_reply, place, sentences

_READ_CHARS = 400_000
"""Of a stretch, this much text is read: the newest entries first, of each its head and its end."""
_ENTRY_CHARS = 60_000
_ENTRIES = 1_000
_TOOL_CHARS = 2_000_000
_CALL_CHARS = 500
_SENTENCES = 1_500
_PIECES = 4_000
_PARTS = 64
"""Of an entry's calls and results, so many are taken out of its text to see what else it says."""
_LONG = 12
"""Of an entry of more sentences, those in the middle are a document or a list, not words to the reader."""
_ARGUMENT_CHARS = 120
_LABEL_CHARS = 80
_ASKED_CHARS = 160
_SHARED, _MEANT = 3, 2
"""A record with a fact that is talked about, and that few records hold, is meant: up to two such count."""
_ASIDE = 0.6
_LAST_WISH, _FIRST_WISH = 30.0, 8.0
_FAILURES = ("error", "fail", "exception", "traceback", "denied", "not found", "invalid", "timeout")


def digest(entries: Sequence[Entry], max_tokens: int) -> str:
    """Return the digest of some entries, at most ``max_tokens`` long, empty if nothing in them is worth it.

    Pinned entries and system messages are left out: they go on being sent as they are. If ``max_tokens`` are
    few, what the user asked and decided last stays, then ids and amounts. Takes about 5 ms for a thousand
    tokens of source, and on hostile text less than a second. Raises nothing.
    """
    told = _Told()
    for entry in _readable(entries):
        told.read(entry)
    return told.digest(max_tokens)


def _readable(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that a digest is made of: the newest, up to a bound on their text."""
    left = _READ_CHARS
    found: list[Entry] = []
    for entry in reversed(entries[-_ENTRIES:]):
        if entry.pinned or entry.kind == "system":
            continue
        left -= min(len(entry.text), _ENTRY_CHARS)
        if left < 0 and found:
            break
        found.append(entry)
    found.reverse()
    return found


def said_in(entry: Entry) -> str:
    """Return what an entry says in words: its text without the calls and results that are part of it."""
    if entry.kind == "tool":
        return ""
    text = excerpt(entry.text, _READ_CHARS)
    names = {call.name for call in entry.calls[:_PARTS]}
    for call in entry.calls[:_PARTS]:
        text = text.replace(call.arguments, "", 1) if len(call.arguments) > 2 else text
    for result in entry.results[:_PARTS]:
        text = text.replace(result.text, "", 1) if result.text else text
    if not names:
        return text
    return "\n".join(line for line in text.splitlines() if line.strip(" (){}") not in names)


class _Told:
    """What a stretch tells, gathered entry by entry."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.pieces: list[Piece] = []
        self.entry_of: list[int] = []
        """By piece, the place of its entry."""
        self.asked = ""
        """What the model asked last, until the user answers."""
        self.open: dict[str, list[tuple[int, int]]] = {}
        """By id, place and line of the calls whose result has not come (ids may be used more than once)."""
        self.at = 0
        self.left = _TOOL_CHARS

    def read(self, entry: Entry) -> None:
        self.at += 1
        for result in entry.results:
            self._result(result.call_id, result.text)
        if entry.kind == "tool" and not entry.results:
            self._result("", entry.text)
        said = list(islice(sentences(excerpt(said_in(entry), _ENTRY_CHARS)), _SENTENCES))
        if entry.kind == "user" and said:
            self._user(entry.text, said)
        elif entry.kind == "assistant":
            self._assistant(said)
        for call in entry.calls:
            self._call(call)

    def digest(self, max_tokens: int) -> str:
        """Return what of it is told in ``max_tokens``."""
        if self.asked:
            self._add(self._line(Section.QUESTIONS, "assistant"), Part(self.asked), worth=3.0, weight=1.0)
        for at, line in (call for waiting in self.open.values() for call in waiting):
            self.lines[line] = replace(self.lines[line], section=Section.QUESTIONS)
            self._add(line, Part(""), worth=3.0, weight=1.0, at=at)
        return pick(self.lines, self._weighed(), self._weights(), max_tokens)

    def _weighed(self) -> list[Piece]:
        """Return the pieces, the newer worth more; what the user wanted last most.

        Of what tools returned, that counts most which is about what is talked about.
        """
        wishes = [
            at
            for at, piece in enumerate(self.pieces)
            if self.lines[piece.line].label.endswith("user")
            and self.lines[piece.line].section in (Section.GOAL, Section.DECISIONS)
        ]
        last = {at for at in wishes if self.entry_of[at] == self.entry_of[wishes[-1]]}
        first = {at for at in wishes if self.entry_of[at] == self.entry_of[wishes[0]]}
        spoken: set[str] = set()
        for piece in self.pieces:
            if not self.lines[piece.line].of_tool:
                spoken |= words_of(piece.part.text)
        spoken_facts = {
            fact
            for piece in self.pieces
            if not self.lines[piece.line].of_tool
            for fact in piece.facts
            if _is_figure(fact)
        }
        holders = Counter(
            fact
            for piece in self.pieces
            if self.lines[piece.line].of_tool
            for fact in piece.facts & spoken_facts
        )
        weighed: list[Piece] = []
        for at, piece in enumerate(self.pieces):
            weight = piece.weight * (0.7 + 0.6 * self.entry_of[at] / self.at)
            if self.lines[piece.line].of_tool and (words := words_of(piece.part.text)):
                weight *= 0.4 + 1.2 * len(words & spoken) / len(words)
            meant = sum(holders[fact] <= _SHARED for fact in piece.facts & holders.keys())
            worth = piece.worth + min(_MEANT, meant) + _LAST_WISH * (at in last) + _FIRST_WISH * (at in first)
            weighed.append(replace(piece, worth=worth, weight=weight))
        return weighed

    def _weights(self) -> dict[str, float]:
        """Return what each fact is worth: more if more than one entry holds it, or if the user said it."""
        holders: dict[str, set[int]] = {}
        for at, piece in enumerate(self.pieces):
            for fact in piece.facts | self.lines[piece.line].facts:
                holders.setdefault(fact, set()).add(self.entry_of[at])
        said = {
            fact
            for piece in self.pieces
            if self.lines[piece.line].label.endswith("user")
            for fact in piece.facts
        }
        return {
            fact: _own_weight(fact)
            + (1.0 if len(held) > 1 and _is_figure(fact) else 0.0)
            + (0.5 if fact in said else 0.0)
            for fact, held in holders.items()
        }

    def _user(self, text: str, said: Sequence[Sentence]) -> None:
        asked, self.asked = self.asked, ""
        if asked and is_reply(text.strip()):
            line = self._line(Section.DECISIONS, f"asked “{clipped(asked, _ASKED_CHARS)}” user")
            for sentence in said:
                self._add(line, Part(sentence.text), worth=2.0, weight=2.0)
        else:
            self._say("user", said, 2.0)

    def _assistant(self, said: Sequence[Sentence]) -> None:
        told = [sentence for sentence in said if sentence.code or not is_question(sentence.text)]
        questions = [sentence for sentence in said if not sentence.code and is_question(sentence.text)]
        if questions:
            self.asked = questions[-1].text
        self._say("assistant", told, 1.0)

    def _say(self, label: str, said: Sequence[Sentence], weight: float) -> None:
        """Put sentences on a line for each section they belong to."""
        rows: dict[Section, int] = {}
        for count, sentence in enumerate(said):
            section, worth = place(sentence, user=label == "user")
            if section not in rows:
                rows[section] = self._line(section, label)
            aside = _LONG // 2 <= count < len(said) - _LONG // 2
            heavy = _ASIDE * weight if aside else weight
            self._add(rows[section], Part(sentence.text), worth=0.0 if aside else worth, weight=heavy)

    def _call(self, call: ToolCall) -> None:
        if not self._affords(call.arguments):
            return
        arguments = tuple(clipped(part, _ARGUMENT_CHARS) for part in arguments_of(call.arguments))
        line = self._line(Section.TOOLS, clipped(call.name, _LABEL_CHARS), arguments, is_call=True)
        self.open.setdefault(call.id, []).append((self.at, line))

    def _affords(self, text: str) -> bool:
        """Say whether what a tool was given or returned is still read, within the bound for all of them."""
        self.left -= min(len(text), _READ_CHARS) + _CALL_CHARS
        return self.left >= 0

    def _result(self, call_id: str, text: str) -> None:
        waiting = self.open.get(call_id)
        if waiting:
            _, line = waiting.pop(0)
        else:
            line = self._line(Section.TOOLS, "result")
        parts = parts_of(text) if self._affords(text) else []
        short = len(parts) <= 2
        for part in parts or [Part("")]:
            failed = any(sign in part.text[:200].lower() for sign in _FAILURES)
            self._add(line, part, worth=1.5 if short or failed else 0.0, weight=0.5)

    def _line(
        self, section: Section, label: str, arguments: tuple[str, ...] = (), *, is_call: bool = False
    ) -> int:
        facts = keys_of("\n".join((label, *arguments)))
        self.lines.append(Line(section, label, arguments, is_call, facts))
        return len(self.lines) - 1

    def _add(self, line: int, part: Part, *, worth: float, weight: float, at: int = 0) -> None:
        if len(self.pieces) < _PIECES:
            self.pieces.append(Piece(line, part, worth, weight, keys_of(part.text)))
            self.entry_of.append(at or self.at)


def _own_weight(fact: str) -> float:
    """Return what a fact is worth by itself: an id or an amount more than a name, two digits least."""
    if not _is_figure(fact):
        return 0.5
    return 0.4 if len(fact) <= 2 else 1.0


def _is_figure(fact: str) -> bool:
    return any(sign.isdigit() or sign in "_@/" for sign in fact)
