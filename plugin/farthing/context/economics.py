"""Does it pay? What each way of sending a history is expected to cost, now and over the turns to come.

**What an option costs.** Now: what the provider is likely to have in its cache is read at the cached rate,
the rest is paid in full (at the rate of a cache write where one is made). Later, each turn reads what the
turn before sent and pays for what is new. Where there is no cache, all is paid in full each time. An option
that leaves something out also bears a risk: see `CLIMB`.

**When another one is taken.** To shorten a history breaks the cache behind the place of the change: a
dearer request now (the price of the change), for cheaper ones later. Nobody knows how many will come. A
conversation of which nothing is known but that it has lasted t turns lasts k more with a chance of t / (t +
k) (Lindy's law, a Pareto tail of exponent 1; J. R. Gott, Nature 363, 1993): as many again, as a median
(`expected_turns`). So a change has to

1. be cheaper over the turns expected, by more than the margin: no change for crumbs, no flapping;
2. be paid back within the turns expected, and by the turn at which the next summary is due (`Outlook.due`):
   then the block grows and the next change comes up. So at every tenth turn, about, all changes are paid
   back, and a conversation that ends there has cost no more than if it had been left;
3. be paid back in at most twice the turns that it has waited (`WAITED`). What could be left out grows with
   each turn, and with it its saving, by s; the price P stays nearly the same. A change every m turns costs
   P / m + s · m / 2 a turn, least at m = √(2 P / s), where it is paid back in m / 2 turns: the rule of lot
   sizes (Harris, 1913) and, where nothing is known of the future, of acknowledging packets (Dooly, Goldman
   and Scott, 1998), by which nobody pays more than twice what hindsight would have. Twice the turns waited
   is half of that m, a quarter dearer at worst: it only keeps changes at mild discounts from crowding. At
   deep ones the second rule decides, and waiting for longer was measured to cost more (bench/context).

Without a cache, or where the provider has forgotten the history, a change has no price and is made as soon
as the margin allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from farthing.cost import ModelPrice, Rates
from farthing.cost.price import RATES_PER_NANO, half_even
from farthing.money import usd_text

What = Literal["leave", "mask", "block"]

MOST_TURNS = 50
"""More turns than this are never expected: models, prices and users change too."""
WAITED = 2
"""A change is paid back in at most so many times the turns that it has waited."""
CACHED_FROM = 1024
"""Tokens from which on a common beginning is cached (OpenAI, Gemini 2.5, Claude Sonnet)."""
CLIMB = 0.01
"""The chance that a turn must be asked again, in full and uncached, if all of the history is left out.

It grows with the share that is left out. That masks or summaries make agents fail more often has not been
seen (arXiv 2508.21433: as many tasks solved, or more); a hundredth is what a comparison of some hundred tasks
could still have hidden.
"""
SNIPPETS_SHARE = 8
"""Snippets cost at most this part of what a turn saves, an eighth."""
_ANSWER = 4096
"""Tokens of the window kept for the answer, if it is not small (at most an eighth is)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the model about to be called charges, and what it remembers.

    ``warm`` (0 to 1): how likely the provider still has the last request's input in its cache.
    ``window``: the input tokens that the model can take, None: unknown.
    """

    price: ModelPrice
    window: int | None
    warm: float


@dataclass(frozen=True, slots=True)
class Option:
    """A way to send the history: ``tokens`` of input in all (snippets apart), of which the first ``same``
    were sent just so by the last request. ``gone``: tokens of the history that it leaves out."""

    what: What
    tokens: int
    same: int
    gone: int = 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is to come: ``turns`` after this one, as expected; ``growth``: tokens that each adds.

    ``due``: turns after this one until a summary is due, and what is prepared changes; None: never.
    """

    turns: float
    growth: float
    due: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done. ``option`` is its place among the options.

    ``saved`` (nano-dollars): what this request's input is expected to cost less than with options[0], had the
    history always been left (what an earlier change took out of the cache is no merit); below zero where a
    saving is bought by a dearer first request; 0 if the window could not have taken it. ``expected``: the
    same over all turns to come. ``snippet_tokens`` are what may be spent on snippets. ``reason`` is for
    people and traces.
    """

    option: int
    saved: int
    expected: int
    snippet_tokens: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Bill:
    """In 10⁻¹⁵ nano-dollars: this request's input, that of a turn to come, and all turns with their risk."""

    now: int
    turn: int
    total: int


