"""The dial, the floor and the ceiling of a key: within them a task is graded, beyond them nothing goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from farthing.grading import GRADES, Grade
from farthing.proxy.policy import TIERS, Policy, policy_of
from farthing.settings import DepartmentGrading, Grading, Key, Settings
from farthing.telemetry import Account

ADA = Account("a" * 64, "ada", "research", "")
GRACE = Account("b" * 64, "grace", "research", "")

bounds = st.tuples(st.sampled_from(GRADES), st.sampled_from(GRADES)).map(
    lambda pair: sorted(pair, key=GRADES.index)
)


@given(bounds, st.sampled_from(GRADES))
def test_a_grade_ends_up_between_floor_and_ceiling(pair, name):
    floor, ceiling = pair
    bounded = Policy(floor=floor, ceiling=ceiling).bounded(Grade(name, 0.5, "why", "learned"))
    assert GRADES.index(floor) <= GRADES.index(bounded.grade) <= GRADES.index(ceiling)
    assert (bounded.grade == name) == ("by the key's" not in bounded.reason)
    assert (bounded.score, bounded.source) == (0.5, "learned")


@given(bounds)
def test_climbing_goes_up_one_tier_at_a_time_and_never_past_the_ceiling(pair):
    policy = Policy(ceiling=pair[1])
    tier, seen = TIERS[0], [TIERS[0]]
    while tier := policy.next_tier(tier):
        seen.append(tier)
    assert seen == list(TIERS[: GRADES.index(pair[1]) + 1])


def test_a_model_outside_the_tiers_is_no_place_to_climb_from():
    assert Policy().next_tier("other") is None
    assert Policy(ceiling="LOW").allows("other")


def test_departments_turn_the_dial_for_themselves():
    settings = Settings(
        grading=Grading(quality=0.99, departments={"marketing": DepartmentGrading(quality=0.9)})
    )
    marketing = Account("c" * 64, "mo", "marketing", "")
    assert policy_of(ADA, None, settings).quality == 0.99
    assert policy_of(marketing, None, settings).quality == 0.9


def test_users_share_their_memory_only_if_the_department_does():
    alone, together = Settings(), Settings(grading=Grading(scope="department"))
    assert policy_of(ADA, None, alone).scope != policy_of(GRACE, None, alone).scope
    assert policy_of(ADA, None, together).scope == policy_of(GRACE, None, together).scope
    # A user named like a department is still another scope.
    odd = Account("d" * 64, "", "research", "")
    assert policy_of(odd, None, alone).scope != policy_of(ADA, None, together).scope


def test_a_key_may_not_have_its_floor_above_its_ceiling():
    with pytest.raises(ValidationError, match="floor HIGH is above ceiling LOW"):
        Key(sha256="a" * 64, user="ada", department="research", floor="HIGH", ceiling="LOW")
