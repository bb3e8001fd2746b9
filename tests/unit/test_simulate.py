"""Simulated months: the mix, what is planned from it, own prompts, and the arithmetic of a what-if."""

import argparse
import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.cost import input_estimate
from farthing.grading import grade_lines
from farthing.grading.learned import LearnedGrader
from farthing.settings import CostSettings
from farthing.simulate import SimulationError, default_text, load, plan, prompts, whatif
from farthing.simulate.commands import _change, _count, _fraction, _nodes, _usd
from farthing.simulate.whatif import Line, Month

MIX = load()


def test_what_a_mix_leaves_out_is_as_printed(tmp_path: Path) -> None:
    file = tmp_path / "mix.yaml"
    file.write_text(default_text())
    assert load(file) == MIX
    file.write_text('agents: 7\ndepartments: {"O\'Brien 🚀": {share: 1}}\n')
    own = load(file)
    assert (own.agents, list(own.departments), own.hours) == (7, ["O'Brien 🚀"], MIX.hours)
    assert own.digest != MIX.digest


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("agents: 0", "agents"),
        ("agnets: 5", "agnets"),
        ("hours: [1]", "hours"),
        ("failures: {local: 2, fast: 0}", "failures.local"),
        ("work: {a: {share: 1, grades: {LOW: 1}, input: 1, output: 1, cached: 0}}", "LOW, MEDIUM and HIGH"),
        ("- 1", "mapping"),
        ("a: [", "while parsing"),
    ],
)
def test_a_wrong_mix_is_refused_with_the_place(tmp_path: Path, text: str, where: str) -> None:
    file = tmp_path / "mix.yaml"
    file.write_text(text)
    with pytest.raises(SimulationError, match=where):
        load(file)


def test_departments_and_work_get_their_shares_and_keys_never_repeat() -> None:
    people = plan.agents(MIX)
    assert len(people) == len({agent.key_hash for agent in people}) == 5000
    for name, part in MIX.departments.items():
        assert abs(sum(agent.department == name for agent in people) - 50 * part.share) <= 1
    engineers = [agent for agent in people if agent.department == "engineering"]
    reviewers = sum(agent.work == "code review" for agent in engineers)
    assert 0.30 < reviewers / len(engineers) < 0.40, "work and department are independent"
    assert len({agent.user for agent in engineers}) == 400
    assert {agent.user: agent.department for agent in people}.keys() == {agent.user for agent in people}


@given(st.integers(1, 10**8), st.integers(1, 12))
def test_the_parts_of_a_month_hold_every_request_once(charges: int, month: int) -> None:
    parts = plan.parts(MIX, date(2026, month, 1), charges)
    assert len({part.gateway for part in parts}) == len(parts)
    for day in {part.day for part in parts}:
        ends = [0]
        for part in (one for one in parts if one.day == day):
            assert part.first == ends[-1]
            assert part.requests > 0
            ends.append(part.first + part.requests)
    requests = sum(part.requests for part in parts)
    assert abs(requests * plan.charges_per_request(MIX) - charges) <= plan.charges_per_request(MIX)


def test_prices_come_from_the_book_and_the_mix_and_must_be_known() -> None:
    found = plan.rates(MIX, CostSettings())
    assert found.models == ("qwen3-8b", "gpt-5-mini", "gpt-5", "gpt-5")
    assert found.input == (0, 250_000_000, 1_250_000_000, 1_250_000_000)
    assert found.version.startswith("simulated:litellm-")
    unknown = MIX.model_copy(update={"baseline": "no such model"})
    with pytest.raises(SimulationError, match=r"no such model.*has no price"):
        plan.rates(unknown, CostSettings())


def test_own_prompts_decide_grades_and_input() -> None:
    lines = ['{"prompt": "hi"}', "", '{"prompt": "what is 2 + 2?"}']
    hard = "Prove the four colour theorem for planar graphs in Lean 4, and argue why each lemma is needed."
    lines.append(f'{{"prompt": "{hard}"}}')
    grader = LearnedGrader.load(quality=0.99)
    found = prompts.read(lines, grader)
    told = [json.loads(answer)["grade"] for answer in grade_lines(lines, grader)]
    assert len(set(told)) > 1, "the prompts must differ for the rest to show anything"
    assert found.grades == {grade: told.count(grade) for grade in ("LOW", "MEDIUM", "HIGH")}
    assert found.median_tokens == input_estimate({"prompt": "what is 2 + 2?"})
    mix = prompts.apply(MIX, found)
    assert {work.input for work in mix.work.values()} == {found.median_tokens}
    assert all(work.grades == found.grades for work in mix.work.values())
    with pytest.raises(SimulationError, match="line 2: has none of"):
        prompts.read(['{"prompt": "hi"}', "{}"], grader)


