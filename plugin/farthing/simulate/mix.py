"""The mix: what a simulated month is made of. mix.yaml explains each figure and holds the defaults."""

import hashlib
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from farthing.simulate.errors import SimulationError

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Usd = Annotated[Decimal, Field(ge=0, le=10**6, max_digits=18, decimal_places=9)]
Name = Annotated[str, Field(min_length=1, max_length=128)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Department(_Part):
    """A payer. ``share`` of the agents; ``budget`` in USD for each million charges."""

    share: Weight
    cost_centre: str = ""
    budget: Usd = Decimal(0)


class Work(_Part):
    """A kind of agent. Tokens are medians."""

    share: Weight
    grades: dict[str, Weight]
    input: int = Field(ge=1, le=10**6)
    output: int = Field(ge=1, le=10**5)
    cached: Share

    @field_validator("grades")
    @classmethod
    def _three(cls, grades: dict[str, float]) -> dict[str, float]:
        if set(grades) != {"LOW", "MEDIUM", "HIGH"} or not sum(grades.values()):
            raise ValueError("needs LOW, MEDIUM and HIGH, one of them above 0")
        return grades


class Tier(_Part):
    """A tier's model. ``input`` and ``output`` in USD per million tokens, where the price book has none."""

    model: Name
    input: Usd | None = None
    output: Usd | None = None


class TierMap(_Part):
    """One model for each tier."""

    local: Tier
    fast: Tier
    strong: Tier


class Failures(_Part):
    """Shares of requests that the next tier has to answer."""

    local: Share
    fast: Share


class Latency(_Part):
    """Milliseconds to the first token, and for each token of the answer."""

    first: int = Field(ge=0, le=10**6)
    token: int = Field(ge=0, le=10**4)


class LatencyMap(_Part):
    """One for each tier."""

    local: Latency
    fast: Latency
    strong: Latency


class Hardware(_Part):
    """The local tier's machines: nodes for each million charges, rounded up; 0 for none."""

    nodes_per_million: float = Field(ge=0, le=1000)
    usd_per_hour: Usd


class Mix(_Part):
    """A whole mix; see mix.yaml for what each field means."""

    agents: int = Field(ge=1, le=10**6)
    agents_per_user: int = Field(ge=1, le=10**6)
    skew: float = Field(ge=1, le=10)
    seed: int = Field(ge=0, lt=2**32)
    departments: dict[Name, Department] = Field(min_length=1)
    work: dict[Name, Work] = Field(min_length=1)
    spread: float = Field(ge=0, le=3)
    growth: float = Field(ge=0, le=10)
    longest_input: int = Field(ge=1, le=2 * 10**6)
    sessions: list[Annotated[int, Field(ge=1, le=1000)]] = Field(min_length=1, max_length=100)
    pause_s: float = Field(ge=0, le=3600)
    tiers: TierMap
    baseline: Name
    failures: Failures
    judged: Share
    cancelled: Share
    unpriced: Share
    tasks: Share
    streamed: Share
    latency: LatencyMap
    hardware: Hardware
    hours: list[Weight] = Field(min_length=24, max_length=24)
    weekdays: list[Weight] = Field(min_length=7, max_length=7)

    @field_validator("departments", "work")
    @classmethod
    def _some_share(cls, parts: dict[str, Department | Work]) -> dict[str, Department | Work]:
        if not sum(part.share for part in parts.values()):
            raise ValueError("one share must be above 0")
        return parts

    @field_validator("hours", "weekdays")
    @classmethod
    def _some_weight(cls, weights: list[float]) -> list[float]:
        if not sum(weights):
            raise ValueError("one of them must be above 0")
        return weights

    @property
    def digest(self) -> str:
        """A short SHA-256 of the mix: two months with the same one are made of the same calls."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def default_text() -> str:
    """Return the default mix as it is written and explained."""
    return (files("farthing.simulate") / "mix.yaml").read_text("utf-8")


def load(path: Path | None = None) -> Mix:
    """Return the mix in ``path``: what it leaves out is as in the default. Raises SimulationError."""
    values = yaml.safe_load(default_text())
    if path is not None:
        try:
            own = yaml.safe_load(path.read_text("utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SimulationError(f"--mix {path}: {error}") from None
        if not isinstance(own, dict):
            raise SimulationError(
                f"--mix {path}: must be a mapping, as `farthing simulate --print-mix` shows"
            )
        values |= own
    try:
        return Mix.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SimulationError(f"--mix {path}: {where}: {first['msg']}") from None
