from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.context.economics import (
    CACHED_FROM,
    MOST_TURNS,
    Decision,
    Option,
    Outlook,
    Terms,
    decide,
    expected_turns,
)
from farthing.cost import ModelPrice, Rates
from farthing.cost.price import RATES_PER_NANO

LEAD, GROWTH = 1_500, 400
MARGIN = 0.05


def rates(read: float, write: float = 1.0, input_usd_per_million: int = 1) -> Rates:
    """Rates of a model whose input costs so many dollars a million tokens; the others are shares of it."""
    whole = input_usd_per_million * 1_000 * RATES_PER_NANO
    read_rate, write_rate = round(read * 1_000) * whole // 1_000, round(write * 1_000) * whole // 1_000
    return Rates(whole, 4 * whole, read_rate, write_rate, write_rate, 4 * whole)


def price(read: float, write: float = 1.0) -> ModelPrice:
    return ModelPrice("model", ((0, rates(read, write)),))


UNCACHED, HALF, QUARTER, TENTH = price(1.0), price(0.5), price(0.25), price(0.1)
ANTHROPIC = price(0.1, 1.25)
FREE = ModelPrice("local", ((0, Rates(0, 0, 0, 0, 0, 0)),), source="local")


def warm(model: ModelPrice, window: int | None = None) -> Terms:
    return Terms(model, window, 1.0)


EVERY = 10
"""A summary is due after each tenth turn."""


def after(turns: int) -> tuple[list[Option], Outlook]:
    """A history of so many turns that was always left, and the block that could stand for all but three."""
    history = LEAD + GROWTH * turns
    block = LEAD + GROWTH * 3 + GROWTH * (turns - 3) // 5
    options = [
        Option("leave", history, history - GROWTH),
        Option("block", block, LEAD, history - block),
    ]
    return options, Outlook(expected_turns(turns), GROWTH)


def first_change(terms: Terms) -> int:
    for turns in range(4, 200):
        options, outlook = after(turns)
        if decide(options, terms, outlook, margin=MARGIN).option:
            return turns
    return 200


def test_the_cheaper_cached_input_is_the_longer_a_history_is_left() -> None:
    changes = [first_change(warm(model)) for model in (UNCACHED, HALF, QUARTER, TENTH, ANTHROPIC)]
    assert changes == sorted(changes)
    assert changes[0] <= 5
    assert changes[3] >= 8
    assert changes[-1] < 40


def test_a_short_cached_chat_is_left_and_the_trace_says_why() -> None:
    options, outlook = after(9)
    decision = decide(options, warm(TENTH), replace(outlook, due=1), margin=0.0)
    assert (decision.option, decision.saved, decision.expected, decision.snippet_tokens) == (0, 0, 0, 0)
    assert decision.reason.startswith("leave: block would not pay: dearer now by $0.00")
    assert decision.reason.endswith(", 9 expected")


def test_a_long_cached_history_is_folded_at_a_price_that_is_paid_back() -> None:
    options, outlook = after(60)
    decision = decide(options, warm(TENTH), outlook, margin=MARGIN)
    assert decision.option == 1
    # Left: all but the last turn's growth is read at 0.1; folded: the block and three turns are paid in full.
    left = (options[0].tokens - GROWTH) * 100 + GROWTH * 1_000
    folded = LEAD * 100 + (options[1].tokens - LEAD) * 1_000
    assert decision.saved == left - folded < 0 < decision.expected
    gone = options[1].gone
    assert decision.reason == (
        f"block: {gone:,} of {options[0].tokens:,} tokens gone; dearer now by $0.00300, "
        "pays back in 2 turns, 50 expected"
    )


def test_what_the_provider_has_forgotten_costs_nothing_to_change() -> None:
    options, outlook = after(8)
    cold = Terms(TENTH, None, 0.0)
    assert decide(options, warm(TENTH), outlook, margin=MARGIN).option == 0
    decision = decide(options, cold, outlook, margin=MARGIN)
    assert decision.option == 1
    assert decision.saved == options[1].gone * 1_000
    assert "cheaper now by" in decision.reason


def test_a_prefix_too_short_to_be_cached_is_paid_in_full() -> None:
    small = [Option("leave", CACHED_FROM - 1, CACHED_FROM - 101), Option("block", 300, 100, 723)]
    decision = decide(small, warm(TENTH), Outlook(0, 100), margin=0.0)
    assert decision.saved == 723 * 1_000


def test_writing_to_a_cache_is_part_of_the_price_of_a_change() -> None:
    options, outlook = after(60)
    decision = decide(options, warm(ANTHROPIC), outlook, margin=MARGIN)
    left = (options[0].tokens - GROWTH) * 100 + GROWTH * 1_250
    assert decision.saved == left - LEAD * 100 - (options[1].tokens - LEAD) * 1_250


