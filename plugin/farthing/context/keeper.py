"""Keeps histories as short as pays: plans each request on its way, and prepares the next one after it.

On the way only what is prepared is used, nobody waits for a model, and what fails leaves the history whole.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farthing.context import caching, economics, retrieval, summary
from farthing.context.block import fit, render
from farthing.context.conversation import Conversation, Entry, Reader
from farthing.context.edit import Edit, apply
from farthing.context.extract import extract
from farthing.context.fold import OWN, Fold, Owner, Segment, reference_of
from farthing.context.latest import Latest
from farthing.context.layout import Layout, Masks, count, shortened, whole_of
from farthing.context.masks import Masking
from farthing.context.memory import Memory, Session
from farthing.context.passages import passages_of
from farthing.context.plan import Plan, Sent, Served
from farthing.cost import cost
from farthing.embedding import Embedder
from farthing.settings import ContextSettings
from farthing.telemetry import Usage
from farthing.telemetry.charge import ContextUse

log = logging.getLogger("farthing")

_GRACE_MS = 5_000
"""How much longer than its model has a summary is waited for: it has to be checked and kept, too."""
_DIGEST_SHARE = 0.35
"""Longest digest of a stretch of turns, as a share of its tokens: a longer one saves too little."""


@dataclass(frozen=True, slots=True)
class Due:
    """A stretch of a history, ``entries[start:target]``, that is to be summarised. ``name`` is its own."""

    owner: Owner
    branch: str
    conversation: Conversation
    base: Fold | None
    start: int
    target: int
    name: str
    epoch: int

    @property
    def entries(self) -> Sequence[Entry]:
        """The entries of the stretch."""
        return self.conversation.entries[self.start : self.target]

    @property
    def turns(self) -> tuple[int, int]:
        """The first and the last of the model's turns in it, counted from 1."""
        at = self.conversation.turns_at
        return at[self.start] + 1, at[self.target]


class _AtHand:
    """What this process remembers beside the memory: texts of histories, so all of it goes at an erasure."""

    def __init__(self, settings: ContextSettings) -> None:
        self.reader = Reader()
        self.masking = Masking(settings.mask_over_tokens)
        self.indexes: Latest[tuple[Owner, str], retrieval.Index] = Latest(64)
        self.snippets: Latest[tuple[Owner, str, bytes], str] = Latest(1_000)
        self.fresh: Latest[tuple[Owner, str], tuple[Fold, ...]] = Latest(1_000)
        """Folds that are rewritten turn by turn; those of the boundaries are in the memory."""
        self.awaited: Latest[tuple[Owner, str], int] = Latest(1_000)
        """Until when (UTC, ms) a session's summary is waited for."""


