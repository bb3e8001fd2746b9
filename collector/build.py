"""Build the collector of builder.yaml, or Jaeger, from Go modules, once.

``python -m collector.build collector`` (or ``jaeger``) prints where the program is. It is kept in the user's
cache folder under a digest of what it is made of, so a change makes a new one and no change costs nothing.
Needs Go and its module proxy, or a module cache that has what is needed.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

MANIFEST = Path(__file__).with_name("builder.yaml")
_BUILDER = "go.opentelemetry.io/collector/cmd/builder"
# Jaeger 1: one program that keeps its traces in memory, which is what the tests need.
_JAEGER, _JAEGER_RELEASE = "github.com/jaegertracing/jaeger/cmd/all-in-one", "v1.76.0"
_SMALL = ["-trimpath", "-ldflags", "-s -w"]
# Where Go's own installer puts it, which is not always on the PATH.
_USUAL = "/usr/local/go/bin/go"


class BuildError(Exception):
    """A program cannot be built here; the text says why."""


def go() -> str | None:
    """Return the Go command, or None where there is none."""
    return shutil.which("go") or (_USUAL if os.access(_USUAL, os.X_OK) else None)


def cache() -> Path:
    """Return the folder that keeps the programs."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "farthing-collector"


def binary(name: str = "collector") -> Path | None:
    """Return the program (``collector`` or ``jaeger``) if it has been built, else None."""
    tool = go()
    if tool is None:
        return None
    found = _home(tool, name) / name
    return found if found.exists() else None


def build(name: str = "collector") -> Path:
    """Return the program, built if need be. Raises BuildError."""
    tool = go()
    if tool is None:
        raise BuildError("there is no Go toolchain: install Go 1.25 or newer, or use a published binary")
    if (found := binary(name)) is not None:
        return found
    home = _home(tool, name)
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="building-") as folder:
        built = Path(folder) / "built"
        built.mkdir()
        make = _make_jaeger if name == "jaeger" else _make_collector
        make(tool, Path(folder), built / name)
        try:
            built.rename(home)
        except OSError:  # another build was quicker
            if binary(name) is None:
                raise
    return home / name


def _make_collector(tool: str, folder: Path, target: Path) -> None:
    manifest = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    manifest["dist"]["output_path"] = f"{folder}/source"
    (folder / "builder.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
    builder = f"{_BUILDER}@v{manifest['dist']['version']}"
    _run(tool, folder, "run", builder, "--config", f"{folder}/builder.yaml", "--ldflags", "-s -w")
    (folder / "source" / manifest["dist"]["name"]).rename(target)


def _make_jaeger(tool: str, folder: Path, target: Path) -> None:
    _run(tool, folder, "mod", "init", "farthing/jaeger")
    _run(tool, folder, "get", "-tool", f"{_JAEGER}@{_JAEGER_RELEASE}")
    _run(tool, folder, "build", *_SMALL, "-o", str(target), _JAEGER)


def _home(tool: str, name: str) -> Path:
    version = subprocess.run([tool, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    recipe = _JAEGER_RELEASE.encode() if name == "jaeger" else MANIFEST.read_bytes()
    digest = hashlib.sha256(b"\0".join([name.encode(), version.strip().encode(), recipe])).hexdigest()
    return cache() / f"{name}-{digest[:16]}"


def _run(tool: str, folder: Path, *arguments: str) -> None:
    path = os.pathsep.join([str(Path(tool).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [tool, *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = " ".join(arguments[:2])
        raise BuildError(f"`go {words}` failed:\n{(done.stdout + done.stderr)[-4000:]}")


def main() -> int:
    """Build and print the path on stdout; what there is to tell, on stderr."""
    parser = argparse.ArgumentParser(prog="python -m collector.build", description=__doc__)
    parser.add_argument("name", nargs="?", choices=["collector", "jaeger"], default="collector")
    name = parser.parse_args().name
    began = time.monotonic()
    try:
        if binary(name) is None:
            print(f"building {name} from Go modules: some minutes, once", file=sys.stderr, flush=True)
        path = build(name)
    except BuildError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    took, size = time.monotonic() - began, path.stat().st_size >> 20
    print(f"{name}: ready after {took:.0f} s, {size} MiB", file=sys.stderr)
    print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
