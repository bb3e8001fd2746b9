"""Questions whose answer is a method, not a sum: forecasts, what is out of the ordinary, shared hardware."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from tests import ledger_seed
from tests.integration.statements.by_hand import cost_of, cut, divided, grouped, in_month, total
from tests.integration.statements.conftest import Seeded
from tests.ledger_seed import WILD_DAY, WILD_DEPARTMENT, Row

AFTER = date(2026, 12, 1)
NANO = 10**9


def _places(rows: list[Row]) -> dict[tuple[str, str], dict[date, Decimal]]:
    found: dict[tuple[str, str], dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in rows:
        for place in (("organisation", ""), ("department", row["department"]), ("user", row["user"])):
            found[place][row["day"]] += row["cost_total"] or 0
    return found


def _ahead(costs: dict[date, Decimal], today: date, end: date) -> tuple[str, Decimal]:
    """Return how the rest of a month is forecast, and what it adds."""
    near = [day for day in costs if today - timedelta(91) <= day < end]
    began = max(min([*near, today]), today - timedelta(28))
    days = [began + timedelta(at) for at in range((today - began).days)]
    average = divided(sum((costs.get(day, Decimal(0)) for day in days), Decimal(0)), max(len(days), 1))
    ahead = Decimal(0)
    for at in range((end - today).days):
        day = today + timedelta(at)
        usual = average
        if len(days) >= 14:
            same = [one for one in days if one.weekday() == day.weekday()]
            usual = divided(sum((costs.get(one, Decimal(0)) for one in same), Decimal(0)), max(len(same), 1))
        ahead += max(usual - costs.get(day, Decimal(0)), Decimal(0))
    return ("weekday" if len(days) >= 14 else "average"), ahead


@pytest.mark.parametrize(
    ("month", "as_of"),
    [
        ("2026-11", date(2026, 11, 21)), ("2026-11", date(2026, 11, 1)), ("2026-11", AFTER),
        # The ledger's first charge is of 1 September: too few days to know weekdays.
        ("2026-09", date(2026, 9, 8)),
    ],
)  # fmt: skip
def test_budget_actual_and_forecast(seeded: Seeded, month: str, as_of: date) -> None:
    first = date.fromisoformat(f"{month}-01")
    end = (first + timedelta(32)).replace(day=1)
    budgets = {
        (row["scope"], row["name"]): row["amount_usd"]
        for row in seeded.books["budgets"]
        if row["month"] == first
    }
    places = _places(seeded.rows)
    found = {(row["scope"], row["name"]): row for row in seeded.ask("budget", month, as_of=as_of)}
    shown = {place for place, costs in places.items() if any(day >= first and day < end for day in costs)}
    assert set(found) >= {place for place in shown if place[0] != "user"} | set(budgets)
    assert {place for place in found if place[0] == "user"} == {("user", "ada")}, "only users with a budget"
    for place, row in found.items():
        costs = places.get(place, {})
        actual = sum((cost for day, cost in costs.items() if first <= day < end), Decimal(0))
        budget = budgets.get(place)
        assert (row["actual_usd"], row["budget_usd"]) == (actual, budget)
        method, ahead = ("final", Decimal(0)) if as_of >= end else _ahead(costs, as_of, end)
        assert (row["method"], row["forecast_usd"]) == (method, actual + ahead)
        assert row["days_left"] == max((end - as_of).days, 0)
        if budget is not None:
            assert row["left_usd"] == budget - actual
            assert row["over_usd"] == actual + ahead - budget
            assert row["used_percent"] == divided(actual * 100, budget, 1)
    assert found["department", "legal"]["actual_usd"] == 0, "a budget that nobody spends from is shown"
    whole = found["organisation", ""]["actual_usd"]
    assert whole == sum(row["cost_usd"] or 0 for row in seeded.ask("statement", month))


def test_a_wild_day_stands_out(seeded: Seeded) -> None:
    found = seeded.ask("anomalies", as_of=AFTER)
    first = found[0]
    assert (first["day"], first["department"], first["driver_user"]) == (WILD_DAY, WILD_DEPARTMENT, "alan")
    assert first["driver_model"] == "claude-sonnet-4-5"
    assert {(row["day"], row["department"]): row for row in found} == _out_of_the_ordinary(seeded.rows)
    before = seeded.ask("anomalies", as_of=WILD_DAY)
    assert all(row["day"] < WILD_DAY for row in before), "a day that is not over is not judged"


def _low_median(values: list[Decimal]) -> Decimal:
    return sorted(values)[(len(values) - 1) // 2]


def _out_of_the_ordinary(rows: list[Row]) -> dict[tuple[date, str], Row]:
    expected: dict[tuple[date, str], Row] = {}
    for department, mine in grouped(rows, "department").items():
        by_day = grouped(mine, "day")
        first = min(by_day)
        days = [first + timedelta(at) for at in range((AFTER - first).days)]
        for weekend in (False, True):
            some = {day: total(by_day.get(day, [])) for day in days if (day.weekday() > 4) == weekend}
            if len(some) < 10:
                continue
            median = _low_median(list(some.values()))
            distances = [abs(cost - median) for cost in some.values()]
            spread, mean = _low_median(distances), divided(sum(distances, Decimal(0)), len(distances))
            for day, cost in some.items():
                if day < date(2026, 11, 1) or not mean:
                    continue
                off = float(cost - median)
                score = 0.6745 * off / float(spread) if spread else off / (1.2533 * float(mean))
                if abs(round(score, 1)) <= 3.5:
                    continue
                drivers = {key: total(part) for key, part in grouped(by_day[day], "user", "model").items()}
                (user, model), top = max(drivers.items(), key=lambda item: (item[1], item[0]))
                expected[day, department] = {
                    "day": day, "department": department, "cost_usd": cost, "usual_usd": median,
                    "spread_usd": spread, "excess_usd": cost - median,
                    "score": pytest.approx(score, abs=0.06),
                    "calls": len(by_day[day]), "driver_user": user, "driver_model": model, "driver_usd": top,
                }  # fmt: skip
    return expected


def _largest_remainder(pool: int, weights: dict[str, int]) -> dict[str, int]:
    whole = sum(weights.values())
    shares = {name: pool * weight // whole for name, weight in weights.items()}
    rests = sorted(weights, key=lambda name: (-(pool * weights[name] % whole), name.encode()))
    for name in rests[: pool - sum(shares.values())]:
        shares[name] += 1
    return shares


def _hardware(seeded: Seeded, tier: str, begin: date, end: date) -> tuple[int, int]:
    """Return what the tier's nodes cost in nano-dollars, and for how many milliseconds they were there."""
    cost = present = 0
    for row in seeded.books["hardware_costs"]:
        if row["tier"] != tier:
            continue
        zone = row["valid_from"].tzinfo
        since = max(row["valid_from"], datetime(begin.year, begin.month, begin.day, tzinfo=zone))
        until = datetime(end.year, end.month, end.day, tzinfo=zone)
        seconds = int((min(row["valid_to"] or until, until) - since).total_seconds())
        if seconds > 0:
            cost += int(row["usd_per_hour"] * NANO) * seconds // 3600
            present += seconds * 1000
    return cost, present