def line(tier: str, model: str, cost: int, **changes: object) -> Line:
    whole = Line(
        tier, model, "inference", "gpt-5", Fraction(10), Fraction(1000), Fraction(100), Fraction(5000), cost,
        cost, 0, 100_000, 0,
    )  # fmt: skip
    return replace(whole, **changes)


OCTOBER = Month(
    (
        line("local", "own", 1000, cost_input=1000),
        line("strong", "gpt-5", 100_001),
        line("fast", "mini", 501),
    ),
    Fraction(744),
    744 * 2_500_000_000,
    744,
)


def test_routing_moves_calls_tokens_and_time_and_loses_nothing() -> None:
    then = whatif.route_to_local(OCTOBER, Fraction(1, 5))
    assert then.calls == OCTOBER.calls
    assert then.baseline == OCTOBER.baseline
    assert then.local_calls == OCTOBER.local_calls + 4
    assert sum(one.input_tokens for one in then.lines) == 3000
    # A local input token cost 1 nano-dollar: 2 x 200 of them; the rest of each line stays, rounded once.
    assert then.models == 1000 + 80_001 + 401 + 2 * 200
    assert then.busy(1) > OCTOBER.busy(1)
    only_fast = whatif.route_to_local(OCTOBER, Fraction(1), ("fast",))
    assert only_fast.models == 1000 + 100_001 + 1000
    with pytest.raises(SimulationError, match="local"):
        whatif.route_to_local(replace(OCTOBER, lines=OCTOBER.lines[1:]), Fraction(1, 5))


def test_a_price_changes_its_calls_and_the_baseline_it_is() -> None:
    then = whatif.change_price(OCTOBER, "gpt-5", Fraction(-30, 100))
    assert then.models == 1000 + 70_001 + 501  # 70 000.7, rounded
    assert then.baseline == 210_000
    assert whatif.change_price(OCTOBER, "mini", Fraction(1)).models == 1000 + 100_001 + 1002
    with pytest.raises(SimulationError, match="'other'"):
        whatif.change_price(OCTOBER, "other", Fraction(1))


def test_nodes_cost_their_hours_and_cannot_be_fewer_than_none() -> None:
    then = whatif.add_nodes(OCTOBER, 2, None)
    assert then.hardware == 3 * OCTOBER.hardware
    assert then.busy(1) == OCTOBER.busy(1) / 3
    assert whatif.add_nodes(OCTOBER, 1, 10**9).hardware == OCTOBER.hardware + 744 * 10**9
    assert whatif.add_nodes(OCTOBER, -1, None).hardware == 0
    with pytest.raises(SimulationError, match="no 2 nodes"):
        whatif.add_nodes(OCTOBER, -2, None)
    with pytest.raises(SimulationError, match="gpu-usd-per-hour"):
        whatif.add_nodes(replace(OCTOBER, node_hours=Fraction(0), hardware=0), 1, None)


def test_arguments_are_exact_numbers() -> None:
    assert _change("azure/gpt-5=-30%") == ("azure/gpt-5", Fraction(-3, 10))
    assert _fraction("0.2") == Fraction(1, 5)
    assert (_count("1e6"), _nodes("+2"), _usd("2.5")) == (10**6, 2, 2_500_000_000)
    for wrong, read in (
        ("gpt-5", _change),
        ("gpt-5=-130%", _change),
        ("1.5", _count),
        ("nan", _usd),
        ("0", _fraction),
    ):
        with pytest.raises(argparse.ArgumentTypeError):
            read(wrong)


def test_the_default_mix_states_a_price_for_hardware() -> None:
    assert plan.nodes(MIX, 10**6) == 1
    assert plan.nodes(MIX, 10**8) == 40
    assert MIX.hardware.usd_per_hour == Decimal("2.50")
