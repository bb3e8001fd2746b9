"""``python -m ray_deploy``: serve a model on this machine until told to stop."""

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence

import httpx

from ray_deploy.settings import Settings, SettingsError, parse

_START_LIMIT_S = 600.0  # a large model on a slow disk


class _Signals:
    """Counts SIGINT and SIGTERM: the first asks to stop, a second breaks off whatever is running.

    The first raises nothing: inside Ray's start an exception may be swallowed, or leave half of it behind.
    """

    def __init__(self) -> None:
        self.count = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._received)

    def _received(self, number: int, frame: object) -> None:
        self.count += 1
        if self.count > 1:
            raise _BrokenOff


class _BrokenOff(BaseException):
    """A second signal came."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one tier. Return 0 after a stop signal, 1 when it fails, 2 when it cannot start as asked."""
    started = time.monotonic()
    try:
        settings = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        _check_port(settings)
    except SettingsError as error:
        print(f"ray_deploy: {error}", file=sys.stderr)
        return 2
    if not settings.is_loopback and not settings.api_key:
        print(
            f"ray_deploy: listening on {settings.host} without an API key: anyone who reaches it can use it; "
            "set SOVEREIGN_API_KEY",
            file=sys.stderr,
        )
    return _serve(settings, started, _Signals())


def _serve(settings: Settings, started: float, signals: _Signals) -> int:
    from ray_deploy.cluster import (
        ClusterError,
        local_cluster,
    )  # imports Ray: a second that --help need not wait

    try:
        with local_cluster(settings) as cluster:
            url = f"http://{_reachable(settings.host)}:{settings.port}"
            if signals.count:
                return 0
            cluster.deploy()
            while not signals.count and not _is_ready(url):
                cluster.check_servers()
                cluster.check_deployment()
                if time.monotonic() > started + _START_LIMIT_S:
                    raise ClusterError(f"not ready after {_START_LIMIT_S:.0f} s")
                time.sleep(0.1)
            if not signals.count:
                print(f"sovereign tier ready at {url}/v1 ({time.monotonic() - started:.1f} s)", flush=True)
            while not signals.count:
                cluster.check_servers()
                time.sleep(0.2)
            cluster.drain()
    except _BrokenOff:
        return 0
    except ClusterError as error:
        print(f"ray_deploy: {error}", file=sys.stderr)
        return 1
    return 0


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _check_port(settings: Settings) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; "
            "end what listens there or choose another --port"
        ) from None


def _reachable(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    sys.exit(main())
