"""Any sequence of what may happen to an account keeps it in order."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from farthing.credits.account import State
from farthing.credits.calendar import Calendar

CALENDAR = Calendar("Europe/Berlin")


def at(text: str):
    return CALENDAR.at(round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000))


NOV = at("2026-11-10")

AMOUNTS = st.integers(0, 120)
GRANTS = st.sampled_from(["a", "b", "c"])
HOURS = st.sampled_from([1, 24, 24 * 9, 24 * 33, 24 * 100])


class AccountMachine(RuleBasedStateMachine):
    """One account as a store drives it, beside the list of all that ever happened to it."""

    def __init__(self) -> None:
        super().__init__()
        self.account = State("user:ada")
        self.now = NOV
        self.lines = []
        self.settled: list[tuple[str, int]] = []
        self.live: list[int] = []
        self.given: dict[str, tuple[int, int | None]] = {}
        self.strict = True  # nothing was taken back, and nothing spent that no hold covered
        self.plan_ended = False

    def step(self, lines) -> None:
        self.lines += lines

    def advance(self) -> None:
        self.step(self.account.advance(self.now))

    @rule(hours=HOURS, backwards=st.booleans())
    def wait(self, hours: int, backwards: bool) -> None:
        ms = hours * 3_600_000
        self.now = CALENDAR.at(self.now.ms - min(ms, 864_000_000) if backwards else self.now.ms + ms)

    @rule(grant_id=GRANTS, amount=AMOUNTS, days=st.none() | st.integers(-5, 40))
    def grant(self, grant_id: str, amount: int, days: int | None) -> None:
        self.advance()
        self.step(self.account.limit(self.now))
        expires = None if days is None else self.now.ms + days * 86_400_000
        before, _ = self.given.get(grant_id, (0, None))
        self.strict = self.strict and amount >= before
        self.step(self.account.grant(grant_id, amount - before, expires, self.now))
        self.given[grant_id] = (amount, expires)

    @rule(grant_id=GRANTS)
    def revoke(self, grant_id: str) -> None:
        self.advance()
        amount, expires = self.given.pop(grant_id, (0, None))
        over = expires is not None and expires <= self.now.ms
        before = self.account.available
        self.strict = self.strict and (over or not amount)
        self.step(self.account.grant(grant_id, -amount, expires, self.now))
        if over:
            self.advance()
            assert self.account.available >= min(before, 0), "an expired grant was taken from the others"

    @rule(monthly=AMOUNTS, roll_over=st.none() | st.integers(0, 80))
    def plan(self, monthly: int, roll_over: int | None) -> None:
        self.advance()
        self.strict = self.strict and monthly >= (self.account.monthly or 0)
        self.plan_ended = self.plan_ended or monthly == 0
        self.step(self.account.plan(monthly, roll_over, self.now))
        before = (self.account.granted, [replace(lot) for lot in self.account.lots], self.account.warned)
        assert self.account.plan(monthly, roll_over, self.now) == []
        assert (self.account.granted, self.account.lots, self.account.warned) == before

    @rule()
    def end_plan(self) -> None:
        self.advance()
        self.strict = self.strict and self.account.monthly is None
        self.step(self.account.plan(None, 0, self.now))
        self.plan_ended = True

    @precondition(lambda self: self.account.limited)
    @rule()
    def unlimit(self) -> None:
        self.advance()
        self.account.unlimit()
        self.given.clear()
        self.plan_ended = True

    @rule(amount=AMOUNTS)
    def hold(self, amount: int) -> None:
        self.advance()
        if self.account.fits(amount):
            self.account.held += amount
            self.live.append(amount)

    @precondition(lambda self: self.live)
    @rule(share=st.integers(0, 4))
    def settle(self, share: int) -> None:
        self.advance()
        reserved = self.live.pop()
        self.settle_real(reserved, reserved * share // 4)

    @rule(amount=AMOUNTS)
    def settle_late(self, amount: int) -> None:
        self.advance()
        self.strict = self.strict and (not amount or not self.account.limited)
        self.settle_real(0, amount)

    def settle_real(self, reserved: int, amount: int) -> None:
        self.account.settle(reserved, amount, max(0, amount - reserved))
        self.settled.append((self.now.month, amount))

    @precondition(lambda self: self.live)
    @rule()
    def release(self) -> None:
        self.advance()
        self.account.held -= self.live.pop(0)

    @invariant()
    def lots_are_what_is_left(self) -> None:
        account = self.account
        rest = account.granted - account.expired - account.settled
        assert sum(lot.remaining for lot in account.lots) == (max(0, rest) if account.limited else 0)
        assert all(lot.remaining >= 0 for lot in account.lots)
        assert len({lot.grant_id for lot in account.lots}) == len(account.lots)

    @invariant()
    def lines_and_settlements_make_the_totals(self) -> None:
        account = self.account
        assert account.granted == sum(line.amount for line in self.lines if line.kind != "expire")
        assert account.expired == -sum(line.amount for line in self.lines if line.kind == "expire")
        assert account.settled == sum(amount for _, amount in self.settled)
        assert account.held == sum(self.live)

    @invariant()
    def who_took_nothing_back_and_covered_all_is_never_short(self) -> None:
        if self.account.limited and self.strict:
            assert self.account.available >= 0

    @invariant()
    def every_month_rolls_forward(self) -> None:
        months = sorted({line.month for line in self.lines} | {month for month, _ in self.settled})
        closing = 0
        for month in months:
            closing += sum(line.amount for line in self.lines if line.month == month)
            closing -= sum(amount for at, amount in self.settled if at == month)
        assert closing == self.account.available + self.account.held

    @invariant()
    def a_month_is_given_once(self) -> None:
        months = [line.month for line in self.lines if line.ref == "monthly" and line.kind == "grant"]
        if not self.plan_ended:
            assert months == sorted(set(months))

    @rule()
    def everything_ends(self) -> None:
        """Once nothing is held, what is over is gone at the next step."""
        self.advance()
        if not self.live:
            for lot in self.account.lots:
                over = lot.expires_ms is not None and lot.expires_ms <= self.now.ms
                assert not over or lot.grant_id == "monthly"


def test_any_sequence_keeps_the_account_in_order():
    run_state_machine_as_test(
        AccountMachine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )
