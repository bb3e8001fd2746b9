"""The outcomes of cheap and strong models, per prompt, from public benchmarks; they stay outside the repo."""

import csv
import gzip
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from farthing.grading import Task, task_from

ENVIRONMENT = "FARTHING_ROUTING_DATA"
OWN = Path(__file__).parent / "own_prompts.txt"
Floats = NDArray[np.float64]

# The tiers, by size and price at the time of the benchmark: 7-13B and the like; mid; the best.
_GSM = (
    "Meta-Llama-3-8B-Instruct Meta-Llama-3.1-8B-Instruct Mistral-Nemo-Instruct-2407 "
    "Mixtral-8x7B-Instruct-v0.1 Phi-3.5-mini-instruct Qwen2-7B-Instruct Yi-1.5-9B-Chat gemma-2-9b-it "
    "gemma-2-2b-it command-r gpt-3.5-turbo-0125 reka-flash-20240226",
    "gpt-4o-mini-2024-07-18 claude-3-5-haiku-20241022 gemini-1.5-flash Meta-Llama-3.1-70B-Instruct",
    "claude-3-5-sonnet-20240620 claude-3-5-sonnet-20241022 gpt-4o-2024-05-13 gpt-4o-2024-08-06 "
    "Llama-3.1-405B-Instruct-Turbo o1-mini-2024-09-12 claude-3-opus-20240229 gemini-1.5-pro-exp-0801 "
    "Mistral-Large-2",
)
_NUMERSENSE = (
    "Meta-Llama-3-8B-Instruct gpt-3.5-turbo-0125",
    "gpt-4o-mini-2024-07-18 gemini-1.5-flash",
    "gpt-4o-2024-05-13 claude-3-5-sonnet-20240620 gemini-1.5-pro deepseek-v2-chat-0628",
)
_ROUTERBENCH = (
    "mistralai/mistral-7b-chat WizardLM/WizardLM-13B-V1.2 meta/code-llama-instruct-34b-chat "
    "meta/llama-2-70b-chat mistralai/mixtral-8x7b-chat",
    "gpt-4-1106-preview",  # as a fast tier of today
    "gpt-4-1106-preview",
)
_BFCL_FAST = (
    "claude-3-haiku-20240307 gpt-4o-mini-2024-07-18 gpt-4o-mini-2024-07-18-FC open-mistral-nemo-2407-FC-Any"
)


class DataError(ValueError):
    """The benchmark's data is missing or not what the benchmark expects."""


@dataclass(frozen=True, slots=True)
class Source:
    """One benchmark: per prompt the share of each tier's models that solved it, 0…1.

    ``pairs`` maps the name of a cheap and a strong model to their outcomes. ``groups`` are the parts
    that a split must keep together: subjects, categories.
    """

    name: str
    tasks: Sequence[Task]
    groups: NDArray[np.str_]
    local: Floats
    fast: Floats
    strong: Floats
    pairs: Mapping[str, tuple[Floats, Floats]]
    prompts: Sequence[Mapping[str, object]]
    levels: Floats | None = None
    """Only of our own prompts: the level that we judged, 0…1."""

    @property
    def gain(self) -> Floats:
        """What the strong tier adds to the local one, per prompt, -1…1."""
        return self.strong - self.local

    def __len__(self) -> int:
        return len(self.tasks)


def folder(path: Path | None) -> Path:
    """Return the folder of the data: ``path``, else $FARTHING_ROUTING_DATA. Raises DataError."""
    chosen = path or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    if chosen is None:
        raise DataError(f"name the folder of the routing data: --data DIR, or {ENVIRONMENT}")
    if not (chosen / "mmlu.csv.gz").is_file():
        raise DataError(f"{chosen} holds no mmlu.csv.gz: is it the folder of the routing data?")
    return chosen


def load(path: Path) -> list[Source]:
    """Return the public sources, in a fixed order."""
    return [
        _routellm(path, "mmlu"),
        _routellm(path, "gsm8k"),
        _models(path, "zeroeval_gsm_correct", "zeroeval_gsm", _GSM),
        _models(path, "zeroeval_numersense_correct", "numersense", _NUMERSENSE),
        _models(path, "routerbench_arc_challenge", "arc_challenge", _ROUTERBENCH),
        _models(path, "routerbench_winograde", "winogrande", _ROUTERBENCH),
        _bfcl(path),
    ]


