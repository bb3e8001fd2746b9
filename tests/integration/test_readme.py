"""The README's commands do what it shows, and its reference of settings is the model's own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from farthing import settings, settings_reference

ROOT = Path(__file__).parents[2]


def examples() -> list[tuple[str, str]]:
    """Return (command, shown output) of every ``$`` line in the README's console blocks."""
    text = (ROOT / "README.md").read_text()
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        for part in block.split("$ ")[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown))
    return found


def test_every_console_example_prints_what_the_readme_shows(tmp_path):
    assert len(examples()) >= 4
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command, shown in examples():
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (command, done.stderr)
        pattern = re.escape(shown.rstrip("\n")).replace("…", ".*")
        assert re.match(pattern, done.stdout, re.S), (command, shown, done.stdout)


def test_every_settings_example_is_valid():
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    for block in blocks:
        settings.Settings.model_validate(yaml.safe_load(block))


def test_docs_settings_is_up_to_date():
    shown = (ROOT / "docs" / "settings.md").read_text()
    assert shown == settings_reference.reference(), "run: farthing settings > docs/settings.md"


def test_the_demo_and_test_commands_of_the_readme_are_make_targets():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.M):
        assert f"\n{target}:" in makefile


def test_help_explains_every_command():
    farthing = Path(sys.executable).parent / "farthing"
    shown = subprocess.run([farthing, "--help"], capture_output=True, text=True, check=True).stdout
    for command in (
        "demo",
        "init",
        "key",
        "check",
        "settings",
        "grade",
        "statement",
        "balance",
        "credits",
        "audit",
        "ledger",
        "trace",
        "doctor",
        "focus",
        "reconcile",
        "simulate",
    ):
        assert re.search(rf"^    {command}\s+\w+", shown, re.M), command
        subprocess.run([farthing, command, "--help"], capture_output=True, check=True)