class Keeper:
    """Plans and prepares the histories of all sessions of a process."""

    def __init__(
        self,
        settings: ContextSettings,
        memory: Memory,
        embedder: Callable[[], Embedder],
        advance: int = 0,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """``embedder`` is asked for off the way of a request. ``advance`` is what a session's summaries may
        cost before anything was saved, in nano-dollars. ``clock`` tells UTC milliseconds."""
        self._clock = clock
        self._advance = advance
        self._settings = settings
        self._memory = memory
        self._embedder = embedder
        self._epoch = -1
        self._at_hand = _AtHand(settings)

    # On the way of a request

    def plan(self, owner: Owner, payload: Mapping[str, Any], surface: str, served: Served) -> Plan | None:
        """Return how a request is best sent to a model; None if it has no history to think about.

        Raises RecollectionError if the memory cannot be read.
        """
        session = self._memory.session(owner)
        if session.epoch != self._epoch:
            self._epoch, self._at_hand = session.epoch, _AtHand(self._settings)
        conversation = self._at_hand.reader.read(payload, surface, count_all=False)
        if conversation is None:
            return None
        now_ms = self._clock()
        branch = conversation.entries[0].prefix.hex()[:16] if conversation.entries else ""
        last = Sent.of_text(session.sent.get(f"{served.name} {branch}"))
        whole = whole_of(conversation)
        ways: list[_Way] = [_Way(None, {}, whole)]
        candidates = self._candidates((owner, branch), session, conversation, last)
        for found in candidates if _refusal(served.name) not in session.refused else ():
            made = self._at_hand.masking.at_hand(owner, conversation.entries[found.entries : found.reach])
            if made is not None:
                ways.append(_Way(found, made, shortened(whole, conversation, found, made, {})))
        options = [way.option(whole, last) for way in ways]
        terms = economics.Terms(served.price, served.window, caching.warm(served, last, now_ms))
        outlook = economics.Outlook(
            economics.expected_turns(conversation.turns),
            (whole.tokens - conversation.lead_tokens) / max(1, conversation.turns),
            self._settings.every_turns - conversation.turns % self._settings.every_turns,
        )
        decision = economics.decide(
            options,
            terms,
            outlook,
            margin=self._settings.margin,
            current=_current(ways, last),
            snippets_tokens=self._settings.snippets_tokens,
        )
        way = ways[decision.option]
        fold, masks, layout = way.fold, way.masks, way.layout
        what, saved, snippets = options[decision.option].what, decision.saved, dict[int, str]()
        if fold is not None:
            snippets = self._snippets_for(owner, conversation, fold, masks, decision.snippet_tokens)
            layout = shortened(whole, conversation, fold, masks, snippets)
            saved -= cost(served.price, Usage(sum(map(count, snippets.values())))).input
        if layout.tokens >= whole.tokens:  # never more than the client sent
            fold, masks, layout, snippets, what, saved = None, {}, whole, {}, "leave", 0
        edit = Edit(
            fold=fold.entries if fold else 0,
            block=_block(fold),
            masks=masks,
            snippets="".join(snippets.values()),
            breakpoints=caching.breakpoints(conversation, fold, layout, served, last),
        )
        acts = self._settings.mode == "act" and (fold is not None or bool(edit.breakpoints))
        observed = "" if self._settings.mode == "act" else "observe "
        return Plan(
            owner=owner,
            branch=branch,
            served=served,
            conversation=conversation,
            original=payload,
            payload=apply(payload, conversation, edit) if acts else payload,
            fold=fold,
            masks=edit.masks,
            layout=layout,
            whole=whole,
            use=ContextUse(f"{observed}{what}", whole.tokens, layout.tokens, saved),
            reason=decision.reason,
            last=last,
            now_ms=now_ms,
            epoch=session.epoch,
        )

    def _candidates(
        self, key: tuple[Owner, str], session: Session, conversation: Conversation, last: Sent | None
    ) -> list[Fold]:
        """Return the folds to choose from: the latest of each kind, and the one that was sent last."""
        fresh = self._at_hand.fresh.get(key) or ()
        base = self._base(session, conversation)
        sent = [fold for fold in session.folds if last and fold.key == last.fold]
        found = {fold.key: fold for fold in (*fresh, *((base,) if base else ()), *sent)}
        return [fold for fold in found.values() if self._fits(fold, conversation)]

    def _fits(self, fold: Fold, conversation: Conversation) -> bool:
        """Return whether a fold may stand for the beginning of a history, its latest turns left whole."""
        return (
            fold.reach < len(conversation.entries)
            and (not fold.entries or fold.entries in conversation.cuts)
            and conversation.entries[fold.reach - 1].prefix.hex() == fold.prefix
            and conversation.turns - conversation.turns_at[fold.reach] >= self._settings.keep_turns
        )

    def _snippets_for(
        self, owner: Owner, conversation: Conversation, fold: Fold, masks: Masks, tokens: int
    ) -> dict[int, str]:
        """Return, by its entry, what the current ask needs of what is left out."""
        ask = next((entry for entry in reversed(conversation.entries) if entry.kind == "user"), None)
        index = self._at_hand.indexes.get((owner, fold.key))
        if ask is None or index is None or tokens <= 0 or ask.index < fold.reach:
            return {}
        # Once found they stay for all steps of an agent's loop, so that its prefix does.
        key = owner, fold.key, ask.prefix
        text = self._at_hand.snippets.get(key)
        if text is None:
            sent = [_block(fold), *(text for by_block in masks.values() for text in by_block.values())]
            found = index.search(ask.text, tokens, absent_from="\n".join(sent))
            text = self._at_hand.snippets.put(key, retrieval.render(found))
        return {ask.index: text} if text else {}

    # After it

    def sent(self, plan: Plan, usage: Usage) -> None:
        """Note what a request was sent as and what the provider's cache knew of it."""
        self._memory.book(
            plan.owner,
            saved=plan.use.saved if self._settings.mode == "act" else 0,
            epoch=plan.epoch,
            sent={plan.sent_as: caching.note(plan, usage).text()},
        )

    def rejected(self, plan: Plan) -> None:
        """Note that a model refused a shortened history: this session is sent to it in full from now on."""
        self._memory.refuse(plan.owner, _refusal(plan.served.name), epoch=plan.epoch)

    def prepare(self, plan: Plan) -> Due | None:
        """Prepare the session's next request; return the stretch that is due to be summarised, if one is.

        For a worker thread. What is due is to be given to `finish`, with a summary or without.
        """
        owner, settings, key = plan.owner, self._settings, (plan.owner, plan.branch)
        if plan.epoch != self._epoch:
            return None  # an erasure came between
        conversation: Conversation | None = plan.conversation
        if not plan.conversation.exact:
            conversation = self._at_hand.reader.read(plan.original, plan.conversation.surface)
        if conversation is None:
            return None
        answered = conversation.turns + 1
        target = self._target(conversation)
        if not target:
            return None
        session = self._memory.session(owner)
        base = self._base(session, conversation)
        start, folded = (base.entries, base.turns) if base else (0, 0)
        prefix = conversation.entries[target - 1].prefix.hex()
        made = self._at_hand.masking.make(owner, conversation.entries[start:target])
        if made.originals:
            self._memory.keep_originals(owner, made.originals, epoch=plan.epoch)
        folds: list[Fold] = []
        if made.masks:
            segments = base.segments if base else ()
            folds.append(Fold(prefix, target, start, folded, segments))
        due = None
        if answered >= settings.every_turns and target > start and not self._awaits(key):
            # What could not be summarised is tried again with the next ten turns, not with each of them.
            tried = f"from {start}" in session.refused
            overdue = answered - settings.keep_turns - folded >= settings.every_turns and not tried
            stretch = Due(owner, plan.branch, conversation, base, start, target, prefix, plan.epoch)
            if answered % settings.every_turns == 0 or overdue:
                due = stretch
                until_ms = self._clock() + int(1_000 * settings.summary.timeout_s) + _GRACE_MS
                self._at_hand.awaited.put(key, until_ms)
            elif settings.summary.stand_in and (own := self._own_fold(stretch)):
                folds.append(own)
        # What was sent last stays at hand, so that its cached beginning can be sent again.
        again = (plan.fold,) if plan.fold and plan.fold not in session.folds else ()
        self._at_hand.fresh.put(key, (*folds, *again))
        # What is rewritten turn by turn is searched only where it is in use: an index takes its time.
        for fold in (*(folds if plan.fold else ()), *((base,) if base else ())):
            self._indexed(owner, conversation, fold)
        if due and prefix in session.refused:
            self.finish(due, None)
            return None
        return due

    def _target(self, conversation: Conversation) -> int:
        """Return the last cut that leaves the latest turns, the one just answered included; 0: none does."""
        most = conversation.turns + 1 - self._settings.keep_turns
        return max((cut for cut in conversation.cuts if conversation.turns_at[cut] <= most), default=0)

    def _base(self, session: Session, conversation: Conversation) -> Fold | None:
        """Return the fold that goes on being extended: of those at boundaries the one that folds most."""
        entries = conversation.entries
        fitting = [
            fold
            for fold in session.folds
            if not fold.masks_only
            and fold.entries == fold.reach < len(entries)
            and entries[fold.reach - 1].prefix.hex() == fold.prefix
        ]
        return max(fitting, key=lambda fold: fold.entries, default=None)

    def _awaits(self, key: tuple[Owner, str]) -> bool:
        """Return whether a model is at work on the conversation's summary: nothing replaces it meanwhile."""
        until_ms = self._at_hand.awaited.get(key)
        return until_ms is not None and self._clock() < until_ms

    def _own_fold(self, due: Due) -> Fold | None:
        tokens = sum(entry.tokens for entry in due.entries)
        most = min(self._settings.summary.max_tokens, int(_DIGEST_SHARE * tokens))
        text = extract(due.entries, most) if most > 0 else ""
        return self._fold(due, text, OWN) if text else None

    def _fold(self, due: Due, text: str, writer: str) -> Fold | None:
        first, last = due.turns
        if self._settings.recall_tool:
            whole = "\n\n".join(f"{entry.kind}: {entry.text}" for entry in due.entries)
            reference = reference_of(due.owner, whole)
            self._memory.keep_originals(due.owner, {reference: whole}, epoch=due.epoch)
            text = f"{text}\n(word for word: {reference})"
        segment = Segment(first, last, text, count(text), writer)
        earlier = due.base.segments if due.base else ()
        segments = fit((*earlier, segment), self._settings.block_max_tokens)
        return Fold(due.name, due.target, due.target, last, segments) if segments else None

    def _indexed(self, owner: Owner, conversation: Conversation, fold: Fold) -> None:
        key = owner, fold.key
        if self._at_hand.indexes.get(key) is None and self._settings.snippets_tokens:
            head = conversation.entries[: fold.reach]
            masked = {entry.index for entry in head[fold.entries :] if entry.results}
            passages = [
                passage
                for passage in passages_of(head, conversation.turns_at)
                if passage.entry < fold.entries or passage.entry in masked
            ]
            self._at_hand.indexes.put(key, retrieval.Index(passages, self._embedder()))

    def affordable(self, owner: Owner, worst: int) -> bool:
        """Return whether the session's savings pay for a summary that may cost ``worst`` nano-dollars.

        Who only observes saves nothing, and pays for nothing.
        """
        if self._settings.mode != "act":
            return worst <= 0
        session = self._memory.session(owner)
        return worst <= 0 or session.spent + worst <= session.saved + self._advance

    def spent(self, due: Due, amount: int) -> None:
        """Note what a summary cost, in nano-dollars."""
        self._memory.book(due.owner, epoch=due.epoch, spent=amount)

    def finish(self, due: Due, text: str | None, writer: str = "") -> str:
        """Take a model's summary of a stretch, or None for want of one; return why it is not used, if so.

        What a model did not write well is not tried again; Farthing's own digest stands in for it.
        """
        failure = ""
        fold: Fold | None = None
        if due.epoch != self._epoch:
            return "erased"
        self._at_hand.awaited.drop((due.owner, due.branch))
        if text is not None:
            earlier = due.base.segments if due.base else ()
            checked = summary.check(text, due.entries, self._settings.summary.max_tokens, earlier)
            failure = checked.failure
            if failure:
                for name in (due.name, f"from {due.start}"):
                    self._memory.refuse(due.owner, name, epoch=due.epoch)
            else:
                fold = self._fold(due, checked.text, writer)
        if fold is None and self._settings.summary.stand_in:
            fold = self._own_fold(due)
        if fold is not None:
            self._memory.keep(due.owner, fold, epoch=due.epoch)
            self._indexed(due.owner, due.conversation, fold)
        return failure

    def original(self, owner: Owner, reference: str) -> str | None:
        """Return what was left out of a session's history under ``reference``, None if it is not kept.

        Raises RecollectionError.
        """
        return self._memory.original(owner, reference)

    def prune(self) -> None:
        """Forget what is past its retention."""
        self._memory.prune()

    def close(self) -> None:
        """Close the memory."""
        self._memory.close()


@dataclass(frozen=True, slots=True)
class _Way:
    """A way that a request could go."""

    fold: Fold | None
    masks: Masks
    layout: Layout

    def option(self, whole: Layout, last: Sent | None) -> economics.Option:
        """Return it as the economist sees it."""
        what: economics.What = "leave"
        if self.fold is not None:
            what = "mask" if self.fold.masks_only else "block"
        tokens, same = self.layout.tokens, self.layout.same(last.atoms) if last else 0
        return economics.Option(what, tokens, same, max(0, whole.tokens - tokens))


def _current(ways: Sequence[_Way], last: Sent | None) -> int:
    """Return which way the last request went; if it is not there any more, the one that is most like it."""
    if last is None:
        return 0
    keys = [way.fold.key if way.fold else "" for way in ways]
    if last.fold in keys:
        return keys.index(last.fold)
    return max(range(len(ways)), key=lambda at: (ways[at].layout.same(last.atoms), -at))


def _refusal(model: str) -> str:
    """The note that a model takes no shortened history of a session."""
    return f"not for {model}"


def _block(fold: Fold | None) -> str:
    return render(fold.segments) if fold and fold.segments else ""