def test_a_saving_within_the_margin_changes_nothing() -> None:
    options = [Option("leave", 10_000, 9_600), Option("mask", 9_700, 5_000, 300)]
    outlook = Outlook(10, 400)
    assert decide(options, warm(UNCACHED), outlook, margin=0.05).option == 0
    decision = decide(options, warm(UNCACHED), outlook, margin=0.01)
    assert (decision.option, decision.saved) == (1, 300_000)


def test_a_fold_in_use_stays_until_a_better_one_has_waited_long_enough() -> None:
    def with_newer(waited: int) -> Decision:
        history = LEAD + GROWTH * (40 + waited)
        older, newer = 6_000 + GROWTH * waited, 6_000 + GROWTH * waited // 5
        options = [
            Option("leave", history, LEAD),
            Option("block", older, older - GROWTH, history - older),
            Option("block", newer, 4_500, history - newer),
        ]
        return decide(options, warm(TENTH), Outlook(40, GROWTH), margin=0.0, current=1)

    chosen = [with_newer(waited).option for waited in range(1, 20)]
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (1, 2)
    assert "as before" in with_newer(1).reason


def test_the_free_tier_leaves_everything_until_its_window_is_full() -> None:
    options, outlook = after(60)
    roomy = decide(options, Terms(FREE, 200_000, 1.0), outlook, margin=MARGIN)
    assert (roomy.option, roomy.snippet_tokens) == (0, 0)
    tight = decide(options, Terms(FREE, 24_000, 1.0), outlook, margin=MARGIN)
    assert (tight.option, tight.saved, tight.expected) == (1, 0, 0)
    assert tight.snippet_tokens == 1_000
    assert "the window takes 21,000 and an answer" in tight.reason


def test_of_what_fits_the_window_the_cheapest_is_taken_whatever_it_costs_now() -> None:
    options = [
        Option("leave", 30_000, 29_000),
        Option("mask", 26_000, 25_000, 4_000),
        Option("block", 9_000, 2_000, 21_000),
        Option("block", 8_500, 2_000, 21_500),
    ]
    decision = decide(options, warm(TENTH, window=20_000), Outlook(1, 1_000), margin=0.5)
    assert decision.option == 3
    assert (decision.saved, decision.expected) == (0, 0)  # the window could not have taken the full history


def test_if_nothing_fits_the_window_the_shortest_is_sent() -> None:
    options = [
        Option("leave", 30_000, 0),
        Option("mask", 25_000, 0, 5_000),
        Option("block", 9_000, 0, 21_000),
    ]
    decision = decide(options, warm(UNCACHED, window=8_000), Outlook(5, 500), margin=MARGIN)
    assert decision.option == 2
    assert decision.snippet_tokens == 0
    assert "still longer than the window" in decision.reason


def test_room_is_kept_for_a_short_answer_if_that_is_all_the_model_gives() -> None:
    options = [Option("leave", 19_900, 19_500), Option("block", 9_000, 2_000, 10_900)]
    terse = replace(FREE, max_output_tokens=64)
    assert decide(options, Terms(terse, 20_000, 1.0), Outlook(5, 400), margin=MARGIN).option == 0
    assert decide(options, Terms(FREE, 20_000, 1.0), Outlook(5, 400), margin=MARGIN).option == 1


def test_each_option_is_priced_at_the_tier_of_its_own_size() -> None:
    tiered = replace(UNCACHED, tiers=((0, rates(1.0)), (200_000, rates(1.0, input_usd_per_million=2))))
    options = [Option("leave", 200_000, 0), Option("block", 199_000, 0, 1_000)]
    decision = decide(options, warm(tiered), Outlook(0, 0), margin=0.3)
    assert decision.option == 1
    assert decision.saved == 200_000 * 2_000 - 199_000 * 1_000


def test_of_two_options_as_long_the_one_that_leaves_less_out_is_taken() -> None:
    options = [
        Option("leave", 20_000, 0),
        Option("block", 8_000, 0, 12_000),
        Option("mask", 8_000, 0, 9_000),
    ]
    assert decide(options, warm(UNCACHED), Outlook(10, 400), margin=MARGIN).option == 2


@pytest.mark.parametrize("model", [UNCACHED, HALF, QUARTER, TENTH, ANTHROPIC])
def test_snippets_cost_at_most_an_eighth_of_what_a_turn_saves(model: ModelPrice) -> None:
    options, outlook = after(240)
    terms = warm(model)
    decision = decide(options, terms, outlook, margin=MARGIN, snippets_tokens=10**9)
    tier = model.rates_at(0)
    fresh = max(tier.input, tier.cache_write)
    # What follows the snippets is paid in full when it is sent again without them.
    broken = GROWTH * (fresh - tier.cache_read) if tier.cache_read < tier.input else 0
    assert decision.option == 1
    assert 0 < decision.snippet_tokens * fresh + broken <= options[1].gone * tier.cache_read // 8
    assert decision.snippet_tokens > 7
    assert decide(options, terms, outlook, margin=MARGIN, snippets_tokens=7).snippet_tokens == 7


