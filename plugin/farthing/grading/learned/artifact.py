"""The artifact: the model's arrays and, as JSON, what they were made from. One .npz file, no pickle."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from farthing.grading.learned.calibration import Calibration
from farthing.grading.learned.features import NAMES
from farthing.grading.learned.model import Forest, Model

FORMAT = 1
"""Version of the artifact's layout and of the measures that its weights belong to."""
SHIPPED = Path(__file__).parent / "grader.npz"
_ARRAYS = ("usual", "scale", "weights", "levels")
_TREES = ("feature", "threshold", "left", "right", "value", "roots")
_TAKES = "reinstall farthing, or train one: python -m bench.routing.train --data DIR"


class ArtifactError(ValueError):
    """The grader's artifact is missing, damaged or of another version."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model, its calibration, and ``about``: sources, licences, metrics, the command that made it."""

    model: Model
    calibration: Calibration
    about: Mapping[str, object]
    digest: str
    """The first 12 digits of the file's SHA-256."""


def write(path: Path, model: Model, calibration: Calibration, about: Mapping[str, object]) -> None:
    """Write an artifact; the same content gives the same bytes."""
    arrays: dict[str, NDArray[np.generic]] = {name: getattr(model, name) for name in _ARRAYS}
    arrays["levels"] = model.levels.astype(np.float16)
    arrays |= {f"forest_{name}": getattr(model.forest, name) for name in _TREES}
    told = {
        "format": FORMAT,
        "measures": list(NAMES),
        "depth": model.forest.depth,
        "expert_limit": model.expert_limit,
        "slope": model.slope,
        "offset": model.offset,
        "calibration": [list(row) for row in calibration.rows],
        "about": about,
    }
    text = json.dumps(told, sort_keys=True, ensure_ascii=False, indent=1).encode()
    arrays["told"] = np.frombuffer(text, dtype=np.uint8)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def read(path: Path | None = None) -> Artifact:
    """Read an artifact; None: the one that ships with Farthing. Raises ArtifactError."""
    path = path or SHIPPED
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"the grader's artifact is missing: {path}; {_TAKES}") from None
    except OSError as error:
        raise ArtifactError(f"cannot read the grader's artifact {path}: {error.strerror}") from None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        told = json.loads(arrays["told"].tobytes())
        version = told["format"]
    except (
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        raise ArtifactError(
            f"the grader's artifact {path} is damaged ({type(error).__name__}); {_TAKES}"
        ) from None
    if version != FORMAT or told.get("measures") != list(NAMES):
        raise ArtifactError(
            f"the grader's artifact {path} has version {version!r}, this Farthing reads version {FORMAT}"
            f"{'' if version != FORMAT else ' with other measures'}; {_TAKES}"
        )
    try:
        return _built(arrays, told, hashlib.sha256(content).hexdigest()[:12])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"the grader's artifact {path} is incomplete: {error}; {_TAKES}") from None


def _built(arrays: Mapping[str, NDArray[np.generic]], told: Mapping[str, object], digest: str) -> Artifact:
    trees = {name: arrays[f"forest_{name}"] for name in _TREES}
    plain = {name: arrays[name] for name in _ARRAYS}
    plain["levels"] = arrays["levels"].astype(np.float32)
    for name in ("usual", "scale", "weights"):
        if plain[name].shape != (len(NAMES),):
            raise ValueError(f"{name} has shape {plain[name].shape}")
    numbers = {name: float(told[name]) for name in ("expert_limit", "slope", "offset")}  # type: ignore[arg-type]
    forest = Forest(**trees, depth=int(told["depth"]))  # type: ignore[arg-type, call-overload]
    model = Model(**plain, forest=forest, **numbers)  # type: ignore[arg-type]
    rows = [tuple(map(float, row)) for row in told["calibration"]]  # type: ignore[attr-defined]
    if not rows or any(len(row) != 3 for row in rows):
        raise ValueError("the calibration table is empty")
    return Artifact(model, Calibration(rows), told["about"], digest)  # type: ignore[arg-type]
