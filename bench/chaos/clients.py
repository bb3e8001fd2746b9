"""Clients that ask without pause, whether anybody answers or not, and note what they were told it cost."""

import itertools
import json
import random
import threading
from collections import Counter
from decimal import Decimal

import httpx

from bench.chaos.parts import Parts


class Clients:
    """``number`` threads. ``told`` holds each answered request's charge and its cost in nano-dollars."""

    def __init__(self, parts: Parts, number: int, seed: int) -> None:
        self.told: dict[str, int] = {}
        self.outcomes: Counter[str] = Counter()
        self._parts, self._over, self._lock = parts, threading.Event(), threading.Lock()
        self._numbers = itertools.count(1)
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed * 1000 + n), n), daemon=True)
            for n in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish what it asked, and stop."""
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def _run(self, rng: random.Random, number: int) -> None:
        key = self._parts.keys[number % len(self._parts.keys)]
        headers = {"authorization": f"Bearer {key.secret}"}
        with httpx.Client(base_url=self._parts.url, headers=headers, timeout=60) as http:
            while not self._over.is_set():
                try:
                    outcome = self._ask(http, rng)
                except httpx.HTTPError:
                    outcome = "cut off"
                    self._over.wait(0.1)
                with self._lock:
                    self.outcomes[outcome] += 1

    def _ask(self, http: httpx.Client, rng: random.Random) -> str:
        stream = rng.random() < 0.5
        body = {
            "model": rng.choice(["auto", "auto", "fast", "strong"]),
            "stream": stream,
            "max_tokens": 200,
            "litellm_session_id": f"chaos {next(self._numbers)}",
            "messages": [{"role": "user", "content": f"Say something about the number {rng.random()}."}],
        }
        facts: dict[str, str] = {}
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            if answer.status_code != 200:
                answer.read()
                return f"HTTP {answer.status_code}"
            if stream:
                for line in answer.iter_lines():
                    if line.startswith("data: {") and '"farthing"' in line:
                        facts = json.loads(line[6:]).get("farthing") or {}
            else:
                answer.read()
                facts = {
                    name.removeprefix("x-farthing-"): value
                    for name, value in answer.headers.items()
                    if name.startswith("x-farthing-")
                }
        if "charge" not in facts or "cost" not in facts:
            return "answered without its figures"
        with self._lock:
            self.told[facts["charge"]] = int(Decimal(facts["cost"]) * 10**9)
        return "answered"