def test_what_an_earlier_change_took_out_of_the_cache_is_no_merit_of_the_next() -> None:
    history, block = 30_000, 6_000
    options = [
        Option("leave", history, LEAD),  # nobody has sent it for a while: all but the lead is cold
        Option("block", block, block - GROWTH, history - block),
    ]
    decision = decide(options, warm(TENTH), Outlook(20, GROWTH), margin=MARGIN, current=1)
    assert decision.saved == (history - block) * 100


def test_as_many_turns_are_expected_as_there_have_been() -> None:
    assert [expected_turns(turns) for turns in (0, 1, 12, 10**9)] == [1, 1, 12, MOST_TURNS]


@dataclass
class Told:
    """What a conversation cost until each of its turns: as it was sent, and had it always been left."""

    ours: list[int]
    never: list[int]
    saved: list[int]
    dearest: int


def replay(model: ModelPrice, lead: int, growth: int, keep: int, share: float, turns: int) -> Told:
    """A conversation of equal turns; a block of the older ones is offered at each turn."""
    told = Told([], [], [], 0)
    cached = model.tiers[0][1]

    def cost(tokens: int, same: int) -> int:
        read = same if cached.cache_read < cached.input and same >= CACHED_FROM else 0
        fresh = max(cached.input, cached.cache_write) if cached.cache_read < cached.input else cached.input
        return (read * cached.cache_read + (tokens - read) * fresh) // RATES_PER_NANO

    folded, block = 0, 0  # turns that the block in use stands for, and its tokens
    ours = never = saved = 0
    for turn in range(1, turns + 1):
        history = lead + turn * growth
        in_use = lead + block + (turn - folded) * growth
        options = [Option("leave", history, history - growth if not folded and turn > 1 else lead)]
        more = max(0, turn - keep - folded)
        newer = block + int(share * more * growth)
        if folded:
            options.append(Option("block", in_use, in_use - growth, history - in_use))
        if more:
            shorter = lead + newer + (turn - folded - more) * growth
            options.append(Option("block", shorter, lead + block, history - shorter))
        current = 1 if folded else 0
        outlook = Outlook(expected_turns(turn), growth, -turn % EVERY)
        decision = decide(options, warm(model), outlook, margin=MARGIN, current=current)
        chosen = options[decision.option]
        paid = cost(chosen.tokens, chosen.same if turn > 1 else 0)
        if decision.option > current:
            unchanged = options[current]
            told.dearest = max(told.dearest, paid - cost(unchanged.tokens, unchanged.same if turn > 1 else 0))
            folded, block = folded + more, newer
        ours, never = ours + paid, never + cost(history, history - growth if turn > 1 else 0)
        saved += decision.saved
        for figures, figure in ((told.ours, ours), (told.never, never), (told.saved, saved)):
            figures.append(figure)
    return told


conversations = st.tuples(
    st.sampled_from([UNCACHED, HALF, QUARTER, TENTH, ANTHROPIC]),
    st.integers(CACHED_FROM, 20_000),
    st.integers(20, 3_000),
    st.integers(1, 6),
    st.floats(0.05, 0.6),
)


@settings(max_examples=60, deadline=None)
@given(conversations)
def test_what_is_said_to_be_saved_is_what_the_bills_differ_by(
    conversation: tuple[ModelPrice, int, int, int, float],
) -> None:
    told = replay(*conversation, turns=80)
    for ours, never, saved in zip(told.ours, told.never, told.saved, strict=True):
        assert saved == never - ours


@settings(max_examples=60, deadline=None)
@given(conversations)
def test_wherever_a_conversation_ends_it_has_lost_no_more_than_the_price_of_one_change(
    conversation: tuple[ModelPrice, int, int, int, float],
) -> None:
    told = replay(*conversation, turns=120)
    losses = [ours - never for ours, never in zip(told.ours, told.never, strict=True)]
    assert max(losses) <= told.dearest


@settings(max_examples=60, deadline=None)
@given(conversations)
def test_where_a_summary_is_due_a_conversation_has_cost_no_more_than_one_left_alone(
    conversation: tuple[ModelPrice, int, int, int, float],
) -> None:
    told = replay(*conversation, turns=120)
    for turn in range(EVERY, 121, EVERY):
        assert told.ours[turn - 1] <= told.never[turn - 1]


def test_a_change_that_a_summary_would_overtake_is_left_to_it() -> None:
    options, outlook = after(14)
    chosen = [
        decide(options, warm(TENTH), replace(outlook, due=due), margin=MARGIN).option for due in range(1, 11)
    ]
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0, 1)
