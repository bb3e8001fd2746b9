"""A proxy whose three tiers are scripted models (labelled fakes), at simple prices."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from farthing.credits import Balance
from farthing.credits.report import balances
from farthing.demo.stack import Part, free_port
from farthing.settings import load
from tests.e2e.conftest import TLS, Gateway, second_proxy
from tests.stack import ROOT
from tests.unit.credit_backends import finished

PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}


@dataclass(frozen=True)
class Scripted:
    """The proxy, as a client sees it."""

    gateway: Gateway
    url: str
    folder: Path
    part: Part

    def ask(
        self, user: str, surface: str, turn: str, *, stream: bool = False, timeout: float = 60, **more: Any
    ) -> httpx.Response:
        ask = {"input": turn} if surface == "responses" else {"messages": [{"role": "user", "content": turn}]}
        cap = {"max_tokens": 300} if surface == "messages" else {}  # the Messages API demands one
        body = {"model": "auto", "stream": stream, **ask, **cap, **more}
        headers = {"authorization": f"Bearer {self.gateway.secret(user)}"}
        return httpx.post(
            f"{self.url}{PATHS[surface]}", json=body, headers=headers, timeout=timeout, verify=TLS
        )

    def balances(self) -> dict[str, Balance]:
        """Every account of the proxy's own store, by its id."""
        found = finished(balances(load(self.folder / "farthing.yaml"), every_kind=True))
        return {balance.account: balance for balance in found}


@contextmanager
def scripted_proxy(
    gateway: Gateway,
    folder: Path,
    settle: Callable[[dict[str, Any]], None] = lambda settings: None,
    change: Callable[[dict[str, Any]], None] = lambda config: None,
) -> Iterator[Scripted]:
    """Run the proxy; ``settle`` may change farthing.yaml, ``change`` litellm.yaml."""
    port = free_port()
    endpoint = Part(
        "scripted models",
        [sys.executable, "-m", "tests.e2e.scripted_models", str(port)],
        f"http://127.0.0.1:{port}/ready",
        folder / "models.log",
        os.environ | {"PYTHONPATH": str(ROOT)},
    )
    names = {"local": "cheap", "fast": "middling", "strong": "best"}

    def models(config: dict[str, Any]) -> None:
        for model in config["model_list"]:
            if name := names.get(model["model_name"]):
                parameters = {"api_base": f"http://127.0.0.1:{port}/v1", "api_key": "none"}
                model["litellm_params"] = parameters | {"model": f"openai/{name}"}
                model["model_info"] = {"base_model": name}
        change(config)

    def settings_of(settings: dict[str, Any]) -> None:
        settings["grading"]["quality"] = 0.5  # everything ordinary is LOW
        settings["cost"] = {
            "baseline_model": "best",
            "prices": {
                name: {"input": price, "output": price}
                for name, price in zip(names.values(), (1, 10, 100), strict=True)
            },
        }
        settle(settings)

    endpoint.start()
    proxy, url = second_proxy(gateway, folder, models, settings_of)
    try:
        endpoint.wait_ready()
        proxy.wait_ready()
        yield Scripted(gateway, url, folder, proxy)
    finally:
        proxy.stop()
        endpoint.stop()


def said(response: httpx.Response, stream: bool) -> tuple[str, dict[str, Any]]:
    """The whole answer as text, and what Farthing told the client."""
    assert response.status_code == 200, response.text
    if not stream:
        facts = {k.removeprefix("x-farthing-"): v for k, v in response.headers.items()}
        return json.dumps(response.json()), facts
    events = [
        json.loads(line[6:])
        for line in response.text.splitlines()
        if line.startswith("data: ") and line != "data: [DONE]"
    ]
    (facts,) = [event["farthing"] for event in events if "farthing" in event]
    return json.dumps(events), facts
