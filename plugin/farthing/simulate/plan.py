"""From a mix to what the engine is asked for: agents, days, parts, prices in whole numbers."""

import calendar
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from farthing.cost import PriceBook
from farthing.cost.price import RATES_PER_NANO
from farthing.cost.price import Rates as TokenRates
from farthing.settings import CostSettings, Price
from farthing.simulate.errors import SimulationError
from farthing.simulate.mix import Mix, Tier

PREFIX = "simulated"
"""Begins the gateway's name, the key's hash seed and the price version of every simulated charge."""
_MOST_OF_A_PART = 400_000
_FEMTO_PER_NANO = 10**6
_GRADES = ("LOW", "MEDIUM", "HIGH")


@dataclass(frozen=True, slots=True)
class Agent:
    """One row of simulated_agents. ``low`` and ``medium`` are shares of its requests."""

    agent: int
    department: str
    cost_centre: str
    user: str
    key_hash: str
    work: str
    low: float
    medium: float
    input: int
    output: int
    cached_share: float


@dataclass(frozen=True, slots=True)
class Rates:
    """The models of local, fast, strong and baseline, and their prices in 10⁻¹⁵ USD per token."""

    models: tuple[str, ...]
    providers: tuple[str, ...]
    input: tuple[int, ...]
    output: tuple[int, ...]
    read: tuple[int, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Part:
    """The requests ``first`` … ``first + requests`` of one day, which pass one gateway."""

    day: date
    number: int
    first: int
    requests: int

    @property
    def gateway(self) -> str:
        """The gateway's name; each counts its charges from 1."""
        return f"{PREFIX}-{self.day}-{self.number}"

    @property
    def day_ms(self) -> int:
        """Unix milliseconds of the day's midnight, UTC."""
        return int(datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC).timestamp()) * 1000


def agents(mix: Mix) -> list[Agent]:
    """Return the agents. Departments and kinds of work get their shares to within one agent."""
    departments = _spread(mix.agents, {name: part.share for name, part in mix.departments.items()})
    works = _spread(mix.agents, {name: part.share for name, part in mix.work.items()})
    # Shuffled by hash, so that departments, work and industry are independent of each other.
    places = [sorted(range(mix.agents), key=lambda number: _hash(mix.seed, salt, number)) for salt in "dw"]
    department_of = dict(zip(places[0], departments, strict=True))
    work_of = dict(zip(places[1], works, strict=True))
    users: dict[str, int] = {}
    made: list[Agent] = []
    for number in range(mix.agents):
        department, work = department_of[number], mix.work[work_of[number]]
        nth = users[department] = users.get(department, -1) + 1
        whole = sum(work.grades.values())
        made.append(
            Agent(
                number,
                department,
                mix.departments[department].cost_centre,
                f"{department.split()[0]}-{nth // mix.agents_per_user + 1:04d}",
                hashlib.sha256(f"{PREFIX} {mix.seed} {number}".encode()).hexdigest(),
                work_of[number],
                work.grades["LOW"] / whole,
                work.grades["MEDIUM"] / whole,
                work.input,
                work.output,
                work.cached,
            )
        )
    return made


def rates(mix: Mix, cost: CostSettings) -> Rates:
    """Price the mix's models. Raises SimulationError where a price is missing or too fine."""
    tiers = (mix.tiers.local, mix.tiers.fast, mix.tiers.strong, Tier(model=mix.baseline))
    own = {
        tier.model: Price(input=tier.input, output=tier.output, source="local" if number == 0 else "provider")
        for number, tier in enumerate(tiers)
        if tier.input is not None and tier.output is not None
    }
    book = PriceBook(cost.model_copy(update={"prices": {**own, **cost.prices}}))
    found = []
    for tier in tiers:
        price = book.price(tier.model)
        if price is None:
            raise SimulationError(
                f"model {tier.model!r} has no price; give its tier input and output (USD per million tokens) "
                "in the mix, or cost.prices in farthing.yaml"
            )
        if len(price.tiers) > 1 and mix.longest_input >= price.tiers[1][0]:
            raise SimulationError(
                f"model {tier.model!r} costs more from {price.tiers[1][0]} input tokens on, which a "
                f"simulation does not follow; set longest_input of the mix below that "
                f"(now {mix.longest_input})"
            )
        found.append((price, [_femto(tier.model, rate) for rate in _three(price.tiers[0][1])]))
    return Rates(
        models=tuple(tier.model for tier in tiers),
        providers=("local", *(price.provider or "unknown" for price, _ in found[1:])),
        input=tuple(values[0] for _, values in found),
        output=tuple(values[1] for _, values in found),
        read=tuple(values[2] for _, values in found),
        version=f"{PREFIX}:{book.version}",
    )


