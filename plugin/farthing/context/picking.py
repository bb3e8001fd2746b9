"""Of many small pieces of text, those that tell most in few tokens are picked, and laid out in sections."""

import heapq
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from farthing.context.dense import Part
from farthing.context.facts import facts_of
from farthing.context.telling import HEADS, Section
from farthing.cost import count_text

_WORD = re.compile(r"[^\W\d_]{3,}")
_UNWRITTEN = str.maketrans("", "", ",$€£¥ ")
_COMMON_WORDS = """
the and you for are was not but can has had have its his her him she our out who how why all any get got
yes too let see say did now may one two off own way yet
that this with have from your what when will would could should about they them their there then
than here were been being does doing done just like really very much more most some such only also
into over after before again still even ever never always maybe sometimes thing things something
anything everything way good great nice best better awesome amazing cool glad happy sure right okay
yeah going gonna gotta want need know think feel mean make makes made take keep come look give tell
said says well these those which while where because though both each other many little kind lots
totally definitely absolutely thanks thank please welcome hope love wish appreciate
"""
_COMMON = frozenset(_COMMON_WORDS.split())
"""Words of three letters and more that tell nothing by themselves."""
_LEAST = 0.7
"""What tells less than this, beyond what is told already, is left out: half a fact or four new words."""
_WORD_WORTH = 0.15
_WORDS_WORTH = 1.5
_PASSES = 4
_LINE_TOKENS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """A line that pieces are put on. ``label`` says whose they are: of a call it is the tool's name, its
    ``arguments`` beside it. ``facts`` are those in both."""

    section: Section
    label: str
    arguments: tuple[str, ...] = ()
    is_call: bool = False
    facts: frozenset[str] = frozenset()

    @property
    def of_tool(self) -> bool:
        """True if it tells what a tool was asked or returned, not what somebody says."""
        return self.is_call or self.section is Section.TOOLS

    def tokens(self, known: Set[str]) -> int:
        """Return what starting the line costs, roughly; ``known`` arguments need not be told again."""
        chars = len(self.label) + sum(len(part) + 2 for part in self.arguments if part not in known)
        return _LINE_TOKENS + chars // 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece that can be picked: ``line`` is the place of its line, ``worth`` is added to what its facts and
    words are worth, and ``weight`` multiplies those."""

    line: int
    part: Part
    worth: float
    weight: float
    facts: frozenset[str] = frozenset()

    def tokens(self, *, known: bool) -> int:
        """Return what it costs, roughly; ``known``: what its values are stands before it."""
        return 1 + len(self.part.values if known else self.part.text) // 4


def fact_key(fact: str) -> str:
    """Return what two ways of writing a fact have in common."""
    return fact.casefold().translate(_UNWRITTEN)


def keys_of(text: str) -> frozenset[str]:
    """Return the keys of the facts in ``text``."""
    return frozenset(map(fact_key, facts_of(text)))


def words_of(text: str) -> frozenset[str]:
    """Return the words of three letters and more in ``text``, as they are compared."""
    return frozenset(word.rstrip("s") for word in _WORD.findall(text.casefold()) if word not in _COMMON)


@dataclass(slots=True)
class _Picked:
    lines: Sequence[Line]
    pieces: Sequence[Piece]
    weights: Mapping[str, float]
    taken: set[int] = field(default_factory=set)
    order: list[int] = field(default_factory=list)
    started: set[int] = field(default_factory=set)
    facts: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)
    keys: set[tuple[int, tuple[str, ...]]] = field(default_factory=set)
    arguments: dict[str, set[str]] = field(default_factory=dict)
    known_words: dict[int, frozenset[str]] = field(default_factory=dict)

    def gain(self, at: int) -> float:
        """Return what a piece would tell that is not told yet."""
        piece = self.pieces[at]
        new = piece.facts - self.facts
        if piece.line not in self.started:
            new |= self.lines[piece.line].facts - self.facts
        told = sum(self.weights.get(fact, 1.0) for fact in new)
        fresh = self.words_of(at) - self.words
        told += min(_WORDS_WORTH, _WORD_WORTH * len(fresh))
        # What says next to nothing new is worth next to nothing, whoever says it.
        return piece.weight * told + piece.worth * min(1.0, told / _LEAST)

    def cost(self, at: int) -> int:
        piece = self.pieces[at]
        tokens = piece.tokens(known=bool(piece.part.keys) and (piece.line, piece.part.keys) in self.keys)
        if piece.line in self.started:
            return tokens
        line = self.lines[piece.line]
        return tokens + line.tokens(self.arguments.get(line.label, frozenset()))

    def take(self, at: int) -> None:
        piece = self.pieces[at]
        line = self.lines[piece.line]
        self.taken.add(at)
        self.order.append(at)
        self.started.add(piece.line)
        self.keys.add((piece.line, piece.part.keys))
        self.facts |= piece.facts | line.facts
        self.words |= self.words_of(at)
        if line.is_call:
            self.arguments.setdefault(line.label, set()).update(line.arguments)

    def words_of(self, at: int) -> frozenset[str]:
        """Return the words a piece tells, and those of what it answers."""
        found = self.known_words.get(at)
        if found is None:
            line = self.lines[self.pieces[at].line]
            text = self.pieces[at].part.text
            found = words_of(text if line.of_tool else f"{line.label} {text}")
            self.known_words[at] = found
        return found

    def fill(self, tokens: float) -> None:
        """Take what tells most per token, until about ``tokens`` are spent or the rest is not worth it."""
        queue = []
        for at in range(len(self.pieces)):
            if at not in self.taken and (gain := self.gain(at)) >= _LEAST:
                queue.append((-gain / (self.cost(at) + 2), at))
        heapq.heapify(queue)
        while queue and tokens > 0:
            before, at = heapq.heappop(queue)
            cost = self.cost(at)
            gain = self.gain(at)
            rate = -gain / (cost + 2)
            if gain < _LEAST or cost > tokens:
                continue
            if queue and rate > queue[0][0] and rate > before:  # worth less by now than another
                heapq.heappush(queue, (rate, at))
                continue
            tokens -= cost
            self.take(at)


def pick(
    lines: Sequence[Line], pieces: Sequence[Piece], weights: Mapping[str, float], max_tokens: int
) -> str:
    """Return the text of the pieces that tell most, laid out by section and line, within ``max_tokens``.

    ``weights`` say what a fact (by its key) is worth; others are worth 1. What a piece repeats of pieces
    picked before it counts for nothing.
    """
    picked = _Picked(lines, pieces, weights)
    best, spent = "", 0
    for _ in range(_PASSES):
        before = len(picked.order)
        picked.fill(max_tokens - spent)
        if len(picked.order) == before:
            break
        text = laid_out(lines, pieces, picked.taken)
        spent = count_text(text)
        while spent > max_tokens:  # estimates were too low: the last are the least
            over = spent / max_tokens if max_tokens > 0 else 2.0
            for _ in range(max(1, int(len(picked.order) * (1 - 1 / over)))):
                picked.taken.discard(picked.order.pop())
            text = laid_out(lines, pieces, picked.taken)
            spent = count_text(text)
            if spent <= max_tokens:
                return text
        best = text
        if spent > 0.95 * max_tokens:
            break
    return best


def laid_out(lines: Sequence[Line], pieces: Sequence[Piece], taken: set[int]) -> str:
    """Return the pieces at ``taken``, in order, by section and line."""
    by_line: dict[int, list[Part]] = {}
    for at in sorted(taken, key=lambda at: (pieces[at].line, at)):
        by_line.setdefault(pieces[at].line, []).append(pieces[at].part)
    told: list[str] = []
    for section in Section:
        rows = [at for at in by_line if lines[at].section == section]
        if rows:
            told.append(HEADS[section])
            told.extend(_rows(lines, by_line, rows))
    return "\n".join(told)


def _rows(lines: Sequence[Line], by_line: Mapping[int, list[Part]], rows: Sequence[int]) -> list[str]:
    told: list[str] = []
    last: dict[str, tuple[str, ...]] = {}
    for at in rows:
        line, said = lines[at], _joined(by_line[at])
        if line.is_call:
            known = set(last.get(line.label, ()))
            fresh = [part for part in line.arguments if part not in known]
            if len(fresh) < len(line.arguments):
                fresh.insert(0, "…")  # as in the call of the same tool above
            last[line.label] = line.arguments
            called = f"{line.label}({', '.join(fresh)})" if fresh else line.label
            told.append(f"- {called} → {said}" if said else f"- {called}")
        else:
            told.append(f"- {line.label}: {said}" if line.label else f"- {said}")
    return told


def _joined(parts: Sequence[Part]) -> str:
    told = ""
    keys: tuple[str, ...] = ()
    for part in parts:
        text = part.values if part.keys and part.keys == keys else part.text
        keys = part.keys
        if told and text:
            told += " " if told[-1] in ".?!…:;。！？" else "; "
        told += text
    return told
