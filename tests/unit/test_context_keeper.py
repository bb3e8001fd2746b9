"""The keeper: what is sent is valid, never longer, and only what was prepared; what fails leaves it whole."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.context.conversation import Reader
from farthing.context.fold import OWN, Owner
from farthing.context.keeper import Due, Keeper
from farthing.context.memory import Memory, open_memory
from farthing.context.plan import Plan, Served
from farthing.context.replay import requests, steps
from farthing.cost.price import RATES_PER_NANO, ModelPrice, Rates
from farthing.embedding import Embedder
from farthing.settings import ContextSettings
from farthing.telemetry import Usage
from tests.unit.context_samples import SURFACES, check_valid, payloads

ADA = Owner("ada", "session-1")
MINUTE_MS = 60_000
embedder = lru_cache(maxsize=1)(Embedder.load)


def served(cached: float = 1.0, name: str = "m", *, window: int | None = None, marks: bool = False) -> Served:
    """A model at 1,000 nano-dollars a token, whose cached input costs ``cached`` of that."""
    unit = 1_000 * RATES_PER_NANO
    read = round(unit * cached)
    write = round(1.25 * unit) if marks else unit
    rates = Rates(unit, 4 * unit, read, write, write, 4 * unit)
    return Served(name, ModelPrice(name, ((0, rates),)), window, marks)


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_000_000_000

    def __call__(self) -> int:
        return self.now_ms


class Bench:
    """A keeper, and a client that sends its whole history with every turn."""

    def __init__(self, folder: Path, **context: Any) -> None:
        self.settings = ContextSettings(path=folder / "context.db", **context)
        self.memory: Memory = open_memory(self.settings)
        self.clock = Clock()
        self.keeper = Keeper(self.settings, self.memory, embedder, clock=self.clock)

    def plan(self, turn: int, owner: Owner = ADA, to: Served | None = None, **more: Any) -> Plan:
        plan = self.keeper.plan(owner, history(turn, **more), "chat", to or served())
        assert plan is not None
        return plan

    def answered(self, turn: int, to: Served | None = None, cache_read: int = 0, **more: Any) -> Due | None:
        """Have a turn answered; return what is due to be summarised."""
        self.clock.now_ms += 5_000
        plan = self.plan(turn, to=to, **more)
        self.keeper.sent(plan, Usage(plan.layout.tokens, 10, cache_read=cache_read))
        return self.keeper.prepare(plan)

    def due_at_10(self) -> Due:
        dues = [self.answered(turn) for turn in range(1, 11)]
        assert dues[:9] == [None] * 9
        assert dues[9] is not None
        return dues[9]


def order(turn: int) -> str:
    return (
        f"Book order PO-{1000 + turn} for {turn}2.50 EUR. The goods come to the back door on "
        f"2026-03-{turn:02d}, somebody has to sign for them, and whoever signs should look at the boxes, "
        "since the last ones were wet. If the price differs from the offer, do not book it but tell me."
    )


def history(turn: int, changed: int = 0, lead: int = 1) -> dict[str, Any]:
    """The request of a turn, all turns before it included; the ask of turn ``changed`` is another."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "You are the purchasing desk. " * lead}]
    for at in range(1, turn + 1):
        text = "Forget it." if at == changed else order(at)
        messages += [{"role": "user", "content": text}]
        if at < turn:
            messages += [{"role": "assistant", "content": "It is booked."}]
    return {"messages": messages}


def text_of(plan: Plan) -> str:
    return "\n".join(str(message["content"]) for message in plan.payload["messages"])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.keeper.close()


