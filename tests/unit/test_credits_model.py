"""Any sequence of grants, holds, settlings, releases and waits gives what plain arithmetic gives."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from farthing.credits import Balance, InsufficientCreditsError, open_store
from tests.unit.credit_backends import BACKENDS, Clock, account

USERS = st.sampled_from(["ana", "ben"])
DEPARTMENTS = st.sampled_from(["research", "sales"])
GRANTS = st.sampled_from(["ring:1", "ring:2", "gift:1"])
HOLDS = st.sampled_from([f"h{number}" for number in range(6)])
AMOUNTS = st.integers(0, 120)


@dataclass
class Held:
    user: str
    amount: int
    expires: float
    state: str = "held"
    settled: int = 0


class CreditMachine(RuleBasedStateMachine):
    """The store beside a model that forgets nothing and adds everything up anew each time."""

    backend = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.runner = asyncio.Runner()
        self.store = open_store(BACKENDS[self.backend](self.folder), clock=self.clock)
        self.grants: dict[str, tuple[str, int]] = {}
        self.holds: dict[str, Held] = {}
        self.departments: dict[str, str] = {}

    def teardown(self) -> None:
        self.totals_agree()
        self.audit()
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def expected(self, user: str) -> Balance:
        live = [hold for hold in self.holds.values() if hold.user == user]
        return Balance(
            user,
            self.departments[user],
            granted=sum(amount for owner, amount in self.grants.values() if owner == user),
            settled=sum(hold.settled for hold in live if hold.state == "settled"),
            held=sum(hold.amount for hold in live if hold.state == "held"),
        )

    def expire(self) -> None:
        for hold in self.holds.values():
            if hold.state == "held" and hold.expires <= self.clock.now:
                hold.state = "expired"

    def belongs_to_another(self, hold_id: str, user: str) -> bool:
        return hold_id in self.holds and self.holds[hold_id].user != user

    @rule(grant_id=GRANTS, user=USERS, department=DEPARTMENTS, amount=AMOUNTS)
    def grant(self, grant_id: str, user: str, department: str, amount: int) -> None:
        self.runner.run(self.store.grant(grant_id, account(user, department), amount))
        self.grants[grant_id] = (user, amount)
        self.departments[user] = department

    @rule(prefix=st.sampled_from(["", "ring:", "gift:", "none"]), keep=st.sets(GRANTS))
    def revoke(self, prefix: str, keep: set[str]) -> None:
        self.runner.run(self.store.revoke_grants(prefix, keep))
        self.grants = {
            name: value for name, value in self.grants.items() if name in keep or not name.startswith(prefix)
        }

    @rule(
        hold_id=HOLDS, user=USERS, department=DEPARTMENTS, amount=AMOUNTS, ttl=st.sampled_from([5, 50, 500])
    )
    def hold(self, hold_id: str, user: str, department: str, amount: int, ttl: int) -> None:
        step = self.store.hold(hold_id, account(user, department), amount, ttl)
        if self.belongs_to_another(hold_id, user):
            with pytest.raises(ValueError, match="belongs to"):
                self.runner.run(step)
            return
        self.departments[user] = department
        if hold_id not in self.holds and amount > 0 and amount > self.expected(user).available:
            with pytest.raises(InsufficientCreditsError) as refused:
                self.runner.run(step)
            assert refused.value.available == self.expected(user).available
            return
        seen = self.runner.run(step)
        self.holds.setdefault(hold_id, Held(user, amount, self.clock.now + ttl))
        assert seen == self.expected(user)

    @rule(hold_id=HOLDS, user=USERS, department=DEPARTMENTS, amount=AMOUNTS)
    def settle(self, hold_id: str, user: str, department: str, amount: int) -> None:
        step = self.store.settle(hold_id, account(user, department), amount)
        if self.belongs_to_another(hold_id, user):
            with pytest.raises(ValueError, match="belongs to"):
                self.runner.run(step)
            return
        seen = self.runner.run(step)
        self.departments[user] = department
        hold = self.holds.setdefault(hold_id, Held(user, 0, self.clock.now))
        if hold.state != "settled":
            hold.state, hold.settled = "settled", amount
        assert seen == self.expected(user)

    @rule(hold_id=HOLDS)
    def release(self, hold_id: str) -> None:
        self.runner.run(self.store.release(hold_id))
        if hold_id in self.holds and self.holds[hold_id].state == "held":
            self.holds[hold_id].state = "released"

    @rule(seconds=st.sampled_from([1, 10, 100]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.expire()

    @rule(user=USERS)
    def look(self, user: str) -> None:
        seen = self.runner.run(self.store.balance(account(user)))
        assert seen == (
            self.expected(user) if user in self.departments else Balance(user, "research", 0, 0, 0)
        )

    @rule()
    def audit(self) -> None:
        assert self.runner.run(self.store.verify()) == []

    # A rule, not an invariant: looking expires holds, and the other steps must do so by themselves too.
    @rule()
    def totals_agree(self) -> None:
        seen = self.runner.run(self.store.balances())
        expected = [self.expected(user) for user in self.departments]
        assert seen == sorted(expected, key=lambda balance: (balance.department, balance.user))


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_the_store_agrees_with_plain_arithmetic(backend):
    machine = type("Machine", (CreditMachine,), {"backend": backend})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
