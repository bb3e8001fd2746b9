"""The laptop stack: sovereign tier, embedded ledger and proxy as processes of this one."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from farthing import scaffold
from farthing.settings import Settings, load

READY_WITHIN_S = 180.0


class StackError(Exception):
    """A part of the stack did not start; the text has the end of its log."""


def free_port(preferred: int = 0) -> int:
    """Return ``preferred`` if nothing listens on it, else any free port of the loopback address."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StackError("no free port on 127.0.0.1")


@dataclass(slots=True)
class Part:
    """One process of the stack, with its log and its health page."""

    name: str
    command: Sequence[str]
    ready_url: str
    log: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    ready_after_s: float = 0.0
    _started: float = 0.0

    def start(self) -> None:
        """Start the process; its output goes to its log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=dict(self.environment),
                start_new_session=True,  # Ctrl-C is ours to pass on, part by part
            )

    def wait_ready(self) -> None:
        """Wait for the health page. Raises StackError if the process ends or takes too long."""
        # One client without certificates: to read them at every look would take the machine's time from
        # what is starting.
        with httpx.Client(timeout=5, verify=False) as client:  # noqa: S501
            while time.monotonic() - self._started < READY_WITHIN_S:
                if self.process is None or self.process.poll() is not None:
                    raise StackError(f"the {self.name} ended while starting:\n{self.log_tail()}")
                try:
                    if client.get(self.ready_url).status_code == 200:
                        self.ready_after_s = time.monotonic() - self._started
                        return
                except httpx.HTTPError:
                    pass
                time.sleep(0.1)
        raise StackError(f"the {self.name} was not ready in {READY_WITHIN_S:.0f} s:\n{self.log_tail()}")

    def stop(self, grace_s: float = 30.0) -> None:
        """End the process, politely first."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self) -> None:
        """End the process and all that it started, at once, as a crash would."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def log_tail(self, lines: int = 25) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


@dataclass(slots=True)
class Stack:
    """Tier, ledger and proxy on free loopback ports, with their files in one folder.

    As a context manager it starts all three and stops them at the end.
    """

    folder: Path
    keys: Sequence[scaffold.NewKey]
    organisation: str = "Example Ltd"
    cloud: scaffold.Cloud = scaffold.STAND_IN
    departments: Mapping[str, object] = field(default_factory=dict)
    say: Callable[[str], None] = print
    tier: Part = field(init=False)
    ledger: Part = field(init=False)
    proxy: Part = field(init=False)
    settings: Settings = field(init=False)
    proxy_url: str = field(init=False)
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        ports = [free_port(8900), free_port(8123), free_port(4000)]
        tier_url, ledger_url, self.proxy_url = (f"http://127.0.0.1:{port}" for port in ports)
        self.folder = self.folder.resolve()
        secrets = scaffold.write(
            self.folder,
            self.keys,
            organisation=self.organisation,
            tier_url=tier_url,
            ledger_url=ledger_url,
            cloud=self.cloud,
            departments=self.departments,
            replace=True,
        )
        config = self.folder / "farthing.yaml"
        self.environment = {
            **os.environ,
            **secrets,
            "FARTHING_CONFIG": str(config),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        os.environ["FARTHING_LEDGER_PASSWORD"] = secrets["FARTHING_LEDGER_PASSWORD"]
        self.settings = load(config)
        python = sys.executable
        names = [part for name in self.cloud.served_names for part in ("--served-name", name)]
        tools = Path(python).parent
        self.tier = self._part(
            "sovereign tier",
            [python, "-m", "ray_deploy", "--port", str(ports[0]), "--max-output", "128", *names],
            f"{tier_url}/ready",
        )
        self.ledger = self._part(
            "ledger",
            [str(tools / "farthing"), "ledger", "serve", "--config", str(config)],
            f"{ledger_url}/ping",
        )
        litellm = [str(tools / "litellm"), "--config", str(self.folder / "litellm.yaml")]
        self.proxy = self._part(
            "proxy",
            [*litellm, "--host", "127.0.0.1", "--port", str(ports[2])],
            f"{self.proxy_url}/health/liveliness",
        )

    def _part(self, name: str, command: Sequence[str], ready_url: str) -> Part:
        log = self.folder / "logs" / f"{name.split()[-1]}.log"
        return Part(name, command, ready_url, log, self.environment)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The three parts, in the order they are stopped."""
        return (self.proxy, self.ledger, self.tier)

    def __enter__(self) -> Self:
        try:
            for part in self.parts:
                part.start()
            self.say("  starting " + ", ".join(part.name for part in self.parts) + " …")
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_ready(self) -> None:
        with ThreadPoolExecutor(len(self.parts)) as pool:
            waits = {pool.submit(part.wait_ready): part for part in self.parts}
            try:
                for wait in as_completed(waits):
                    wait.result()
                    part = waits[wait]
                    self.say(f"  {part.name} ready after {part.ready_after_s:.1f} s: {part.ready_url}")
            except BaseException:
                self.stop()  # ends the other waits, too
                raise

    def stop(self) -> None:
        """Stop all parts; the proxy first, so that nothing is asked of the others."""
        for part in self.parts:
            part.stop()