@dataclass(frozen=True, slots=True)
class _Change:
    """From the option in use to another: what it costs now, saves each turn, and saves in all."""

    price: int
    saving: int
    total: int
    shorter: int

    def pays(self, least: int, turns: int, growth: int) -> bool:
        """Whether it keeps the three rules (see above): it saves more than ``least`` in all, and is paid
        back within ``turns`` and the time that it has waited."""
        if self.total <= least:
            return False
        in_time = self.price <= self.saving * turns
        # It has waited for shorter / growth turns, and saving is what all of them save.
        waited = self.price * growth <= WAITED * self.saving * self.shorter
        return self.price <= 0 or (in_time and waited)


def expected_turns(turns_so_far: float) -> float:
    """Return how many turns are still to be expected: as many again, at least 1, at most `MOST_TURNS`."""
    return _within(turns_so_far, 1, MOST_TURNS)


def decide(
    options: Sequence[Option],
    terms: Terms,
    outlook: Outlook,
    *,
    margin: float,
    current: int = 0,
    snippets_tokens: int = 1000,
) -> Decision:
    """Return the cheapest option. ``options[0]`` leaves the history as it is; ``current`` is what the last
    request went out as: another is taken only if it saves more than ``margin`` of it, soon enough.

    What does not fit the window, with room for an answer, is not taken; if nothing does, the shortest is.
    ``snippets_tokens`` are the most that are wanted. Takes some ten microseconds an option.
    """
    turns, growth = round(_within(outlook.turns, 0, MOST_TURNS)), max(0, round(outlook.growth))
    bills = [_bill(option, terms, turns, growth) for option in options]
    changes = [
        _Change(
            price=bill.now - bills[current].now,
            saving=bills[current].turn - bill.turn,
            total=bills[current].total - bill.total,
            shorter=options[current].tokens - option.tokens,
        )
        for bill, option in zip(bills, options, strict=True)
    ]
    room = _room(terms)
    fitting = [at for at, option in enumerate(options) if room is None or option.tokens <= room]
    if not fitting:
        chosen = min(range(len(options)), key=lambda at: options[at].tokens)
    elif current not in fitting:
        chosen = min(fitting, key=lambda at: bills[at].total)
    else:
        least = round(margin * bills[current].total)
        soon = turns if outlook.due is None else min(turns, outlook.due)
        paying = [at for at in fitting if changes[at].pays(least, soon, growth)]
        chosen = min(paying, key=lambda at: bills[at].total, default=current)
    left = bills[0] if current == 0 else _bill(_always_left(options[0], growth), terms, turns, growth)
    could_be_left = 0 in fitting or not fitting
    return Decision(
        option=chosen,
        saved=_nano(left.now) - _nano(bills[chosen].now) if could_be_left else 0,
        expected=_nano(left.total) - _nano(bills[chosen].total) if could_be_left else 0,
        snippet_tokens=_snippets(
            options[chosen], left.turn - bills[chosen].turn, terms, growth, snippets_tokens, room
        ),
        reason=_reason(options, changes, chosen, current, turns, room),
    )


def _bill(option: Option, terms: Terms, turns: int, growth: int) -> _Bill:
    """Costs are linear in tokens, so that ``turns`` growing turns cost that many times the middle one.

    (But for a history that grows into a long-context tier on the way: all are taken at the middle one's.)
    """
    now = _cost(terms, option.tokens, option.same)
    middle = option.tokens + growth * (turns + 1) // 2
    asked_again = round(CLIMB * option.gone) * terms.price.rates_at(middle + option.gone).input
    turn = _cost(terms, middle, middle - growth) + asked_again
    return _Bill(now, turn, now + asked_again + turns * turn)


