"""The arithmetic of one account: stories first, then any sequence of them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.credits.account import Lot, State
from farthing.credits.calendar import Calendar

CALENDAR = Calendar("Europe/Berlin")


def at(text: str):
    return CALENDAR.at(round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000))


NOV, LATE_NOV, DEC, MID_DEC, JAN = (
    at(day) for day in ("2026-11-10", "2026-11-30T22:00", "2026-12-02", "2026-12-15", "2027-01-03")
)


def spend(account: State, amount: int) -> None:
    account.settle(0, amount, 0)


def left(account: State) -> list[Lot]:
    return [lot for lot in account.lots if lot.remaining]


def money(lines):
    return [(line.kind, line.amount, line.month, line.ref) for line in lines]


def monthly(allowance: int, roll_over: int | None = 0) -> State:
    account = State("user:ada")
    account.plan(allowance, roll_over, NOV)
    return account


# Grants


def test_what_expires_first_is_spent_first():
    account = State("user:ada")
    account.limit(NOV)
    account.grant("for-ever", 100, None, NOV)
    account.grant("december", 100, MID_DEC.ms, NOV)
    account.grant("november", 100, LATE_NOV.ms, NOV)
    spend(account, 150)
    assert left(account) == [Lot("december", 50, MID_DEC.ms), Lot("for-ever", 100)]


def test_what_is_left_of_a_grant_expires_with_it():
    account = State("user:ada")
    account.limit(NOV)
    account.grant("gift", 100, LATE_NOV.ms, NOV)
    account.grant("rest", 10, None, NOV)
    spend(account, 30)
    assert account.advance(at("2026-11-30T21:59:59")) == []
    assert money(account.advance(LATE_NOV)) == [("expire", -70, "2026-11", "gift")]
    assert (account.available, account.expired, account.due_ms) == (10, 70, None)


def test_money_under_way_outlives_its_expiry_until_its_call_has_ended():
    account = State("user:ada")
    account.limit(NOV)
    account.grant("gift", 100, LATE_NOV.ms, NOV)
    account.held = 60
    assert money(account.advance(DEC)) == [("expire", -40, "2026-12", "gift")]
    assert account.available == 0
    account.settle(60, 25, 0)
    assert money(account.advance(DEC)) == [("expire", -35, "2026-12", "gift")]
    assert (account.granted, account.settled, account.expired, left(account)) == (100, 25, 75, [])


def test_an_expiring_grant_does_not_wait_for_calls_that_others_can_pay():
    account = State("user:ada")
    account.limit(NOV)
    account.grant("gift", 100, LATE_NOV.ms, NOV)
    account.grant("rest", 60, None, NOV)
    account.held = 60
    account.advance(DEC)
    assert (account.available, left(account)) == (0, [Lot("rest", 60)])


def test_a_lowered_grant_takes_from_its_own_money_and_then_from_the_rest():
    account = State("user:ada")
    account.limit(NOV)
    account.grant("a", 100, LATE_NOV.ms, NOV)
    account.grant("b", 100, None, NOV)
    spend(account, 80)
    assert money(account.grant("a", -50, LATE_NOV.ms, NOV)) == [("adjust", -50, "2026-11", "a")]
    assert left(account) == [Lot("b", 70)]
    account.grant("b", -100, None, NOV)
    assert account.available == -30
    account.grant("c", 50, None, NOV)  # a debt is paid first
    assert (account.available, left(account)) == (20, [Lot("c", 20)])


def test_a_grant_that_is_over_cannot_be_taken_back_a_second_time():
    account = State("user:ada")
    account.limit(NOV)
    account.grant("gift", 100, LATE_NOV.ms, NOV)
    account.grant("rest", 100, None, NOV)
    spend(account, 40)
    account.advance(DEC)
    assert account.grant("gift", -100, LATE_NOV.ms, DEC) == []
    assert account.available == 100


def test_a_grant_may_get_more_time_before_it_is_over():
    account = State("user:ada")
    account.limit(NOV)
    account.grant("gift", 100, LATE_NOV.ms, NOV)
    assert account.grant("gift", 0, MID_DEC.ms, NOV) == []
    assert account.advance(DEC) == []
    assert account.available == 100
    account.grant("gift", 0, None, DEC)
    assert account.advance(JAN) == []
    assert account.available == 100


@pytest.mark.parametrize("grant_id", ["monthly", "opening", "monthly:2026-11", "opening:x"])
def test_a_grant_cannot_take_the_name_of_the_accounts_own_lots(grant_id):
    account = monthly(100)
    with pytest.raises(ValueError, match="account's own"):
        account.grant(grant_id, 100, None, NOV)
    assert account.available == 100


# Months


def test_an_allowance_ends_with_its_month_but_for_what_rolls_over():
    account = monthly(100, roll_over=30)
    spend(account, 20)
    assert money(account.advance(DEC)) == [
        ("expire", -50, "2026-11", "monthly"),
        ("grant", 100, "2026-12", "monthly"),
    ]
    assert (account.available, account.month) == (130, "2026-12")


def test_a_month_begins_by_the_clock_of_the_time_zone():
    account = monthly(100)
    spend(account, 100)
    assert account.advance(at("2026-11-30T22:59:59")) == []
    account.advance(at("2026-11-30T23:00"))  # midnight in Berlin
    assert account.available == 100


def test_months_that_nobody_saw_begin_one_after_another():
    account = monthly(100, roll_over=None)
    spend(account, 10)
    lines = account.advance(at("2027-02-01"))
    assert [line.month for line in lines if line.kind == "grant"] == ["2026-12", "2027-01", "2027-02"]
    assert account.available == 390
    capped = monthly(100, roll_over=30)
    capped.advance(at("2027-02-01"))
    assert (capped.available, capped.granted, capped.expired) == (130, 400, 270)


def test_a_clock_that_was_set_back_begins_no_month_twice():
    account = monthly(100)
    account.advance(DEC)
    spend(account, 100)
    for moment in (NOV, DEC, LATE_NOV, MID_DEC):
        assert account.advance(moment) == []
        account.plan(100, 0, moment)
        assert account.available == 0
    account.advance(JAN)
    assert account.available == 100


def test_a_debt_is_paid_from_the_next_month():
    account = monthly(100)
    spend(account, 130)
    account.advance(DEC)
    assert (account.available, left(account)) == (70, [Lot("monthly", 70, DEC.month_ends_ms)])


def test_a_call_held_over_midnight_does_not_roll_its_money_over():
    account = monthly(100)
    account.held = 80
    for _ in range(2):
        account.advance(DEC)
        assert account.available == 20, "the new month pays it"
    account.settle(80, 5, 0)
    account.advance(DEC)
    assert (account.available, account.expired) == (95, 100)


def test_a_call_held_over_midnight_keeps_what_the_new_month_cannot_pay():
    account = monthly(100)
    account.held = 80
    account.plan(30, 0, NOV)  # lowered under the call
    account.advance(DEC)
    assert (account.available, account.expired) == (-20, 0)
    account.settle(80, 10, 0)
    account.advance(DEC)
    assert (account.available, account.expired) == (30, 20)


def test_a_changed_allowance_counts_for_the_whole_month():
    account = monthly(100)
    spend(account, 60)
    assert money(account.plan(150, 0, NOV)) == [("adjust", 50, "2026-11", "monthly")]
    assert account.available == 90
    account.plan(40, 0, NOV)
    assert account.available == -20
    account.plan(40, 0, NOV)
    assert account.available == -20
    account.advance(DEC)
    assert account.available == 20  # 40, less the debt


def test_an_allowance_that_is_taken_and_given_again_is_given_once():
    account = monthly(100)
    spend(account, 60)
    account.plan(None, 0, NOV)
    assert account.available == -60
    account.plan(100, 0, NOV)
    assert account.available == 40


def test_what_rolled_over_ends_with_the_month_in_which_the_allowance_ended():
    account = monthly(100, roll_over=30)
    account.advance(DEC)
    account.plan(None, 0, DEC)
    assert account.available == 30
    account.advance(JAN)
    assert (account.available, account.due_ms) == (0, None)


def test_grants_stand_beside_the_allowance():
    account = monthly(100)
    account.grant("gift", 500, None, NOV)
    spend(account, 150)
    account.advance(DEC)
    assert account.available == 550


# Limits


def test_an_account_without_limit_only_counts():
    account = State("department:research")
    spend(account, 70)
    assert account.fits(10**18)
    assert (account.settled, left(account), account.crossed((50,))) == (70, [], [])


def test_a_limit_starts_with_nothing_whatever_was_spent_before():
    account = State("department:research")
    spend(account, 70)
    account.held = 20
    assert money(account.limit(NOV)) == [("opening", 90, "2026-11", "opening")]
    assert (account.available, account.fits(0), account.fits(1)) == (0, True, False)
    assert account.limit(NOV) == []
    account.settle(20, 5, 0)
    account.advance(NOV)
    assert account.available == 0, "what a call did not use was no grant"


def test_what_is_under_way_is_paid_by_the_new_allowance_if_that_can():
    account = State("department:research")
    account.held = 20
    account.plan(100, 0, NOV)
    account.advance(NOV)
    assert account.available == 80


def test_a_limit_can_be_lifted_and_set_again():
    account = monthly(100)
    spend(account, 10)
    account.unlimit()
    assert (left(account), account.due_ms, account.fits(10**18)) == ([], None, True)
    spend(account, 500)
    account.plan(100, 0, NOV)
    assert account.available == 100


# Thresholds


def test_a_threshold_is_told_of_once_in_its_period():
    account = monthly(100)
    told = []
    for _ in range(10):
        spend(account, 10)
        told += [(crossing.threshold, crossing.spent) for crossing in account.crossed((50, 80, 95))]
    assert told == [(50, 50), (80, 80), (95, 100)]
    account.advance(DEC)
    spend(account, 85)
    (crossing,) = account.crossed((50, 80, 95))  # the highest alone
    assert (crossing.account, crossing.threshold, crossing.spent, crossing.total) == ("user:ada", 80, 85, 100)


def test_what_rolled_over_counts_in_what_may_be_spent():
    account = monthly(100, roll_over=100)
    account.advance(DEC)
    spend(account, 90)
    assert account.crossed((50, 80)) == []
    spend(account, 10)
    assert [crossing.total for crossing in account.crossed((50, 80))] == [200]


def test_who_is_given_more_is_told_again():
    account = State("user:ada")
    account.limit(NOV)
    account.grant("a", 100, None, NOV)
    spend(account, 90)
    assert [crossing.threshold for crossing in account.crossed((50, 80))] == [80]
    account.grant("b", 10, None, NOV)  # 81 %: still beyond
    assert account.crossed((50, 80)) == []
    account.grant("c", 100, None, NOV)  # 42 %
    spend(account, 20)
    assert [crossing.threshold for crossing in account.crossed((50, 80))] == [50]


def test_spending_beyond_everything_reaches_every_threshold():
    account = State("user:ada")
    account.limit(NOV)
    spend(account, 5)
    assert [crossing.threshold for crossing in account.crossed((50, 80, 95))] == [95]


@settings(max_examples=200)
@given(
    granted=st.integers(1, 500),
    amounts=st.lists(st.integers(0, 120), max_size=30),
    thresholds=st.lists(st.integers(1, 100), min_size=1, max_size=4, unique=True),
)
def test_thresholds_are_told_once_and_never_early(granted, amounts, thresholds):
    account = monthly(granted)
    told: list[int] = []
    for amount in amounts:
        spend(account, amount)
        for crossing in account.crossed(thresholds):
            assert crossing.spent * 100 >= crossing.threshold * crossing.total
            told.append(crossing.threshold)
        reached = [
            mark for mark in thresholds if account.settled * 100 >= mark * max(granted, account.settled)
        ]
        assert max(told, default=0) == max(reached if account.settled else [], default=0)
    assert told == sorted(set(told))
