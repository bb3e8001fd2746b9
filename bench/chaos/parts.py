"""The parts of the chaos run: fake cloud, embedded ledger, collector and LiteLLM proxy, each a process."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from collector.process import Collector
from farthing.demo.stack import Part, free_port
from farthing.scaffold import NewKey, new_secret, write
from farthing.settings import load

ROOT = Path(__file__).resolve().parents[2]
USERS = ("ada", "grace", "linus", "margaret")
_MODELS = {"local": "cheap", "fast": "middling", "strong": "best"}
# USD per million tokens: odd ones, so that a cost ends in any nano-dollar.
_PRICES = {"cheap": (0.011, 0.037), "middling": (0.253, 2.017), "best": (1.251, 10.009)}


class Parts:
    """All parts, started and stopped as a context manager. Without a collector the proxy feeds the ledger.

    ``mortal`` are those that may be killed: all but the cloud, which is not ours.
    """

    def __init__(self, folder: Path, collector: Path | None) -> None:
        cloud_port, ledger_port, proxy_port = (free_port() for _ in range(3))
        cloud, ledger = (f"http://127.0.0.1:{port}" for port in (cloud_port, ledger_port))
        self.url = f"http://127.0.0.1:{proxy_port}"
        self.keys = [NewKey(new_secret(), user, "chaos", "CC-1", 10**9) for user in USERS]
        home = folder / "farthing"
        secrets = write(home, self.keys, tier_url=cloud, ledger_url=ledger)
        self._environment = os.environ | secrets
        self._environment |= {
            "FARTHING_CONFIG": str(home / "farthing.yaml"),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        os.environ["FARTHING_LEDGER_PASSWORD"] = secrets["FARTHING_LEDGER_PASSWORD"]
        self.settings = load(home / "farthing.yaml")
        self.collector = (
            Collector(collector, folder / "collector", self.settings.ledger) if collector else None
        )
        self._configure(home, cloud)
        self.settings = load(home / "farthing.yaml")

        tools = Path(sys.executable).parent
        litellm = [str(tools / "litellm"), "--config", str(home / "litellm.yaml"), "--host", "127.0.0.1"]
        self._cloud = self._part(
            "fake cloud",
            [sys.executable, "-m", "bench.chaos.cloud", str(cloud_port)],
            f"{cloud}/ready",
            folder,
        )
        serve = [str(tools / "farthing"), "ledger", "serve"]
        self.mortal = [
            self._part(
                "proxy", [*litellm, "--port", str(proxy_port)], f"{self.url}/health/liveliness", folder
            ),
            *([self.collector.part] if self.collector else []),
            self._part("ledger", serve, f"{ledger}/ping", folder),
        ]
        self._stack = ExitStack()

    def _part(self, name: str, command: list[str], ready: str, folder: Path) -> Part:
        log = folder / "logs" / f"{name.replace(' ', '-')}.log"
        return Part(name, command, ready, log, self._environment)

    def _configure(self, home: Path, cloud: str) -> None:
        litellm = yaml.safe_load((home / "litellm.yaml").read_text())
        for model in litellm["model_list"]:
            if name := _MODELS.get(model["model_name"]):
                where = {"api_base": f"{cloud}/v1", "api_key": "none"}
                model["litellm_params"] = where | {"model": f"openai/{name}"}
                model["model_info"] = {"base_model": name}
        (home / "litellm.yaml").write_text(yaml.safe_dump(litellm))
        settings: dict[str, Any] = yaml.safe_load((home / "farthing.yaml").read_text())
        settings["grading"]["quality"] = 0.5  # what is ordinary goes to the cheap one
        settings["context"]["mode"] = "observe"
        settings["cost"] = {
            "baseline_model": "best",
            "prices": {name: {"input": read, "output": told} for name, (read, told) in _PRICES.items()},
        }
        settings["telemetry"]["metrics_endpoint"] = ""
        if self.collector is not None:
            settings["telemetry"] |= {
                "otlp_endpoint": self.collector.url,
                "otlp_user": "",
                "otlp_password": "",
            }
        (home / "farthing.yaml").write_text(yaml.safe_dump(settings))

    def __enter__(self) -> Self:
        parts = [self._cloud, *reversed(self.mortal)]
        with self._stack as stack:
            for part in parts:
                stack.callback(part.stop)
                part.start()
            for part in parts:
                part.wait_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
