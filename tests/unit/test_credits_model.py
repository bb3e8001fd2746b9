"""Any sequence of steps gives, on every backend at once, what plain arithmetic gives."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from farthing.credits import CreditStore, InsufficientCreditsError, open_store
from farthing.credits.roll_forward import roll_forward
from farthing.credits.store import MARKS, CallNote, Payer, RunCaps, Standing
from tests.unit.credit_backends import BACKENDS, Clock, payer
from tests.unit.credit_model import NEVER, Bank, Hold, Run, following, month_of

DAY = 86_400
ACCOUNTS = ["organisation:", "department:research", "department:sales", "user:ana", "user:ben", "key:ana-key"]
SHARED = st.sampled_from([account for account in ACCOUNTS if not account.startswith("user:")])
ACCOUNT = st.sampled_from(ACCOUNTS)
PAYERS = st.builds(
    lambda who, session: payer(*who, session=session),
    st.sampled_from([("ana", "research"), ("ana", "research"), ("ana", "sales"), ("ben", "sales")]),
    st.sampled_from(["", "s1", "s2"]),
)
GRANTS = st.sampled_from(["ring:1", "ring:2", "gift:1"])
HOLDS = st.sampled_from([f"h{number}" for number in range(6)])
AMOUNTS = st.integers(0, 120)
LEASES = st.sampled_from([50, 5000, 10 * DAY, 60 * DAY])
CAPS = st.none() | st.integers(0, 150)
STEPS = st.none() | st.integers(0, 4)
IDLE_S = 500


class CreditMachine(RuleBasedStateMachine):
    """All stores side by side, driven in step with the bank that adds everything up by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.runner = asyncio.Runner()
        self.stores = [open_store(BACKENDS[name](self.folder), clock=self.clock) for name in sorted(BACKENDS)]
        self.bank = Bank()
        self.earliest = self.latest = self.clock.now
        self.generation = 0

    def teardown(self) -> None:
        try:
            self.everything_agrees()
        finally:
            for store in self.stores:
                self.runner.run(store.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    def all(self, step: Callable[[CreditStore], Coroutine[Any, Any, Any]]) -> Any:
        """Do a step on every store and return their one answer."""
        self.bank.live_until(int(self.clock.now * 1000))
        first, *others = [self.runner.run(step(store)) for store in self.stores]
        for other in others:
            assert other == first
        return first

    def refused(self, step: Callable[[CreditStore], Coroutine[Any, Any, Any]], error: type[Exception]) -> Any:
        self.bank.live_until(int(self.clock.now * 1000))
        found = []
        for store in self.stores:
            with pytest.raises(error) as caught:
                self.runner.run(step(store))
            found.append(caught.value)
        return found[0]

    # What accounts are given

    @rule(grant_id=GRANTS, account=ACCOUNT, amount=AMOUNTS, days=st.none() | st.integers(-2, 40))
    def grant(self, grant_id: str, account: str, amount: int, days: int | None) -> None:
        ends = None if days is None else int(self.clock.now * 1000) + days * DAY * 1000
        self.all(lambda store: store.grant(grant_id, account, amount, expires_ms=ends))
        self.bank.grant(grant_id, account, amount, NEVER if ends is None else ends)

    @rule(prefix=st.sampled_from(["", "ring:", "gift:", "none"]), keep=st.sets(GRANTS))
    def revoke(self, prefix: str, keep: set[str]) -> None:
        self.all(lambda store: store.revoke_grants(prefix, keep))
        for grant_id in [name for name in self.bank.grants if name.startswith(prefix) and name not in keep]:
            self.bank.withdraw(grant_id)

    @rule(account=ACCOUNT, monthly=st.none() | AMOUNTS, roll_over=st.none() | st.integers(0, 80))
    def plan(self, account: str, monthly: int | None, roll_over: int | None) -> None:
        self.all(lambda store: store.plan(account, monthly, roll_over))
        self.bank.purse(account).plan(monthly, roll_over, self.bank.now)

    @rule(account=SHARED)
    def unlimit(self, account: str) -> None:
        self.all(lambda store: store.unlimit(account))
        self.bank.unlimit(account)

    # Spending

    def hold_of(self, hold_id: str) -> tuple[str, Hold | None]:
        hold_id = f"{self.generation}:{hold_id}"
        return hold_id, self.bank.holds.get(hold_id)

    def standing_is(self, seen: Standing, who: Payer) -> None:
        left = self.bank.left(who.chain, who.session_id)
        assert seen.available == min(left.values())
        assert left[seen.short] == seen.available
        balance, purse = seen.balance, self.bank.purse(who.user_id)
        assert (balance.granted, balance.expired, balance.settled, balance.held, balance.overdraft) == (
            *(purse.granted, purse.expired, purse.settled, purse.held, purse.overdraft),
        )

    @rule(hold_id=HOLDS, who=PAYERS, amount=AMOUNTS, lease=LEASES)
    def hold(self, hold_id: str, who: Payer, amount: int, lease: int) -> None:
        hold_id, known = self.hold_of(hold_id)

        def step(store: CreditStore) -> Coroutine[Any, Any, Standing]:
            return store.hold(hold_id, who, amount, lease)

        if known and known.user not in ("", who.account.user):
            self.refused(step, ValueError)
            return
        self.bank.live_until(int(self.clock.now * 1000))
        if not known:
            expires = self.bank.now + lease * 1000
            hold = Hold(who.account.user, who.chain, who.session_id, amount, expires)
            if not self.bank.reserve(hold):
                self.standing_is(self.refused(step, InsufficientCreditsError).standing, who)
                return
            self.bank.holds[hold_id] = hold
        self.standing_is(self.all(step), who)

    @rule(hold_id=HOLDS, who=PAYERS, amount=AMOUNTS, tier=st.sampled_from(["local", "strong"]))
    def settle(self, hold_id: str, who: Payer, amount: int, tier: str) -> None:
        hold_id, known = self.hold_of(hold_id)

        def step(store: CreditStore) -> Coroutine[Any, Any, Any]:
            return store.settle(hold_id, who, amount, CallNote(tier))

        if known and known.user not in ("", who.account.user):
            self.refused(step, ValueError)
            return
        seen = self.all(step)
        if known is None or not known.user:
            known = self.bank.holds[hold_id] = Hold(who.account.user, who.chain, who.session_id, 0, 0, "lost")
        again = known.state == "settled"
        overdraft = 0 if again else self.bank.settle(known, amount)
        assert (seen.again, seen.overdraft) == (again, overdraft)
        self.standing_is(seen.standing, who)

    @rule(hold_id=HOLDS)
    def release(self, hold_id: str) -> None:
        hold_id, known = self.hold_of(hold_id)
        self.all(lambda store: store.release(hold_id))
        if known is None:
            self.bank.holds[hold_id] = Hold("", (), "", 0, 0, "released")
        elif known.state == "held":
            self.bank.end(known, "released")

    @rule(hold_ids=st.lists(HOLDS, min_size=1, max_size=3, unique=True), lease=LEASES)
    def renew(self, hold_ids: list[str], lease: int) -> None:
        named = [self.hold_of(hold_id) for hold_id in hold_ids]
        self.all(lambda store: store.renew([hold_id for hold_id, _ in named], lease))
        for _, hold in named:
            if hold and (hold.state == "held" or (hold.state == "expired" and self.bank.reserve(hold))):
                hold.expires = self.bank.now + lease * 1000

    # Sessions

    @rule(who=PAYERS, steps=STEPS, cost=CAPS, mark=st.sampled_from(["a", "b"]))
    def enter(self, who: Payer, steps: int | None, cost: int | None, mark: str) -> None:
        if not who.session_id:
            return
        seen = self.all(lambda store: store.enter(who, RunCaps(IDLE_S, steps, cost), mark))
        run = self.bank.runs.get(who.session_id)
        if run is None or self.bank.now - run.last >= IDLE_S * 1000:
            run = self.bank.runs[who.session_id] = Run(self.bank.now, self.bank.now, steps, cost)
        run.last = max(run.last, self.bank.now)
        entered = not run.stopped_by and (run.max_steps is None or run.steps < run.max_steps)
        if entered:
            run.steps += 1
            run.marks = (*run.marks, mark)[-MARKS:]
        assert seen.entered == entered
        self.run_is(seen)

    def run_is(self, seen: Any) -> None:
        run = self.bank.runs[seen.session_id]
        assert seen.held == self.bank.held_by(seen.session_id)
        assert {
            name: getattr(seen, name) for name in ("steps", "settled", "max_steps", "max_cost", "marks")
        } == {name: getattr(run, name) for name in ("steps", "settled", "max_steps", "max_cost", "marks")}
        assert (seen.started_ms, seen.last_ms, seen.stopped_by) == (run.started, run.last, run.stopped_by)

    @rule(session=st.sampled_from(["s1", "s2"]), steps=STEPS, cost=CAPS)
    def cap_run(self, session: str, steps: int | None, cost: int | None) -> None:
        seen = self.all(lambda store: store.cap_run(session, steps=steps, cost=cost, actor="root"))
        if run := self.bank.runs.get(session):
            run.max_steps, run.max_cost, run.stopped_by = steps, cost, ""
            self.run_is(seen)
        else:
            assert seen is None

    @rule(session=st.sampled_from(["s1", "s2"]))
    def stop_run(self, session: str) -> None:
        seen = self.all(lambda store: store.stop_run(session, actor="root"))
        if run := self.bank.runs.get(session):
            run.stopped_by = "root"
            self.run_is(seen)
        else:
            assert seen is None

    # Time

    @rule(seconds=st.sampled_from([1, 100, 5000, 3 * DAY, 20 * DAY, 40 * DAY]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.latest = max(self.latest, self.clock.now)

    @rule(seconds=st.sampled_from([100, 5000, 20 * DAY]))
    def jump_back(self, seconds: int) -> None:
        for number, who in enumerate((payer("ana"), payer("ana", "sales"), payer("ben", "sales"))):
            # all accounts are brought to the present, before the clock is set back
            touch = f"touch:{self.clock.now}:{number}:{self.generation}"
            self.all(lambda store, touch=touch, who=who: store.hold(touch, who, 0, 1))
            self.bank.holds.setdefault(touch, Hold(who.account.user, who.chain, "", 0, self.bank.now + 1000))
        self.clock.now -= seconds
        self.earliest = min(self.earliest, self.clock.now)

    @rule()
    def prune(self) -> None:
        """Forget what has ended, now that everybody has been brought to the present."""
        self.everything_agrees()
        self.clock.now += 4000
        self.latest = max(self.latest, self.clock.now)
        self.everything_agrees()
        before = int(self.clock.now * 1000) - 2000
        quiet = [name for name, run in self.bank.runs.items() if run.last < before]
        if any(hold.state == "held" for hold in self.bank.holds.values()):
            return
        for store in self.stores:
            self.runner.run(store.prune(before))
        for name in quiet:
            del self.bank.runs[name]
        self.bank.holds.clear()
        self.generation += 1

    # What must hold

    @rule(who=PAYERS)
    def look(self, who: Payer) -> None:
        self.standing_is(self.all(lambda store: store.standing(who)), who)

    # A rule, not an invariant: looking expires what is over, and the other steps must do so themselves too.
    @rule()
    def everything_agrees(self) -> None:
        seen = {balance.account: balance for balance in self.all(lambda store: store.balances())}
        for account, purse in self.bank.purses.items():
            balance = seen.pop(account, None)
            if balance is None:
                assert purse == type(purse)(purse.limited)
                continue
            assert (balance.limited, balance.monthly) == (purse.limited, purse.monthly)
            assert (balance.granted, balance.expired, balance.settled, balance.held, balance.overdraft) == (
                *(purse.granted, purse.expired, purse.settled, purse.held, purse.overdraft),
            )
            if purse.limited:
                assert balance.available == purse.available
                if not purse.taken_back and not balance.overdraft:
                    assert balance.settled + balance.held <= balance.granted - balance.expired
        assert all(not (balance.settled or balance.held or balance.granted) for balance in seen.values())
        for run in self.all(lambda store: store.runs(since_ms=0)):
            self.run_is(run)
        assert self.all(lambda store: store.verify()) == []

    @rule(account=ACCOUNT)
    def spending_adds_up(self, account: str) -> None:
        days = self.all(lambda store: in_order(store, account))
        purse = self.bank.purse(account)
        assert sum(day[2] for day in days) == purse.settled
        assert sum(day[3] for day in days) == purse.overdraft

    @rule()
    def every_month_rolls_forward(self) -> None:
        self.everything_agrees()
        month, last = (month_of(int(at * 1000)) for at in (self.earliest, self.latest))
        closing: dict[str, int] = {}
        while month <= last:
            for roll in self.all(lambda store, month=month: roll_forward(store, month)):
                assert roll.opening == closing.get(roll.account, 0)
                closing[roll.account] = roll.closing
            month = following(month)
        limited = {account: purse for account, purse in self.bank.purses.items() if purse.limited}
        for account, purse in limited.items():
            assert closing.get(account, 0) == purse.left


async def in_order(store: CreditStore, account: str) -> list[tuple[str, str, int, int, int]]:
    days = await store.spending(account, "2000-01-01", "2100-01-01")
    return sorted((day.day, day.tier, day.settled, day.overdraft, day.calls) for day in days)


def test_the_stores_agree_with_plain_arithmetic_and_each_other():
    run_state_machine_as_test(
        CreditMachine,
        settings=settings(
            max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
