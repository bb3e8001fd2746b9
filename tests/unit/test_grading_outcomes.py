"""What became of an intent's answers shifts its next grade: one tier, for a while, for its account alone."""

import math
import timeit
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.grading import GradeName
from farthing.grading.outcomes import Book, Kind, ShiftRules
from farthing.grading.outcomes.beta import probability_below
from farthing.grading.outcomes.evidence import Evidence

GRADES: list[GradeName] = ["LOW", "MEDIUM", "HIGH"]
DAY = 86_400.0
RULES = ShiftRules()


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


Record = tuple[str, GradeName, Kind, bool, float | None, float]
"""Intent, tier, kind, good, weight, and seconds until the next."""

RECORD: st.SearchStrategy[Record] = st.tuples(
    st.sampled_from(["i1", "i2"]),
    st.sampled_from(GRADES),
    st.sampled_from(["check", "retry", "comparison"]),
    st.booleans(),
    st.one_of(st.none(), st.floats(0, 5)),
    st.floats(0, 3 * DAY),
)
RECORDS = st.lists(RECORD, max_size=40)
PIECES = st.builds(
    Evidence,
    st.tuples(*[st.floats(0, 3)] * 3),
    st.tuples(*[st.floats(0, 3)] * 3),
    st.floats(0, 100 * DAY),
)


def book(clock: Clock | None = None, **rules: float) -> Book:
    return Book(ShiftRules(**rules), clock=clock or Clock())  # type: ignore[arg-type]


def note(
    book: Book, kind: Kind, good: bool, times: int = 1, tier: GradeName = "LOW", scope: str = "a"
) -> None:
    for _ in range(times):
        book.record(scope, "intent", tier, kind, good)


def shifted(book: Book, grade: GradeName = "LOW", scope: str = "a") -> GradeName:
    return book.shift(scope, "intent", grade)[0]


def test_an_unknown_intent_keeps_its_grade() -> None:
    assert book().shift("a", "intent", "LOW") == ("LOW", "")


def test_a_second_failed_check_sends_the_intent_one_tier_up() -> None:
    b = book()
    note(b, "check", False)
    assert shifted(b) == "LOW"
    note(b, "check", False)
    assert b.shift("a", "intent", "LOW") == ("MEDIUM", "outcomes: up; at LOW 1.8 bad (checks)")
    assert shifted(b, "MEDIUM") == "MEDIUM"
    assert shifted(b, "HIGH") == "HIGH"
    assert b.shift("a", "another", "LOW") == ("LOW", "")


def test_retries_weigh_less_than_failed_checks() -> None:
    b = book()
    note(b, "retry", False, 2)
    assert shifted(b) == "LOW"
    note(b, "retry", False)
    assert shifted(b) == "MEDIUM"


def test_passed_checks_speak_against_a_few_failures() -> None:
    b = book()
    note(b, "check", True, 8)
    note(b, "check", False, 2)
    assert shifted(b) == "LOW"
    note(b, "check", False, 4)
    assert shifted(b) == "MEDIUM"


def test_nobody_complaining_never_sends_a_grade_down() -> None:
    b = book()
    for tier in ("LOW", "MEDIUM"):
        note(b, "check", True, 500, tier)
        note(b, "retry", True, 500, tier)
    assert [shifted(b, grade) for grade in GRADES] == GRADES


def test_agreement_with_the_strong_tier_sends_a_grade_down_by_one_tier() -> None:
    b = book()
    note(b, "comparison", True, 12)
    assert shifted(b, "MEDIUM") == "MEDIUM"
    note(b, "comparison", True)
    assert b.shift("a", "intent", "MEDIUM") == ("LOW", "outcomes: down; at LOW 13.0 good (comparisons)")
    assert shifted(b, "HIGH") == "MEDIUM"  # what LOW can do, MEDIUM can
    assert shifted(b, "LOW") == "LOW"


@pytest.mark.parametrize("kind", ["check", "retry", "comparison"])
def test_any_complaint_takes_the_step_down_back(kind: Kind) -> None:
    b = book()
    note(b, "comparison", True, 13)
    note(b, kind, False)
    assert shifted(b, "MEDIUM") == "MEDIUM"