def own_prompts() -> Source:
    """Return our own prompts; the outcomes of the tiers are not known, the level is our judgement."""
    texts: list[str] = []
    levels: list[float] = []
    level = 0.0
    for line in OWN.read_text("utf-8").splitlines():
        if line.startswith("= "):
            level = float(line[2:])
        elif line and not line.startswith("#"):
            texts.append(line.replace("\\n", "\n"))
            levels.append(level)
    y = np.array(levels)
    prompts = [{"prompt": text} for text in texts]
    none = np.full(len(y), np.nan)
    groups = np.array([f"level {value}" for value in levels])
    return Source("own", [task_from(p) for p in prompts], groups, none, none, none, {}, prompts, y)


def _rows(path: Path, name: str) -> list[dict[str, str]]:
    try:
        with gzip.open(path / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"cannot read {name}.csv.gz: {error}") from None


def _column(rows: list[dict[str, str]], name: str) -> Floats:
    truth = {"True": 1.0, "False": 0.0, "": np.nan}
    return np.array([truth[row[name]] if row[name] in truth else float(row[name]) for row in rows])


def _mean(rows: list[dict[str, str]], names: str) -> Floats:
    mean: Floats = np.nanmean([_column(rows, name) for name in names.split()], axis=0)
    return mean


def _routellm(path: Path, name: str) -> Source:
    rows = _rows(path, name)
    cheap, strong = _column(rows, "mixtral_8x7b_correct"), _column(rows, "gpt4_1106_correct")
    groups = np.array([row.get("domain", name) for row in rows])
    prompts = [{"prompt": row["prompt"]} for row in rows]
    # No mid tier was measured. GPT-4 of 2023 is what a fast tier does today (gpt-4o-mini: MMLU 82 %), so
    # this source tells where the local tier ends, not where the fast one does.
    return Source(
        name,
        [task_from(prompt) for prompt in prompts],
        groups,
        cheap,
        strong,
        strong,
        {"mixtral-8x7b > gpt-4-1106": (cheap, strong)},
        prompts,
    )


_PAIRS = {
    "zeroeval_gsm": [
        ("Meta-Llama-3-8B-Instruct", "claude-3-5-sonnet-20240620"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06"),
    ],
    "numersense": [("Meta-Llama-3-8B-Instruct", "gpt-4o-2024-05-13")],
    "arc_challenge": [
        ("mistralai/mixtral-8x7b-chat", "gpt-4-1106-preview"),
        ("mistralai/mistral-7b-chat", "gpt-4-1106-preview"),
    ],
    "winogrande": [
        ("mistralai/mixtral-8x7b-chat", "gpt-4-1106-preview"),
        ("mistralai/mistral-7b-chat", "gpt-4-1106-preview"),
    ],
    "bfcl": [
        ("claude-3-haiku-20240307-FC", "claude-3-5-sonnet-20240620-FC"),
        ("claude-3-haiku-20240307", "claude-3-5-sonnet-20240620"),
        ("meta-llama_Meta-Llama-3-8B-Instruct", "gpt-4-0125-preview-FC"),
    ],
}


def _models(path: Path, file: str, name: str, tiers: tuple[str, str, str]) -> Source:
    rows = _rows(path, file)
    needed = [model for pair in _PAIRS[name] for model in pair]
    rows = [row for row in rows if all(row[model] for model in needed)]
    prompts = [{"prompt": row["prompt"]} for row in rows]
    return Source(
        name,
        [task_from(prompt) for prompt in prompts],
        np.array([name] * len(rows)),
        *(_mean(rows, tier) for tier in tiers),
        {f"{_short(a)} > {_short(b)}": (_column(rows, a), _column(rows, b)) for a, b in _PAIRS[name]},
        prompts,
    )


def _bfcl(path: Path) -> Source:
    rows = _rows(path, "bfcl")
    models = [name for name in rows[0] if name not in ("category", "idx", "question", "tools")]
    accuracy = {name: float(_column(rows, name).mean()) for name in models}
    local = " ".join(name for name in models if 0.5 < accuracy[name] < 0.885)
    strong = " ".join(name for name in models if accuracy[name] >= 0.92)
    prompts: list[Mapping[str, object]] = [
        {
            "messages": [{"role": "user", "content": row["question"]}],
            "tools": json.loads(row["tools"]),
        }
        for row in rows
    ]
    return Source(
        "bfcl",
        [task_from(prompt) for prompt in prompts],
        np.array([row["category"] for row in rows]),
        _mean(rows, local),
        _mean(rows, _BFCL_FAST),
        _mean(rows, strong),
        {f"{_short(a)} > {_short(b)}": (_column(rows, a), _column(rows, b)) for a, b in _PAIRS["bfcl"]},
        prompts,
    )


def _short(model: str) -> str:
    return model.rpartition("/")[2].replace("meta-llama_", "")
