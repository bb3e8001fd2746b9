"""Real parts of the stack for tests, each a context manager that leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_tier(
    port: int, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start ``python -m ray_deploy``; its first line on stdout says that it is ready."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "ray_deploy", "--port", str(port), *arguments],
        cwd=tempfile.gettempdir(),
        env=os.environ | {"PYTHONPATH": path} | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_ready(process: subprocess.Popen[str], seconds: float = 120) -> str:
    """Wait for the tier's ready line and return it; fail with its stderr when it ends before."""
    assert process.stdout is not None
    assert process.stderr is not None
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
    finally:
        watchdog.cancel()
    if not line:
        raise AssertionError(f"the sovereign tier did not start: {process.stderr.read()}")
    return line


def stop(process: subprocess.Popen[str], seconds: float = 40) -> tuple[str, str]:
    """Ask a process to end, wait, and return what it had left to say on stdout and stderr."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


@contextmanager
def sovereign_tier(*served_names: str) -> Iterator[str]:
    """Run a real sovereign tier on a free port; yields its base URL, which ends in ``/v1``."""
    port = free_port()
    process = start_tier(port, *(part for name in served_names for part in ("--served-name", name)))
    try:
        wait_ready(process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        stop(process)