def test_a_dearer_tier_that_fails_speaks_for_the_cheaper_ones() -> None:
    b = book()
    note(b, "check", False, 3, tier="MEDIUM")
    assert [shifted(b, grade) for grade in GRADES] == ["MEDIUM", "HIGH", "HIGH"]
    note(b, "comparison", True, 13, tier="LOW")
    assert [shifted(b, grade) for grade in GRADES] == ["LOW", "HIGH", "HIGH"]


def test_a_shift_fades_and_the_cheap_tier_gets_another_chance() -> None:
    clock = Clock()
    b = book(clock)
    note(b, "check", False, 2)
    clock.now += DAY
    assert shifted(b) == "MEDIUM"
    clock.now += 2 * DAY
    assert shifted(b) == "LOW"
    note(b, "check", False)  # fails again: it takes less to be sure, and lasts longer
    assert shifted(b) == "MEDIUM"


def test_much_old_evidence_gives_way_to_new() -> None:
    b = book()
    note(b, "check", False, 10_000)
    assert shifted(b) == "MEDIUM"
    note(b, "comparison", True, 60)
    assert shifted(b) == "LOW"


def test_what_the_strongest_tier_did_shifts_nothing() -> None:
    b = book()
    note(b, "check", False, 50, tier="HIGH")
    assert [shifted(b, grade) for grade in GRADES] == GRADES


def test_reasons_tell_counts_and_nothing_of_the_intent() -> None:
    b = book()
    for kind, good in (("check", False), ("check", False), ("retry", False), ("check", True)):
        b.record("a", "name my secret", "LOW", kind, good)  # type: ignore[arg-type]
    grade, reason = b.shift("a", "name my secret", "LOW")
    assert (grade, reason) == (
        "MEDIUM",
        "outcomes: up; at LOW 1.8 bad (checks), 0.6 bad (retries), 0.2 good (checks)",
    )


def test_a_scope_remembers_its_latest_intents_only() -> None:
    b = book(intents=3)
    for intent in ("one", "two", "three", "one", "four"):
        for _ in range(2):
            b.record("a", intent, "LOW", "check", False)
    kept = [i for i in ("one", "two", "three", "four") if b.shift("a", i, "LOW")[0] == "MEDIUM"]
    assert kept == ["one", "three", "four"]


@given(st.lists(st.tuples(st.sampled_from("ab"), RECORD), max_size=60), st.integers(1, 3))
def test_no_account_changes_a_shift_of_another(events: list[tuple[str, Record]], intents: int) -> None:
    def shifts_of_a(scopes: str) -> list[tuple[GradeName, str]]:
        clock = Clock()
        shared = book(clock, intents=intents)
        for scope, (intent, tier, kind, good, weight, pause) in events:
            if scope in scopes:
                shared.record(scope, intent, tier, kind, good, weight)
                shared.shift(scope, intent, tier)
            clock.now += pause
        return [shared.shift("a", intent, grade) for intent in ("i1", "i2") for grade in GRADES]

    assert shifts_of_a("ab") == shifts_of_a("a")


@given(RECORDS)
def test_whatever_happened_a_shift_is_one_tier_at_most_and_down_only_after_comparisons(
    records: list[Record],
) -> None:
    clock = Clock()
    b = book(clock)
    for intent, tier, kind, good, weight, pause in records:
        b.record("a", intent, tier, kind, good, weight)
        clock.now += pause
    for intent in ("i1", "i2"):
        got = [b.shift("a", intent, grade) for grade in GRADES]
        steps = [GRADES.index(to) - at for at, (to, _) in enumerate(got)]
        assert all(-1 <= step <= 1 for step in steps)
        assert [bool(step) for step in steps] == [bool(reason) for _, reason in got]
        if any(step < 0 for step in steps):
            assert any(r[0] == intent and r[2] == "comparison" and r[3] for r in records)
        if any(step > 0 for step in steps):
            assert any(r[0] == intent and not r[3] for r in records)


@given(RECORDS, st.lists(st.floats(60, 20 * DAY), min_size=2, max_size=6))
def test_left_alone_a_shift_ends_and_does_not_come_back(records: list[Record], pauses: list[float]) -> None:
    clock = Clock()
    b = book(clock)
    for _, tier, kind, good, weight, _ in records:
        b.record("a", "intent", tier, kind, good, weight)
    up = []
    for pause in pauses:
        clock.now += pause
        up.append(shifted(b, "MEDIUM") == "HIGH")
    assert up == sorted(up, reverse=True)
    clock.now += 400 * DAY
    assert [shifted(b, grade) for grade in GRADES] == GRADES


@given(PIECES, st.floats(0, 50 * DAY), st.floats(0, 50 * DAY))
def test_evidence_only_fades_and_fades_alike_in_one_step_or_two(piece: Evidence, a: float, b: float) -> None:
    sooner = piece.decayed(piece.at + a, RULES.half_life_s)
    later = piece.decayed(piece.at + a + b, RULES.half_life_s)
    assert later.total <= sooner.total <= piece.total
    assert sooner.decayed(piece.at + a + b, RULES.half_life_s).total == pytest.approx(later.total)


def test_after_a_half_life_evidence_counts_half() -> None:
    piece = Evidence.of("check", False, 1.0, at=0)
    assert piece.decayed(RULES.half_life_s, RULES.half_life_s).bad == (0.5, 0.0, 0.0)


@given(st.lists(PIECES, min_size=3, max_size=3))
def test_evidence_adds_up_to_the_same_in_every_order(pieces: list[Evidence]) -> None:
    def total(parts: tuple[Evidence, ...]) -> list[float]:
        both = Evidence()
        for part in parts:
            both = both.plus(part, RULES.half_life_s, cap=1_000)
        return [*both.good, *both.bad, both.at]

    first, *others = [total(order) for order in permutations(pieces)]
    for other in others:
        assert other == pytest.approx(first, rel=1e-9, abs=1e-12)


@given(st.lists(PIECES, max_size=20), st.floats(1, 40))
def test_evidence_never_outgrows_its_cap(pieces: list[Evidence], cap: float) -> None:
    both = Evidence()
    for piece in pieces:
        both = both.plus(piece, RULES.half_life_s, cap)
        assert both.total <= cap * (1 + 1e-9)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 99))
def test_the_probability_is_the_binomial_sum_it_stands_for(good: int, bad: int, percent: int) -> None:
    """For whole counts I_x(1 + g, 1 + b) = P(Binomial(g + b + 1, x) > g) (DLMF 8.17.5)."""
    x = Fraction(percent, 100)
    n = good + bad + 1
    exact = sum(math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(good + 1, n + 1))
    assert probability_below(percent / 100, good, bad) == pytest.approx(float(exact), abs=1e-11)


@given(st.floats(0, 500), st.floats(0, 500), st.floats(0, 1), st.floats(0.01, 100))
def test_the_probability_moves_the_way_the_evidence_points(
    good: float, bad: float, rate: float, more: float
) -> None:
    p = probability_below(rate, good, bad)
    assert -1e-12 <= p <= 1 + 1e-12
    assert probability_below(rate, good, bad + more) >= p - 1e-9
    assert probability_below(rate, good + more, bad) <= p + 1e-9


@pytest.mark.parametrize("bad", [(-0.1, 0, 0), (1.1, 0, 0), (0.5, -1, 0), (0.5, 0, -1), (math.nan, 0, 0)])
def test_a_probability_of_nonsense_is_refused(bad: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="need 0 <= rate"):
        probability_below(*bad)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_that_weighs_nothing_sensible_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        book().record("a", "intent", "LOW", "check", False, weight)


def test_an_unknown_kind_of_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="check, retry, comparison"):
        book().record("a", "intent", "LOW", "gossip", False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rules",
    [
        {"up_below": 0.9, "down_above": 0.8},
        {"up_below": 0.0},
        {"down_above": 1.0},
        {"sure": 0.6},
        {"sure": 1.0},
        {"half_life_s": 0},
        {"cap": -1},
        {"intents": 0},
    ],
)
def test_rules_that_would_shift_without_evidence_are_refused(rules: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(rules))):
        ShiftRules(**rules)  # type: ignore[arg-type]


def test_a_shift_costs_a_request_next_to_nothing() -> None:
    b = book()
    note(b, "check", False, 5)
    best = min(timeit.repeat(lambda: b.shift("a", "intent", "LOW"), number=500, repeat=5)) / 500
    assert best < 20e-6