@contextmanager
def eager() -> Iterator[Keeper]:
    """A keeper that shortens whatever it can."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"every_turns": 2, "keep_turns": 1, "mask_over_tokens": 20, "margin": 0}
        keeper = Bench(Path(folder), **options).keeper
        yield keeper
        keeper.close()


@pytest.mark.parametrize("surface", SURFACES)
@given(data=st.data())
@settings(max_examples=25)
def test_any_conversation_goes_out_valid_no_longer_and_with_the_same_lead(surface: str, data: Any) -> None:
    payload = data.draw(payloads(surface))
    conversation = Reader().read(payload, surface)
    assert conversation is not None
    name = "input" if surface == "responses" else "messages"
    lead = len(payload[name]) - len(conversation.entries)
    with eager() as keeper:
        for step in steps(keeper, payload, surface, served()):
            sent = step.plan.payload
            if step.plan.shortened:
                check_valid(surface, sent)
            assert step.plan.use.tokens_after <= step.plan.use.tokens_before
            assert sent[name][:lead] == payload[name][:lead]
            assert {key: value for key, value in sent.items() if key != name} == {
                key: value for key, value in payload.items() if key != name
            }
            again, before = Reader().read(sent, surface), Reader().read(step.plan.original, surface)
            assert again is not None
            assert before is not None
            assert again.tokens <= before.tokens + 30  # what joins texts is counted once more


def test_the_eager_keeper_does_shorten_so_that_the_property_above_says_something() -> None:
    body = history(9)
    with eager() as keeper:
        found = list(steps(keeper, body, "chat", served()))
    assert sum(step.plan.shortened for step in found) >= 4


def test_until_a_summary_is_there_everything_goes_out_and_then_the_block(bench: Bench) -> None:
    due = bench.due_at_10()
    assert due.turns == (1, 7)
    assert text_of(bench.plan(11)).count("Book order") == 11
    assert bench.answered(11) is None, "it is not asked for twice"
    facts = "; ".join(f"PO-{1000 + turn} {turn}2.50 EUR 2026-03-{turn:02d}" for turn in range(1, 8))
    assert bench.keeper.finish(due, f"Goal: book orders. Facts: {facts}.", "small") == ""
    twelfth = bench.plan(12)
    assert twelfth.use.decision == "block"
    assert twelfth.fold is not None
    assert twelfth.fold.segments[-1].writer == "small"
    assert text_of(twelfth).count("Book order") < 8
    assert all(order(turn) in text_of(twelfth) for turn in (9, 10, 11, 12))


def test_a_summary_that_invents_is_not_used_and_its_stretch_not_asked_for_again(bench: Bench) -> None:
    due = bench.due_at_10()
    assert bench.keeper.finish(due, "Goal: book order PO-7777 for 99.00 EUR.", "small") == "invented"
    eleventh = bench.plan(11)
    assert eleventh.fold is not None
    assert eleventh.fold.segments[-1].writer == OWN
    assert "PO-7777" not in text_of(eleventh)
    assert "PO-1003" in text_of(eleventh)
    assert bench.answered(10) is None


def test_a_model_whose_cache_is_warm_is_left_alone_where_a_change_would_not_pay(bench: Bench) -> None:
    dear_change = served(cached=0.1)
    for turn in range(1, 11):
        due = bench.answered(turn, dear_change, cache_read=2_000, lead=300)
    assert due is not None
    bench.keeper.finish(due, None)
    eleventh = bench.plan(11, to=dear_change, lead=300)
    assert (eleventh.use.decision, eleventh.use.saved) == ("leave", 0)
    assert "would save nothing" in eleventh.reason
    # After a pause the provider has forgotten it all: then nothing is lost by a change.
    bench.clock.now_ms += 10 * MINUTE_MS
    assert bench.plan(11, to=dear_change, lead=300).use.decision == "block"


def test_a_cache_that_is_never_seen_to_work_is_not_counted_on(bench: Bench) -> None:
    to = served(cached=0.1)
    for turn in range(1, 21):
        due = bench.answered(turn, to, cache_read=0, lead=300)
        if due is not None:
            bench.keeper.finish(due, None)
    assert bench.plan(21, to=to, lead=300).use.decision == "block"


def test_a_free_model_gets_everything_unless_its_window_is_too_small(bench: Bench) -> None:
    bench.keeper.finish(bench.due_at_10(), None)
    free = ModelPrice("free", ((0, Rates(0, 0, 0, 0, 0, 0)),))
    assert bench.plan(11, to=Served("free", free, None)).use.decision == "leave"
    small = bench.plan(11, to=Served("free", free, 900))
    assert small.use.decision == "block"
    assert small.use.tokens_after < 900


def test_a_history_that_was_edited_or_is_another_s_fits_no_fold(bench: Bench) -> None:
    bench.keeper.finish(bench.due_at_10(), None)
    assert bench.plan(11).use.decision == "block"
    assert bench.plan(11, changed=3).use.decision == "leave"
    assert bench.plan(11, changed=10).use.decision == "block", "what is folded is the same"
    assert bench.plan(8).use.decision == "leave", "the last turns are kept whole"
    for other in (Owner("grace", "session-1"), Owner("ada", "session-2")):
        assert bench.plan(11, owner=other).use.decision == "leave"


def test_what_a_provider_refused_is_not_sent_again(bench: Bench) -> None:
    bench.keeper.finish(bench.due_at_10(), None)
    refused = bench.plan(11)
    assert refused.shortened
    bench.keeper.rejected(refused)
    assert bench.plan(11).use.decision == "leave"


def test_a_summary_is_paid_out_of_what_was_saved(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    due = bench.due_at_10()
    assert bench.keeper.affordable(ADA, 0), "a free one always is"
    assert not bench.keeper.affordable(ADA, 1)
    bench.keeper.finish(due, None)
    saving = bench.plan(11)
    bench.keeper.sent(saving, Usage(saving.layout.tokens))
    saved = saving.use.saved
    assert saved > 0
    assert bench.keeper.affordable(ADA, saved)
    bench.keeper.spent(due, saved)
    assert not bench.keeper.affordable(ADA, 1)
    lent = Keeper(bench.settings, bench.memory, embedder, advance=500)
    assert lent.affordable(ADA, 500)
    assert not lent.affordable(ADA, 501)


def test_an_erasure_takes_what_is_prepared_and_what_is_under_way(bench: Bench) -> None:
    due = bench.due_at_10()
    bench.memory.erase("ada")
    bench.keeper.finish(due, None)
    assert bench.memory.session(ADA).folds == ()
    assert bench.plan(11).use.decision == "leave"


def test_observing_sends_everything_and_books_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, mode="observe")
    bench.keeper.finish(bench.due_at_10(), None)
    plan = bench.plan(11)
    assert plan.payload is plan.original
    assert not plan.shortened
    assert (plan.use.decision, plan.use.saved > 0) == ("observe block", True)
    bench.keeper.sent(plan, Usage(plan.layout.tokens))
    assert bench.memory.session(ADA).saved == 0


def test_snippets_bring_back_what_the_ask_needs_and_stay_for_a_loop(tmp_path: Path) -> None:
    bench = Bench(tmp_path, block_max_tokens=200, summary={"max_tokens": 100})
    for turn in range(1, 41):
        due = bench.answered(turn)
        if due is not None:
            bench.keeper.finish(due, None)
    body = history(41)
    body["messages"][-1]["content"] = "What was it with order PO-1005, the one for 52.50 EUR?"
    plan = bench.keeper.plan(ADA, body, "chat", served())
    assert plan is not None
    assert plan.use.decision == "block"
    last = plan.payload["messages"][-1]["content"]
    assert last.endswith("What was it with order PO-1005, the one for 52.50 EUR?")
    assert "PO-1005 for 52.50 EUR. The goods come to the back door" in last
    again = bench.keeper.plan(ADA, body, "chat", served())
    assert again is not None
    assert again.payload == plan.payload


def test_breakpoints_are_set_once_the_turns_follow_each_other(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    claude = served(cached=0.1, marks=True)
    for turn in range(1, 16):
        bench.answered(turn, claude)
    assert "cache_control" in str(bench.plan(16, to=claude).payload)
    bench.clock.now_ms += 60 * MINUTE_MS
    bench.answered(16, claude)
    bench.clock.now_ms += 60 * MINUTE_MS
    bench.answered(17, claude)
    assert "cache_control" not in str(bench.plan(18, to=claude).payload)


def test_the_requests_of_a_conversation_are_told_apart() -> None:
    body = history(3)
    conversation = Reader().read(body, "chat")
    assert conversation is not None
    assert [len(request["messages"]) for request in requests(body, conversation)] == [2, 4, 6]
