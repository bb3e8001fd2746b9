"""The real collector between real charges and a real embedded ledger. It is built by `make collector`."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from collector.build import binary
from collector.process import Collector
from farthing.telemetry import Charge
from farthing.telemetry.spans import ChargeSpans
from tests.ledger_stack import PROTOBUF, ledger_settings, sql, start_ledger, stop_ledger, wait_ready


@pytest.fixture(scope="session")
def collector_binary() -> Path:
    found = binary()
    if found is None:
        pytest.fail(
            "the collector of collector/builder.yaml is not built: run `make collector`", pytrace=False
        )
    return found


class Rig:
    """A ledger that can be taken away, and collectors before it."""

    def __init__(self, collector_binary: Path, folder: Path) -> None:
        self._binary, self._folder = collector_binary, folder
        self.settings = ledger_settings(folder)
        self._ledger: subprocess.Popen[str] | None = None
        self._collectors: list[Collector] = []

    def ledger_up(self) -> None:
        if self._ledger is None:
            self._ledger = start_ledger(self.settings)
            wait_ready(self.settings, self._ledger)

    def ledger_down(self, number: int = signal.SIGTERM) -> None:
        if self._ledger is not None:
            stop_ledger(self._ledger, number)
            self._ledger = None

    def collect(self, **values: str) -> Collector:
        folder = self._folder / f"collector-{len(self._collectors)}"
        started = Collector(self._binary, folder, self.settings.ledger, values)
        self._collectors.append(started)
        started.start()
        return started

    def rows(self, query: str) -> list[str]:
        return sql(self.settings, query).splitlines()

    def number(self, query: str) -> int:
        return int(sql(self.settings, query))

    def empty(self) -> None:
        """Make the ledger as good as new."""
        filled = """SELECT name FROM system.tables WHERE database = currentDatabase() AND total_rows > 0
                    AND engine LIKE '%MergeTree' AND name != 'schema_migrations'"""
        for table in self.rows(filled):
            self.rows(f"TRUNCATE TABLE {table}")

    def stop_collectors(self) -> None:
        for collector in self._collectors:
            collector.part.stop()


@pytest.fixture(scope="module")
def module_rig(collector_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(collector_binary, tmp_path_factory.mktemp("rig"))
    yield made
    made.ledger_down()


@pytest.fixture
def rig(module_rig: Rig) -> Iterator[Rig]:
    """The module's ledger, up and empty; collectors are each test's own."""
    module_rig.ledger_up()
    module_rig.empty()
    try:
        yield module_rig
    finally:
        module_rig.stop_collectors()


def post(collector: Collector, *payloads: bytes, timeout: float = 20) -> httpx.Response:
    """Send spans as one OTLP request."""
    return httpx.post(
        f"{collector.url}/v1/traces", content=b"".join(payloads), headers=PROTOBUF, timeout=timeout
    )


def payloads(charges: list[Charge]) -> list[bytes]:
    spans = ChargeSpans("farthing", "test")
    return [spans.finish(charge).payload for charge in charges]


def until(condition: Callable[[], bool], what: str, within_s: float = 40) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.1)
