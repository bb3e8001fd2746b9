"""The real collector as a process of a test or a bench, on free loopback ports, with otel-collector.yaml."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from farthing.demo.stack import Part, free_port
from farthing.settings import Ledger

CONFIG = Path(__file__).resolve().parents[1] / "otel-collector.yaml"


@dataclass
class Collector:
    """A collector that writes to ``ledger``; its queue and its log are in ``folder``.

    ``values`` are further environment variables of otel-collector.yaml. Nothing runs before `start`; `kill`
    is a crash, and `start` after it a restart on the same queue.
    """

    binary: Path
    folder: Path
    ledger: Ledger
    values: dict[str, str] = field(default_factory=dict)
    part: Part = field(init=False)

    def __post_init__(self) -> None:
        grpc, http, health, metrics = (free_port() for _ in range(4))
        self.url = f"http://127.0.0.1:{http}"
        self.grpc = f"127.0.0.1:{grpc}"
        self._metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        own = {
            "FARTHING_OTLP_GRPC": self.grpc,
            "FARTHING_OTLP_HTTP": f"127.0.0.1:{http}",
            "FARTHING_COLLECTOR_HEALTH": f"127.0.0.1:{health}",
            "FARTHING_COLLECTOR_METRICS_PORT": str(metrics),
            "FARTHING_QUEUE_DIR": str(self.folder / "queue"),
            "FARTHING_CLICKHOUSE": self.ledger.url,
            "FARTHING_LEDGER_USER": self.ledger.user,
            "FARTHING_LEDGER_PASSWORD": self.ledger.password,
            "FARTHING_LEDGER_DATABASE": self.ledger.database,
            "FARTHING_TRACES_EXPORTER": "nop",
            "FARTHING_DECISION_WAIT": "1s",
        }
        self.part = Part(
            "collector",
            [str(self.binary), "--config", str(CONFIG)],
            f"http://127.0.0.1:{health}/",
            self.folder / "collector.log",
            os.environ | own | self.values,
        )

    def __enter__(self) -> "Collector":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.part.stop()

    def start(self) -> None:
        """Start it and wait until it takes spans."""
        self.part.start()
        self.part.wait_ready()

    def kill(self) -> None:
        """End it as a crash would."""
        self.part.kill()

    def queued_bytes(self) -> int:
        """Return how much waits for the ledger in the charges' queue, as the collector's own metrics say."""
        text = httpx.get(self._metrics_url, timeout=5).text
        pattern = r'^otelcol_exporter_queue_size\{[^}]*exporter="clickhouse/charges"[^}]*\} (\S+)'
        found = re.search(pattern, text, re.MULTILINE)
        return int(float(found[1])) if found else 0
