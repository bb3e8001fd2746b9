"""Charges into the ledger: our OTLP receiver, and beside it what else could bring them there."""

import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.ledger.spans import batches, numbered
from farthing.demo.stack import free_port
from farthing.ledger import columns, connect, otlp
from farthing.settings import Ledger, Settings
from farthing.telemetry.delivery import MOST_SPANS

_SERVE = (
    "import sys; from farthing.settings import Settings; from farthing.ledger.server import serve; "
    "serve(Settings.model_validate_json(sys.argv[1]))"
)
_DISTINCT = 12
_PASSWORD = "bench"
_AUTHORIZATION = {"Authorization": "Basic " + b64encode(f"farthing:{_PASSWORD}".encode()).decode()}


@dataclass(frozen=True, slots=True)
class Rate:
    """Charges stored per second: the median of rounds, the slowest and the fastest.

    ``cpu_us``: processor time of the ledger's process for each charge, microseconds (median); it depends
    little on what else the machine does.
    """

    name: str
    median: float
    slowest: float
    fastest: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Ingest:
    """What `measure` found. ``memory``: the ledger's resident set, MiB, at first and after each way."""

    rates: list[Rate]
    charges: int
    memory: list[float]
    exact: bool


@contextmanager
def running(folder: Path) -> Iterator[tuple[Settings, subprocess.Popen[bytes]]]:
    """Run the embedded ledger in a process of its own."""
    url = f"http://127.0.0.1:{free_port()}"
    settings = Settings(
        ledger=Ledger(url=url, user="farthing", password=_PASSWORD, path=folder, database="farthing")
    )
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, settings.model_dump_json()], stdout=subprocess.DEVNULL
    )
    try:
        _wait(settings.ledger.url, process)
        yield settings, process
    finally:
        process.terminate()
        process.wait(60)


def measure(rounds: int, seconds: float, senders: int, rotel: Path | None) -> Ingest:
    """Run rounds of each way in turn, so that a busy machine is busy for all of them."""
    made = batches(_DISTINCT)
    found: dict[str, list[tuple[float, float]]] = {}
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder) / "ledger") as (settings, process):
        ledger = settings.ledger
        client = connect(ledger)
        sent = 0
        memory.append(_resident(process.pid))
        for _ in range(rounds):
            count = max(2 * senders, int(seconds * 25_000 / MOST_SPANS))
            bodies = [numbered(made[(sent + n) % _DISTINCT], sent + n) for n in range(count)]
            blocks = [_block(made[(sent + n) % _DISTINCT], sent + n + 50_000) for n in range(count // 4)]
            ways: dict[str, Callable[[], tuple[int, float]]] = {
                "Farthing: OTLP → spans and charges": lambda b=bodies: _post(
                    ledger.url, "/v1/traces", b, senders
                ),
                "ready rows of spans over HTTP, as a collector's exporter sends them": (
                    lambda b=blocks: _post(ledger.url, _INSERT_PATH, b, senders)
                ),
                "clickhouse-connect, ready charges, one table (upper bound)": lambda: _copy(client),
            }
            if rotel is not None:
                more = [numbered(made[n % _DISTINCT], 90_000 - sent - n) for n in range(count // 4)]
                ways["rotel 0.0.1a15 → the same ledger"] = lambda b=more: _through(rotel, ledger, b, senders)
            for name, way in ways.items():
                before = _processor_s(process.pid)
                stored, took = way()
                used = _processor_s(process.pid) - before
                found.setdefault(name, []).append((stored / took, used / stored * 1e6))
                memory.append(_resident(process.pid))
            sent += count
        query = "SELECT uniqExact(id), count() FROM charges_final WHERE id < 'batch-50000'"
        unique, rows = client.query(query).result_rows[0]
        exact = unique == rows == sent * MOST_SPANS
        client.close()
    rates = []
    for name, values in found.items():
        speeds, used = zip(*values, strict=True)
        rates.append(Rate(name, statistics.median(speeds), min(speeds), max(speeds), statistics.median(used)))
    return Ingest(rates, sent * MOST_SPANS, memory, exact)


_INSERT_PATH = "/?query=" + columns.INSERT.replace(" ", "%20").replace("`", "%60") + "%20FORMAT%20Native"


def _block(payload: bytes, batch: int) -> bytes:
    plain = payload.replace(b"batch-00000", b"batch-%05d" % batch)
    return columns.SpanColumns().encode(otlp.read(plain, otlp.PROTOBUF)).data


def _post(url: str, path: str, bodies: list[bytes], senders: int) -> tuple[int, float]:
    """Send bodies over ``senders`` connections, each as soon as its last was answered; return charges, s."""
    address = url.removeprefix("http://")
    waiting = iter(bodies)
    lock = threading.Lock()
    failures: list[str] = []
    headers = dict(_AUTHORIZATION)
    if path == "/v1/traces":
        headers |= {"Content-Type": otlp.PROTOBUF, "Content-Encoding": "gzip"}

    def send() -> None:
        connection = http.client.HTTPConnection(address, timeout=120)
        while not failures:
            with lock:
                body = next(waiting, None)
            if body is None:
                break
            try:
                connection.request("POST", path, body, headers)
                response = connection.getresponse()
                text = response.read()
            except OSError as error:
                failures.append(f"{url}: {error}")
                break
            if response.status != 200:
                failures.append(f"HTTP {response.status}: {text[:300]!r}")
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(senders)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return len(bodies) * MOST_SPANS, time.monotonic() - began


def _copy(client: Any) -> tuple[int, float]:
    names = client.query("SELECT * FROM charges LIMIT 0").column_names
    rows = client.query(f"SELECT * FROM charges ORDER BY id LIMIT {32 * MOST_SPANS}").result_rows
    at = names.index("id")
    data = [[*row[:at], f"copied-{row[at]}", *row[at + 1 :]] for row in rows]
    began = time.monotonic()
    client.insert("charges", data, column_names=names)
    return len(data), time.monotonic() - began


def _through(rotel: Path, ledger: Ledger, bodies: list[bytes], senders: int) -> tuple[int, float]:
    """Send through rotel and wait until the ledger has all: it answers when it has queued."""
    port, grpc = free_port(), free_port()
    client = connect(ledger)
    before = client.command("SELECT count() FROM otel_traces")
    command = [
        str(rotel), "start", "--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint",
        f"127.0.0.1:{grpc}", "--exporter", "clickhouse", "--clickhouse-exporter-endpoint", ledger.url,
        "--clickhouse-exporter-database", ledger.database, "--clickhouse-exporter-user", ledger.user,
        "--clickhouse-exporter-password", ledger.password,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(port)
        began = time.monotonic()
        _post(f"http://127.0.0.1:{port}", "/v1/traces", bodies, senders)
        while client.command("SELECT count() FROM otel_traces") - before < len(bodies) * MOST_SPANS:
            if time.monotonic() - began > 120:
                raise RuntimeError("rotel did not bring all spans within two minutes")
            time.sleep(0.05)
        return len(bodies) * MOST_SPANS, time.monotonic() - began
    finally:
        process.terminate()
        process.wait(30)
        client.close()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the ledger stopped ({process.returncode})")
        try:
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the ledger did not answer /ping")