@pytest.mark.parametrize("idle", ["proportional", "even", "none"])
@pytest.mark.parametrize(
    ("tier", "month", "as_of", "slots"),
    [
        ("local", "2026-11", AFTER, 1), ("local", "2026-11", date(2026, 11, 20), 8),
        ("local", "2026-10", AFTER, 3), ("fast", "2026-09", AFTER, 1),
    ],
)  # fmt: skip
def test_used_and_idle_are_the_hardwares_cost(
    seeded: Seeded, idle: str, tier: str, month: str, as_of: date, slots: int
) -> None:
    first = date.fromisoformat(f"{month}-01")
    end = min((first + timedelta(32)).replace(day=1), as_of)
    rows = seeded.ask("sovereign", month, as_of=as_of, idle=idle, slots=slots)
    found = {row["department"]: row for row in rows if row["tier"] == tier}
    calls = grouped([row for row in in_month(seeded.rows, month) if row["tier"] == tier and row["day"] < end],
                    "department")  # fmt: skip
    busy = {
        name: sum((row["ended"] - row["started"]) // timedelta(milliseconds=1) for row in mine)
        for name, mine in calls.items()
    }
    cost, present = _hardware(seeded, tier, first, end)
    assert cost > 0
    assert sum(row["used_usd"] + row["idle_usd"] for row in found.values()) == Decimal(cost).scaleb(-9)
    used_pool = cost * min(sum(busy.values()), present * slots) // (present * slots)
    used = _largest_remainder(used_pool, busy)
    weights = {"proportional": busy, "even": dict.fromkeys(busy, 1), "none": {"(nobody)": 1}}[idle]
    spare = _largest_remainder(cost - used_pool, weights)
    for name in busy:
        row = found[name]
        assert (row["used_usd"], row["idle_usd"]) == (
            Decimal(used[name]).scaleb(-9), Decimal(spare.get(name, 0)).scaleb(-9),
        )  # fmt: skip
        assert row["total_usd"] == row["used_usd"] + row["idle_usd"]
        assert row["charged_usd"] == cost_of(calls[name], lambda row: True)
        assert row["uncovered_usd"] == row["total_usd"] - row["charged_usd"]
        assert (row["calls"], row["method"]) == (len(calls[name]), idle)
        assert row["busy_hours"] == cut(Decimal(busy[name]) / 3_600_000, 2)
    assert ("(nobody)" in found) == (idle == "none" and cost > used_pool)
    if tier == "fast":
        assert sum(busy.values()) > present, "the borrowed box had more to do than it could"
        assert all(row["idle_usd"] == 0 for row in found.values())


def test_hardware_that_nobody_used_is_idle_and_nobodys(seeded: Seeded) -> None:
    (row,) = seeded.ask("sovereign", "2026-12", as_of=date(2027, 1, 1))
    assert (row["department"], row["calls"], row["used_usd"]) == ("(nobody)", 0, 0)
    assert row["idle_usd"] == Decimal(int(Decimal("0.013333333") * NANO) * 31 * 24).scaleb(-9)


def test_a_nodes_new_rate_ends_its_old_one(seeded: Seeded) -> None:
    old = {**seeded.books["hardware_costs"][0], "node": "gpu-9", "tier": "spare"}
    new = {**old, "valid_from": old["valid_from"] + timedelta(days=10), "usd_per_hour": Decimal(2)}
    ledger_seed.insert(seeded.client, [old, new], "hardware_costs")
    try:
        rows = [row for row in seeded.ask("sovereign", "2026-10") if row["tier"] == "spare"]
    finally:
        seeded.client.command(
            "ALTER TABLE hardware_costs DELETE WHERE tier = 'spare' SETTINGS mutations_sync = 2"
        )
    assert [row["total_usd"] for row in rows] == [240 * old["usd_per_hour"] + 21 * 24 * 2]
