"""Long conversations to measure on; they stay outside the repository."""

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT = "FARTHING_CONTEXT_DATA"
TAU = "tau_airline_dev.json.gz"

Message = Mapping[str, Any]


class DataError(ValueError):
    """The benchmark's data is missing or not what the benchmark expects."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What an agent, its user and its tools said, as messages of the chat API, the system prompt first."""

    task: int
    trial: int
    messages: Sequence[Message]


def folder(path: Path | None) -> Path:
    """Return the folder of the data: ``path``, else $FARTHING_CONTEXT_DATA. Raises DataError."""
    chosen = path or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    if chosen is None:
        raise DataError(f"name the folder of the context data: --data DIR, or {ENVIRONMENT}")
    if not chosen.is_dir():
        raise DataError(f"{chosen} is not a folder")
    return chosen


def read(path: Path, name: str) -> Any:
    """Return what a gzipped JSON file of the folder holds. Raises DataError."""
    try:
        with gzip.open(path / name, "rt", encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {name}: {error}") from None


def load_tau(path: Path) -> list[Trajectory]:
    """Return the trajectories of tau-bench's airline. Raises DataError."""
    try:
        return [Trajectory(one["task_id"], one["trial"], one["traj"]) for one in read(path, TAU)]
    except (KeyError, TypeError):
        raise DataError(f"{TAU} does not hold trajectories") from None