def _cost(terms: Terms, tokens: int, same: int) -> int:
    """What a request costs of which the first ``same`` tokens were in the last one, as expected."""
    rates = terms.price.rates_at(tokens)
    read = 0
    if rates.cache_read < rates.input and same >= CACHED_FROM:
        read = round(_within(terms.warm, 0, 1) * min(same, tokens))
    return read * rates.cache_read + (tokens - read) * _fresh(rates, terms)


def _fresh(rates: Rates, terms: Terms) -> int:
    """The rate of input that is not read from a cache: where one is in use, that of writing to it."""
    in_use = terms.warm > 0 and rates.cache_read < rates.input
    return max(rates.input, rates.cache_write) if in_use else rates.input


def _always_left(left: Option, growth: int) -> Option:
    """The whole history, cached but for what is new, as it would be had it never been shortened."""
    return replace(left, same=max(left.same, left.tokens - growth))


def _room(terms: Terms) -> int | None:
    if terms.window is None:
        return None
    return terms.window - min(terms.price.max_output_tokens or _ANSWER, _ANSWER, terms.window // 8)


def _snippets(option: Option, saving: int, terms: Terms, growth: int, most: int, room: int | None) -> int:
    """Tokens of snippets: they are new in each request, and gone from its place in the next.

    So what follows them, about a turn, is not read from a cache when it is sent again.
    """
    if option.what == "leave":
        return 0
    rates = terms.price.rates_at(option.tokens)
    fresh, read = _fresh(rates, terms), rates.cache_read
    broken = round(_within(terms.warm, 0, 1) * growth) * (fresh - read) if read < rates.input else 0
    affordable = (saving // SNIPPETS_SHARE - broken) // fresh if fresh else most
    return max(0, min(most, affordable, most if room is None else room - option.tokens))


def _reason(
    options: Sequence[Option],
    changes: Sequence[_Change],
    chosen: int,
    current: int,
    turns: int,
    room: int | None,
) -> str:
    option, change = options[chosen], changes[chosen]
    gone = f"{option.what}: {option.gone:,} of {options[0].tokens:,} tokens gone"
    if room is not None and option.tokens > room:
        return f"{gone}; still longer than the window, which takes {room:,} and an answer"
    if chosen != current:
        if room is not None and options[current].tokens > room:
            return f"{gone}; the window takes {room:,} and an answer"
        return f"{gone}; {_payback(change, turns)}"
    if len(options) == 1:
        return f"{option.what}: nothing shorter is prepared"
    best = max((at for at in range(len(options)) if at != current), key=lambda at: changes[at].total)
    still = "leave" if option.what == "leave" else f"{gone}, as before"
    if changes[best].total <= 0:
        return f"{still}: {options[best].what} would save nothing in {turns} turns"
    return f"{still}: {options[best].what} would not pay: {_payback(changes[best], turns)}"


def _payback(change: _Change, turns: int) -> str:
    saves = f"saves {_usd(change.saving)} a turn"
    if change.price <= 0:
        return f"cheaper now by {_usd(-change.price)}, {saves}"
    if change.saving <= 0:
        return f"dearer now by {_usd(change.price)}, never paid back"
    back = -(-change.price // change.saving)
    plural = "" if back == 1 else "s"
    return f"dearer now by {_usd(change.price)}, pays back in {back} turn{plural}, {turns} expected"


def _usd(units: int) -> str:
    """To a hundred-thousandth of a dollar, a size that people can read."""
    text = usd_text(_nano(units))[:-4]
    return f"${text}" if text.strip("0.") else "under $0.00001"


def _nano(units: int) -> int:
    return half_even(units, RATES_PER_NANO) if units >= 0 else -half_even(-units, RATES_PER_NANO)


def _within(value: float, least: float, most: float) -> float:
    return min(max(value, least), most)