def parts(mix: Mix, month: date, charges: int, most: int = _MOST_OF_A_PART) -> list[Part]:
    """Divide a month of about ``charges`` charges into parts of at most ``most`` requests."""
    days = [date(month.year, month.month, day) for day in range(1, _days(month) + 1)]
    weights = [mix.weekdays[day.weekday()] for day in days]
    requests = max(1, round(charges / charges_per_request(mix)))
    made: list[Part] = []
    for day, of_day in zip(days, largest_remainder(requests, weights), strict=True):
        count = -(-of_day // most)
        sizes = largest_remainder(of_day, [1.0] * count)
        first = 0
        for number, size in enumerate(sizes):
            made.append(Part(day, number, first, size))
            first += size
    return made


def charges_per_request(mix: Mix) -> float:
    """Return how many charges a request makes on average: its answer, failed attempts, gradings."""
    whole = sum(work.share for work in mix.work.values())
    failed = sum(
        work.share / whole * work.grades[grade] / sum(work.grades.values()) * share
        for work in mix.work.values()
        for grade, share in zip(_GRADES, (mix.failures.local, mix.failures.fast), strict=False)
    )
    return 1 + mix.judged + failed


def nodes(mix: Mix, charges: int) -> int:
    """Return how many machines the local tier has in a month of this many charges."""
    return math.ceil(mix.hardware.nodes_per_million * charges / 10**6)


def round_of_sessions(mix: Mix) -> tuple[list[int], list[int], list[int]]:
    """Return, for each request of one round of sessions: its session, its step, and the session's steps."""
    of: list[int] = []
    step: list[int] = []
    whole: list[int] = []
    for number, steps in enumerate(mix.sessions):
        of += [number] * steps
        step += range(1, steps + 1)
        whole += [steps] * steps
    return of, step, whole


def hour_slots(mix: Mix) -> list[int]:
    """Return 240 hours of the day, each as often as its weight has it."""
    return [hour for hour, count in enumerate(largest_remainder(240, mix.hours)) for _ in range(count)]


def largest_remainder(total: int, weights: Sequence[float]) -> list[int]:
    """Divide ``total`` by weights so that the parts add up to it."""
    whole = sum(weights)
    exact = [total * weight / whole for weight in weights]
    given = [int(value) for value in exact]
    by_rest = sorted(range(len(weights)), key=lambda at: given[at] - exact[at])
    for at in by_rest[: total - sum(given)]:
        given[at] += 1
    return given


def _spread(total: int, shares: dict[str, float]) -> Iterable[str]:
    counts = largest_remainder(total, list(shares.values()))
    return [name for name, count in zip(shares, counts, strict=True) for _ in range(count)]


def _three(rates: TokenRates) -> tuple[int, int, int]:
    return rates.input, rates.output, rates.cache_read


def _femto(model: str, rate: int) -> int:
    whole, rest = divmod(rate * _FEMTO_PER_NANO, RATES_PER_NANO)
    if rest:
        raise SimulationError(f"model {model!r} has a price finer than 10⁻¹⁵ USD per token")
    return whole


def _hash(seed: int, salt: str, number: int) -> bytes:
    return hashlib.blake2b(f"{seed} {salt} {number}".encode(), digest_size=8).digest()


def _days(month: date) -> int:
    return calendar.monthrange(month.year, month.month)[1]
