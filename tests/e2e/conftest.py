"""The real stack, once for all end-to-end tests: Ray Serve tier, embedded ledger, LiteLLM proxy."""

import asyncio
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import yaml

from farthing.credits import Balance
from farthing.credits.report import balances
from farthing.demo.report import Report, collect
from farthing.demo.stack import Part, Stack, free_port
from farthing.ledger import connect
from farthing.scaffold import NewKey, new_secret

USERS = [
    NewKey(new_secret(), "ada", "research", "CC-1", 1_000_000),
    NewKey(new_secret(), "grace", "platform", "CC-2", 1_000_000),
    NewKey(new_secret(), "blaise", "marketing", "CC-3", 0),
    NewKey(new_secret(), "charles", "support", "CC-4", 3),
    NewKey(new_secret(), "emmy", "support", "CC-4", 3),
    NewKey(new_secret(), "wide", "platform", "CC-2", 1_000, ("*",)),
    NewKey(new_secret(), "limited", "support", "CC-4", 1_000, ("auto", "local")),
]

# Reading the certificates takes tens of milliseconds, for each client made without this.
TLS = ssl.create_default_context()


@dataclass(frozen=True)
class Gateway:
    """What a test needs to act as a client of the proxy and as a reader of the books."""

    stack: Stack

    def secret(self, user: str) -> str:
        return next(key.secret for key in USERS if key.user == user)

    @property
    def url(self) -> str:
        return self.stack.proxy_url

    def openai(self, user: str, **more: Any) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"{self.url}/v1",
            api_key=self.secret(user),
            max_retries=0,
            http_client=openai.DefaultHttpxClient(verify=TLS),
            **more,
        )

    def anthropic(self, user: str) -> anthropic.Anthropic:
        return anthropic.Anthropic(
            base_url=self.url,
            api_key=self.secret(user),
            max_retries=0,
            http_client=anthropic.DefaultHttpxClient(verify=TLS),
        )

    def post(self, user: str, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.secret(user)}", **headers}
        return httpx.post(f"{self.url}{path}", json=body, headers=headers, timeout=120, verify=TLS)

    def balance(self, user: str) -> Balance:
        with ThreadPoolExecutor(1) as pool:  # a test may run in an event loop of its own
            (found,) = pool.submit(lambda: asyncio.run(balances(self.stack.settings, user))).result()
        return found

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        return list(self.ledger.query(sql, parameters=parameters).named_results())

    @cached_property
    def ledger(self) -> Any:
        return connect(self.stack.settings.ledger)

    def charge(self, charge_id: str, within_s: float = 20) -> dict[str, Any]:
        """Return a charge's row in the ledger, once it has arrived there."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            found = self.rows("SELECT * FROM charges_final WHERE id = {id:String}", id=charge_id)
            if found:
                assert len(found) == 1
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"charge {charge_id} did not arrive in the ledger within {within_s} s")

    def charges_of(self, user: str) -> list[dict[str, Any]]:
        return self.rows("SELECT * FROM charges_final WHERE user = {user:String} ORDER BY started", user=user)

    def books(self) -> Report:
        """Wait for the outbox to empty and compare outbox, credits and ledger."""
        return collect(self.stack.settings, [], {})


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder: Path = tmp_path_factory.mktemp("stack")
    stack = Stack(folder, USERS, departments={"marketing": {"when_short": "deny"}})
    config = yaml.safe_load((folder / "farthing.yaml").read_text())
    config["telemetry"]["linger_s"] = 0.02  # every other test waits for a charge
    (folder / "farthing.yaml").write_text(yaml.safe_dump(config))
    with stack:
        yield Gateway(stack)


def second_proxy(
    gateway: Gateway,
    folder: Path,
    change: Callable[[dict[str, Any]], None] = lambda config: None,
    settle: Callable[[dict[str, Any]], None] = lambda settings: None,
) -> tuple[Part, str]:
    """Start another proxy on the same tier, ledger and balances, with changed configurations.

    ``change`` may change litellm.yaml, ``settle`` farthing.yaml. What the proxy itself remembers is its own.
    """
    port = free_port()
    config = yaml.safe_load((gateway.stack.folder / "litellm.yaml").read_text())
    change(config)
    (folder / "litellm.yaml").write_text(yaml.safe_dump(config))
    settings = yaml.safe_load((gateway.stack.folder / "farthing.yaml").read_text())
    settings["credits"]["store"] = gateway.stack.settings.credits.store
    settings["telemetry"]["outbox"] = str(gateway.stack.settings.telemetry.outbox)
    settle(settings)
    (folder / "farthing.yaml").write_text(yaml.safe_dump(settings))
    url = f"http://127.0.0.1:{port}"
    litellm = str(Path(sys.executable).parent / "litellm")
    command = [litellm, "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    own = {"PYTHONPATH": path, "FARTHING_CONFIG": str(folder / "farthing.yaml")}
    environment = gateway.stack.environment | own
    part = Part("second proxy", command, f"{url}/health/liveliness", folder / "proxy.log", environment)
    part.start()
    return part, url


def usd(text: str) -> Decimal:
    return Decimal(text)
