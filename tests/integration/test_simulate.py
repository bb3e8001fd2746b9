"""Simulated months in a real ledger: what holds of every charge, going on after a stop, what is refused."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from farthing.cost import PriceBook
from farthing.ledger import connect
from farthing.settings import CostSettings, Settings
from farthing.simulate import Mix, SimulationError, load, plan
from farthing.simulate.month import Done, fill, opened
from farthing.telemetry import Usage
from tests.ledger_stack import charge, deliver, embedded_ledger

MONTH = date(2026, 3, 1)
CHARGES = 4000


@dataclass
class Simulated:
    settings: Settings
    client: Any
    mix: Mix
    rates: plan.Rates
    done: Done

    def one(self, sql: str) -> tuple[Any, ...]:
        return tuple(self.client.query(sql).result_rows[0])


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    # Only Mondays are worked on, which saves the test most of a month's days; each takes two parts.
    mix = load().model_copy(update={"agents": 200, "weekdays": [1, 0, 0, 0, 0, 0, 0], "unpriced": 0.02})
    with embedded_ledger(tmp_path_factory.mktemp("simulated")) as settings:
        rates = plan.rates(mix, CostSettings())
        with opened(settings.ledger, "farthing_simulated") as client:
            done = fill(client, mix, rates, MONTH, CHARGES, part_requests=500)
            yield Simulated(settings, client, mix, rates, done)


def test_every_charge_keeps_what_the_ledger_relies_on(simulated: Simulated) -> None:
    whole, unique, sums, days, marked, versions = simulated.one(
        "SELECT count(), uniqExact(id), countIf(cost_total != cost_input + cost_output + cost_cache_read + "
        "cost_cache_write), countIf(day != toDate(started) OR ended < started), "
        "countIf(startsWith(gateway_instance, 'simulated-')), "
        "countIf(startsWith(price_version, 'simulated:')) "
        "FROM charges"
    )
    assert whole == unique == marked == versions == simulated.done.charges
    assert (sums, days) == (0, 0)
    assert abs(whole - CHARGES) < 0.05 * CHARGES
    gateways, gaps = simulated.one(
        "SELECT count(), countIf(low != 1 OR high != n OR kinds != n) FROM (SELECT min(sequence) AS low, "
        "max(sequence) AS high, count() AS n, uniqExact(sequence) AS kinds FROM charges "
        "GROUP BY gateway_instance)"
    )
    assert (gateways, gaps) == (10, 0)
    sessions, broken = simulated.one(
        "SELECT count(), countIf(keys != 1 OR steps != last) FROM (SELECT uniqExact(key_hash) AS keys, "
        "uniqExact(session_step) AS steps, max(session_step) AS last FROM charges GROUP BY day, session_id)"
    )
    assert sessions > 100
    assert broken == 0


def test_money_is_the_gateways_to_the_nano_dollar(simulated: Simulated) -> None:
    book = PriceBook(CostSettings())
    rows = simulated.client.query(
        "SELECT model, tier, input_tokens, output_tokens, cache_read_tokens, "
        "toString(cost_input), toString(cost_output), toString(cost_cache_read), toString(baseline_cost), "
        "kind FROM charges WHERE cost_total IS NOT NULL"
    ).result_rows
    nano = lambda text: int(text.replace(".", "")) * 10 ** (9 - len(text.partition(".")[2]))  # noqa: E731
    baseline_model = book.price("gpt-5")
    seen = set()
    for model, tier, tokens_in, tokens_out, cached, put, out, read, baseline, kind in rows:
        seen.add((tier, kind))
        usage = Usage(tokens_in, tokens_out, cached, 0, 0)
        if tier == "local":
            assert (nano(put), nano(out), nano(read), cached) == (0, 0, 0, 0)
        else:
            cost = book.cost(book.price(model), usage)
            assert (nano(put), nano(out), nano(read)) == (cost.input, cost.output, cost.cache_read)
        if kind == "inference":
            assert nano(baseline) == book.cost(baseline_model, usage).total
        else:
            assert baseline is None
    assert {("local", "failed_attempt"), ("fast", "grading"), ("strong", "inference")} <= seen


def test_a_failed_attempt_is_followed_by_the_next_tier(simulated: Simulated) -> None:
    failed, followed = simulated.one(
        "SELECT countIf(f.kind = 'failed_attempt'), countIf(f.kind = 'failed_attempt' "
        "AND a.climbed_from = f.tier AND (f.tier, a.tier) IN (('local', 'fast'), ('fast', 'strong')) "
        "AND a.started > f.started) FROM charges AS f INNER JOIN charges AS a "
        "ON concat(substring(f.id, 1, length(f.id) - 1), '3') = a.id"
    )
    assert failed == followed > 50


def test_shares_are_near_the_mixs(simulated: Simulated) -> None:
    judged, unpriced, cached, low = simulated.one(
        "SELECT countIf(kind = 'grading') / countIf(kind = 'inference'), "
        "countIf(cost_total IS NULL) / countIf(kind = 'inference' AND tier != 'local'), "
        "countIf(cache_read_tokens > 0 AND (session_step = 1 OR tier = 'local')), "
        "countIf(grade = 'LOW') / count() FROM charges"
    )
    assert 0.02 < judged < 0.045
    assert 0.01 < unpriced < 0.035
    assert cached == 0
    assert 0.45 < low < 0.70
    assert simulated.one(
        "SELECT count() FROM charges WHERE cost_total IS NULL AND baseline_cost IS NOT NULL"
    ) == (0,)


def test_days_are_rolled_and_books_are_set(simulated: Simulated) -> None:
    rolled, cost, raw = simulated.one(
        "SELECT (SELECT count() FROM rolls_in_force WHERE slot = -1), "
        "(SELECT toString(sum(cost_usd)) FROM charges_daily), (SELECT toString(sum(cost_total)) FROM charges)"
    )
    assert rolled == 5
    assert cost == raw == simulated.done.cost_usd
    assert simulated.one("SELECT count(), min(usd_per_hour) FROM hardware_costs FINAL")[0] == 1
    assert simulated.one("SELECT uniqExact(name) FROM budgets FINAL") == (len(simulated.mix.departments),)


def test_an_interrupted_month_goes_on_and_ends_the_same(simulated: Simulated) -> None:
    digest = "SELECT sum(cityHash64(toString(tuple(*)))) FROM charges FINAL"
    before = simulated.one(digest)
    # As if it had been stopped: one part is half there, and not marked as written.
    part = "'simulated-2026-03-02-1'"
    simulated.client.command(f"DELETE FROM charges WHERE gateway_instance = {part} AND sequence % 2 = 0")
    simulated.client.command(f"DELETE FROM simulated_parts WHERE gateway = {part}")
    assert simulated.one(digest) != before
    again = fill(simulated.client, simulated.mix, simulated.rates, MONTH, CHARGES, part_requests=500)
    assert 0 < again.written < 500
    assert simulated.one(digest) == before
    assert (again.charges, again.cost_usd) == (simulated.done.charges, simulated.done.cost_usd)


def test_another_mix_and_real_charges_are_refused(simulated: Simulated) -> None:
    other = simulated.mix.model_copy(update={"seed": 2})
    with pytest.raises(SimulationError, match="--force"):
        fill(simulated.client, other, simulated.rates, MONTH, CHARGES)
    deliver(simulated.settings, [charge(1)])
    with opened(simulated.settings.ledger, "farthing") as client:
        with pytest.raises(SimulationError, match="holds real charges"):
            fill(client, simulated.mix, simulated.rates, MONTH, 10, again=True)
        assert client.query("SELECT count() FROM charges").result_rows == [(1,)]
    client = connect(simulated.settings.ledger)
    assert client.query("SELECT sum(calls) FROM charges_daily").result_rows == [(1,)], (
        "the real ledger sees its own"
    )
    client.close()


def test_the_command_writes_into_a_stopped_ledger_and_asks_what_if(tmp_path: Path) -> None:
    mix = tmp_path / "mix.yaml"
    mix.write_text("weekdays: [1, 0, 0, 0, 0, 0, 0]\nagents: 50\n")

    def farthing(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-c",
            "import sys; from farthing.cli import main; sys.exit(main())",
            "simulate",
            *map(str, arguments),
        ]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)

    month = ("--month", "2026-03", "--folder", tmp_path / "ledger")
    made = farthing("--charges", 600, "--mix", mix, *month)
    assert made.returncode == 0, made.stderr
    assert "simulated charges of 50 agents" in made.stdout
    assert "none was measured" in made.stdout
    asked = farthing(
        "what-if", *month, "--route-to-local", "1", "--price-change", "gpt-5=-50%", "--format", "json"
    )
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)
    models = found["usd"]["models"]
    assert models["now"] > models["then"], "gradings and failed attempts still run on the fast tier"
    assert found["shares"]["calls on the local tier"]["then"] > 0.9
    assert any("nothing is said about how good" in line for line in found["assumptions"])
    nowhere = farthing("what-if", "--month", "2026-03", "--folder", tmp_path / "none", "--gpus", "1")
    assert (nowhere.returncode, (tmp_path / "none").exists()) == (1, False)
    refused = farthing("--charges", 700, "--mix", mix, *month)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
