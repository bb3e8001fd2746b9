"""A Ray of our own on this machine: started quietly, ended completely."""

import ctypes
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Ray reads these when it is imported. On Linux its servers would listen on every address and run what they
# are sent: the second makes them keep to loopback, as they do on macOS and Windows, and the token keeps
# other users of the machine out.
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}

import ray
from psutil import STATUS_ZOMBIE, NoSuchProcess, Process, wait_procs  # on the path once Ray is imported
from ray import serve
from ray.serve.api import RunTarget
from ray.serve.schema import ApplicationStatus

from ray_deploy.app import application
from ray_deploy.settings import Settings

APP = "sovereign"
_OBJECT_STORE_BYTES = 100 * 2**20  # answers pass through it only when they exceed 100 KB


class ClusterError(Exception):
    """Ray or the engine did not start, or ended by itself; the text says what happened and where to look."""


class Cluster:
    """A running Ray with Serve in front, listening on the settings' host and port."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Ray's servers for the cluster and the node: they must live as long as we do.
        self._servers = Process().children()

    def deploy(self) -> None:
        """Ask for the application; it becomes ready later."""
        target = RunTarget(application(self._settings), name=APP, route_prefix="/")
        serve.run_many(
            [target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
        )

    def check_deployment(self) -> None:
        """Raise ClusterError when Serve has given up starting the application."""
        status = serve.status().applications.get(APP)
        if status is not None and status.status == ApplicationStatus.DEPLOY_FAILED:
            messages = [deployment.message for deployment in status.deployments.values()]
            raise ClusterError(
                "the engine did not start: " + _last_line("\n".join([status.message, *messages]))
            )

    def check_servers(self) -> None:
        """Raise ClusterError when one of Ray's own servers has ended."""
        if ended := [process.pid for process in self._servers if _has_ended(process)]:
            raise ClusterError(f"a process of Ray ended by itself ({ended[0]})")

    def drain(self) -> None:
        """Take the application away: no new requests, and running answers get ``drain_s`` to end."""
        serve.delete(APP, _blocking=False)  # blocking, it looks once a second
        while APP in serve.status().applications:
            self.check_servers()
            time.sleep(0.1)


@contextmanager
def local_cluster(settings: Settings) -> Iterator[Cluster]:
    """Start a Ray of our own, and end every process of it on the way out, however that comes about."""
    private = None if settings.temp_dir else Path(tempfile.mkdtemp(prefix="tier-", dir="/tmp"))
    # Ray opens its folder to everybody, so it gets one inside ours.
    folder = private / "ray" if private else settings.temp_dir
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        try:
            _start(settings, str(folder))
        except Exception as error:
            raise ClusterError(f"Ray did not start: {_last_line(str(error))}") from error
        yield Cluster(settings)
    except ClusterError as error:
        private = None  # the logs stay
        raise ClusterError(f"{error}\nRay's logs: {folder}/session_latest/logs") from error
    finally:
        _end_processes()
        if private:
            shutil.rmtree(private, ignore_errors=True)


def _start(settings: Settings, folder: str) -> None:
    # Service managers signal the whole process group. That must reach us alone: Ray's servers would end at
    # once and cut running answers off. They inherit what we block, as Ray itself does it for SIGINT. Ray
    # also puts its own handler in, which ends the process on the spot; ours come back before we listen again.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        ray.init(
            address="local",  # never a cluster that happens to run here or is named in RAY_ADDRESS
            num_cpus=settings.replicas,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    serve.start(
        http_options={"host": settings.host, "port": settings.port},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )


def _end_processes() -> None:
    _adopt_orphans()
    started = Process().children(recursive=True)
    # Ray gives each server a second to hear SIGTERM, one after another. Its two main ones it needs for an
    # orderly end; for the others there is nothing to wait for.
    _kill(process for process in Process().children() if _name(process) not in ("raylet", "gcs_server"))
    try:
        ray.shutdown()
    finally:
        # Once more, for workers that Ray has started since.
        left = {*started, *Process().children(recursive=True)}
        _kill(left)
        wait_procs(left, timeout=5)


def _adopt_orphans() -> None:
    """Make this process the parent of those whose parent ends, so that none gets out of sight."""
    if sys.platform == "linux":
        set_child_subreaper = 36  # linux/prctl.h
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def _has_ended(process: Process) -> bool:
    try:
        return bool(process.status() == STATUS_ZOMBIE)
    except NoSuchProcess:
        return True


def _name(process: Process) -> str:
    with suppress(NoSuchProcess):
        return str(process.name())
    return ""


def _kill(processes: Iterable[Process]) -> None:
    for process in processes:
        with suppress(NoSuchProcess):
            process.kill()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
