"""What Farthing adds to a request: direct, bare LiteLLM, and LiteLLM + Farthing, in interleaved rounds.

Against a fast fake endpoint (bench/fake_endpoint.py), so that only the gateway's own time shows. Every
round asks each row in turn, so that a noisy machine is noisy for all; the figures are medians over rounds.

Run: make bench, or python -m bench.overhead --help
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from farthing.demo.stack import Part, free_port
from farthing.scaffold import NewKey, new_secret, write

ASK = "Name three rivers of Portugal and say in one sentence where each meets the sea."


@dataclass(frozen=True)
class Row:
    name: str
    url: str
    key: str
    model: str


def start(stack: ExitStack, name: str, command: list[str], ready: str, folder: Path, **env: str) -> None:
    part = Part(name, command, ready, folder / f"{name.replace(' ', '-')}.log", {**os.environ, **env})
    stack.callback(part.stop)
    part.start()
    part.wait_ready()


def start_all(stack: ExitStack, folder: Path) -> list[Row]:
    tools = Path(sys.executable).parent
    fake_port, bare_port, ours_port, ledger_port = (free_port() for _ in range(4))
    fake = f"http://127.0.0.1:{fake_port}"
    start(
        stack,
        "fake endpoint",
        [sys.executable, "-m", "bench.fake_endpoint", str(fake_port)],
        f"{fake}/ready",
        folder,
    )

    key = NewKey(new_secret(), "bench", "bench", "", 1_000_000_000)
    ledger = f"http://127.0.0.1:{ledger_port}"
    secrets = write(folder / "farthing", [key], tier_url=fake, ledger_url=ledger)
    env = {
        **secrets,
        "FARTHING_CONFIG": str(folder / "farthing" / "farthing.yaml"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    serve = [str(tools / "farthing"), "ledger", "serve"]
    start(stack, "ledger", serve, f"{ledger}/ping", folder, **env)

    ours = yaml.safe_load((folder / "farthing" / "litellm.yaml").read_text())
    auto = ours["model_list"][0]
    tiers = auto["litellm_params"]["complexity_router_config"]["tiers"]
    heuristic = {  # LiteLLM's own grading, for the row beside ours
        "model": "auto_router/complexity_router",
        "complexity_router_default_model": "fast",
        "complexity_router_config": {"tiers": tiers},
    }
    bare = {
        "model_list": [*ours["model_list"][1:], {"model_name": "auto", "litellm_params": heuristic}],
        "router_settings": {"num_retries": 1},
        "general_settings": {"master_key": secrets["LITELLM_MASTER_KEY"]},
    }
    (folder / "bare.yaml").write_text(yaml.safe_dump(bare))
    for name, config, port in (
        ("bare litellm", folder / "bare.yaml", bare_port),
        ("litellm with farthing", folder / "farthing" / "litellm.yaml", ours_port),
    ):
        command = [
            str(tools / "litellm"),
            "--config",
            str(config),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        start(stack, name, command, f"http://127.0.0.1:{port}/health/liveliness", folder, **env)
    bare_url, ours_url = f"http://127.0.0.1:{bare_port}", f"http://127.0.0.1:{ours_port}"
    return [
        Row("direct to the endpoint", fake, "none", "gpt-5-mini"),
        Row("bare LiteLLM, model named", bare_url, secrets["LITELLM_MASTER_KEY"], "fast"),
        Row("LiteLLM + Farthing, model named", ours_url, key.secret, "fast"),
        Row("bare LiteLLM, its auto router", bare_url, secrets["LITELLM_MASTER_KEY"], "auto"),
        Row("LiteLLM + Farthing, auto", ours_url, key.secret, "auto"),
    ]


async def ask(client: httpx.AsyncClient, row: Row, *, stream: bool) -> float:
    body = {
        "model": row.model,
        "messages": [{"role": "user", "content": ASK}],
        "max_tokens": 16,
        "stream": stream,
    }
    started = time.perf_counter()
    response = await client.post(
        f"{row.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {row.key}"}
    )
    taken = time.perf_counter() - started
    response.raise_for_status()
    return taken * 1000


async def measure(
    rows: list[Row], rounds: int, requests: int, concurrency: int, *, stream: bool
) -> list[str]:
    samples: dict[str, list[list[float]]] = {row.name: [] for row in rows}
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=concurrency)) as client:
        for row in rows:
            for _ in range(20):
                await ask(client, row, stream=stream)
        for _ in range(rounds):
            for row in rows:
                gate = asyncio.Semaphore(concurrency)

                async def one(row: Row = row, gate: asyncio.Semaphore = gate) -> float:
                    async with gate:
                        return await ask(client, row, stream=stream)

                samples[row.name].append(await asyncio.gather(*(one() for _ in range(requests))))
    kind = f"{'streamed' if stream else 'in one piece'}, {concurrency} at a time"
    table: list[str] = []
    for row in rows:
        bare = samples[
            "bare LiteLLM, model named" if row.model != "auto" else "bare LiteLLM, its auto router"
        ]
        ours50, ours99 = ([quantile(batch, q) for batch in samples[row.name]] for q in (0.5, 0.99))
        added = ""
        if "Farthing" in row.name:
            added = "".join(
                f"{statistics.median(a - quantile(b, q) for a, b in zip(ours, bare, strict=True)):>+11.2f}"
                for ours, q in ((ours50, 0.5), (ours99, 0.99))
            )
        table.append(
            f"{kind:<26}{row.name:<34}{statistics.median(ours50):>8.2f}{statistics.median(ours99):>8.2f}{added}"
        )
    return table


def quantile(batch: list[float], q: float) -> float:
    return sorted(batch)[min(len(batch) - 1, round(q * (len(batch) - 1)))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default: %(default)s)")
    parser.add_argument(
        "--requests", type=int, default=100, help="requests a row and round (default: %(default)s)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        rows = start_all(stack, Path(folder))
        table: list[str] = []
        for stream, concurrency in ((False, 1), (True, 1), (False, 8)):
            table += asyncio.run(measure(rows, options.rounds, options.requests, concurrency, stream=stream))
            table.append("")
    print(
        f"Chat, ms: medians over {options.rounds} interleaved rounds of {options.requests} requests a row."
        "\nAdded: to the bare LiteLLM row of the same model in the same round.\n"
    )
    print(f"{'':<60}{'p50':>8}{'p99':>8}{'added p50':>11}{'added p99':>11}")
    print("\n".join(table))


if __name__ == "__main__":
    main()
