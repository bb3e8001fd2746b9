"""A real embedded ledger in a process of its own, and charges to put into it."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from farthing.settings import Ledger, Settings
from farthing.telemetry import Account, Charge, Cost, Usage
from farthing.telemetry.spans import ChargeSpans

USER, PASSWORD = "farthing", "correct horse"
AUTH = (USER, PASSWORD)
PROTOBUF = {"Content-Type": "application/x-protobuf"}

_SERVE = "import sys; from farthing.settings import Settings; from farthing.ledger.server import serve; "
_SERVE += "serve(Settings.model_validate_json(sys.argv[1]))"


def ledger_settings(folder: Path, port: int | None = None, **changes: object) -> Settings:
    """Return settings of an embedded ledger in ``folder`` at a free loopback port.

    It does not roll by itself unless ``changes`` (to settings.ledger) say so.
    """
    if port is None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
    ledger = Ledger(
        url=f"http://127.0.0.1:{port}",
        user=USER,
        password=PASSWORD,
        path=folder / "ledger",
        database="farthing",
        # The tests' spans are of fixed days, which must not expire when those are long ago.
        **{"roll_every_s": 0, "retention": {"traces_days": None}, **changes},
    )
    return Settings(ledger=ledger)


def start_ledger(settings: Settings) -> subprocess.Popen[str]:
    """Start the server without waiting for it."""
    return subprocess.Popen(
        [sys.executable, "-c", _SERVE, settings.model_dump_json()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TZ": "America/New_York"},
    )


def wait_ready(settings: Settings, process: subprocess.Popen[str], within_s: float = 120) -> float:
    """Return how many seconds it took until /ping answered; raise with the server's words if it does not."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if process.poll() is not None:
            raise RuntimeError(f"the ledger stopped ({process.returncode}): {process.stderr.read()}")
        try:
            if httpx.get(f"{settings.ledger.url}/ping", timeout=2).text == "Ok.\n":
                return time.monotonic() - began
        except httpx.TransportError:
            time.sleep(0.02)
    raise RuntimeError("the ledger did not answer /ping")


def stop_ledger(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> int:
    """Send a signal and return the exit status (negative: killed by it)."""
    if process.poll() is None:
        process.send_signal(number)
    try:
        return process.wait(30)
    finally:
        for pipe in (process.stdout, process.stderr):
            pipe.close()


@contextmanager
def embedded_ledger(folder: Path, port: int | None = None, **changes: object) -> Iterator[Settings]:
    """Run an embedded ledger in ``folder`` and yield its settings."""
    settings = ledger_settings(folder, port, **changes)
    process = start_ledger(settings)
    try:
        wait_ready(settings, process)
        yield settings
    finally:
        stop_ledger(process)


def sql(settings: Settings, query: str, **params: str) -> str:
    """Run a statement as curl would and return the answer's text; fail on an error."""
    response = httpx.post(settings.ledger.url, params=params, content=query, auth=AUTH, timeout=60)
    assert response.status_code == 200, response.text
    return response.text


def post_spans(settings: Settings, payload: bytes, **headers: str) -> httpx.Response:
    """Send an OTLP request in protobuf."""
    return httpx.post(
        f"{settings.ledger.url}/v1/traces", content=payload, headers=PROTOBUF | headers, auth=AUTH, timeout=60
    )


def deliver(
    settings: Settings, charges: list[Charge], spans: ChargeSpans | None = None, batch: int = 500
) -> None:
    """Send the spans of charges in batches; fail unless each is acknowledged."""
    spans = spans or ChargeSpans("farthing", "test")
    for at in range(0, len(charges), batch):
        # Serialised protobuf messages put end to end are one message with all their spans.
        payload = b"".join(spans.finish(charge).payload for charge in charges[at : at + batch])
        response = post_spans(settings, payload)
        assert response.status_code == 200, response.text


def charge(number: int = 1, **changes: object) -> Charge:
    """Return a charge of a priced chat call in November 2026."""
    started = datetime(2026, 11, 24, 10, 0, 0, 123456, tzinfo=UTC) + timedelta(seconds=number)
    values: dict[str, object] = {
        "id": f"charge-{number}", "kind": "inference", "outcome": "ok", "started": started,
        "ended": started + timedelta(milliseconds=1234),
        "account": Account("ab" * 32, "ada", "engineering", "CC-100"), "session_id": "s-1",
        "session_step": 3, "surface": "chat", "streamed": True, "grade": "HIGH", "grade_score": 0.875,
        "grade_source": "rule", "intent": "c0ffee00", "tier": "strong", "model": "gpt-5",
        "provider": "openai", "stand_in": False,
        "usage": Usage(1000, 200, 300, 50, 20), "usage_estimated": False,
        "cost": Cost(1_250_001, 2_000_000, 37_500, 62_500), "price_version": "map-1",
        "cost_source": "provider", "baseline_model": "gpt-5", "baseline_cost": 4_000_003,
        "held": 9_000_000, "settled": 3_350_001, "balance": 996_649_999, "climbed_from": "fast",
        "gateway_instance": "gw-1", "sequence": number,
    }  # fmt: skip
    return Charge(**{**values, **changes})


def random_charges(count: int, seed: int) -> list[Charge]:
    """Return charges over departments, users, tiers, kinds and months; some lack a price or baseline."""
    rng = random.Random(seed)
    people = [Account(f"{n:064x}", f"user-{n}", f"department-{n % 4}", f"CC-{n % 4}") for n in range(9)]
    tiers = [("local", "smollm2"), ("fast", "gpt-5-mini (stand-in)"), ("strong", "gpt-5")]
    made: list[Charge] = []
    for number in range(1, count + 1):
        kind = rng.choices(["inference", "grading", "summary", "failed_attempt"], [80, 8, 4, 8])[0]
        tier, model = rng.choice(tiers)
        started = datetime(2026, rng.choice([10, 11, 12]), rng.randint(1, 28), rng.randint(0, 23), tzinfo=UTC)
        started += timedelta(microseconds=rng.randrange(3_600_000_000))
        # Heavy-tailed, as real bills are: most are tiny, a few are large.
        cost = Cost(*(int(rng.paretovariate(0.7) * 1000) for _ in range(4))) if rng.random() > 0.05 else None
        baseline = rng.randrange(10**10) if kind == "inference" and cost and rng.random() > 0.03 else None
        made.append(
            charge(
                number, id=f"{seed}-{number}", kind=kind, started=started,
                ended=started + timedelta(seconds=2),
                account=rng.choice(people), tier=tier, model=model, stand_in="stand-in" in model,
                usage=Usage(rng.randrange(10**6), rng.randrange(10**5), rng.randrange(10**4), 0, 0),
                cost=cost, baseline_cost=baseline, settled=cost.total if cost else 0,
                outcome="failed" if kind == "failed_attempt" else "ok",
            )
        )  # fmt: skip
    return made
