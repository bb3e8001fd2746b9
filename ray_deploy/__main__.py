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


class _Stop(BaseException):
    """SIGINT or SIGTERM came."""


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
    _on_signals(_raise_stop)
    try:
        return _serve(settings, started)
    except _Stop:  # before it was ready
        return 0


def _serve(settings: Settings, started: float) -> int:
    from ray_deploy.cluster import (
        ClusterError,
        local_cluster,
    )  # imports Ray: a second that --help need not wait

    try:
        with local_cluster(settings) as cluster:
            _on_signals(_raise_stop)  # Ray put its own handlers in
            try:
                cluster.deploy()
                url = f"http://{_reachable(settings.host)}:{settings.port}"
                deadline = started + _START_LIMIT_S
                while not _is_ready(url):
                    cluster.check_servers()
                    cluster.check_deployment()
                    if time.monotonic() > deadline:
                        raise ClusterError(f"not ready after {_START_LIMIT_S:.0f} s")
                    time.sleep(0.1)
                print(f"sovereign tier ready at {url}/v1 ({time.monotonic() - started:.1f} s)", flush=True)
                while True:
                    time.sleep(1)
                    cluster.check_servers()
            except _Stop:
                cluster.drain()  # a second signal breaks this off
    except _Stop:
        pass
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


def _on_signals(handler: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)  # type: ignore[arg-type]


def _raise_stop(number: int, frame: object) -> None:
    raise _Stop


if __name__ == "__main__":
    sys.exit(main())
