"""The README's finance chapter, as a newcomer runs it: the demo, its statement, a FOCUS file."""

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parents[2]


def chapter() -> str:
    """Return the commands of the README's finance chapter."""
    text = (ROOT / "README.md").read_text()
    found = re.search(r"^## Finance: .*?```bash\n(.*?)```", text, re.S | re.M)
    assert found, "the finance chapter has its commands"
    return found[1]


def test_the_finance_chapter_ends_in_books_that_agree(tmp_path):
    shell = subprocess.Popen(
        ["bash", "-eu", "-o", "pipefail", "-c", chapter()],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # with the ledger that a chapter cut short leaves running
    )
    try:
        said, complaints = shell.communicate(timeout=900)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, said[-3000:] + complaints[-3000:]
    report, books = tmp_path / "report.json", tmp_path / "books"
    found = json.loads(report.read_text())
    assert found["requests"] >= 60
    assert set(found["by_tier"]) == {"local", "fast", "strong"}
    assert set(found["by_surface"]) == {"chat", "responses", "messages"}
    assert found["reconciled"] is True
    assert found["outbox_left"] == found["unpriced"] == 0
    assert found["denied"] == 3
    page = (books / "statement.html").read_text()
    with (books / "focus.csv").open(newline="") as file:
        billed = sum(Decimal(row["BilledCost"]) for row in csv.DictReader(file))
    assert billed == Decimal(found["billed_usd"]), "the FOCUS file has all of the bill, and no more"
    assert "research" in page
    answered = found["requests"] - found["denied"]
    assert found["ledger_rows"] == answered + found["failed_attempts"] + found["summaries"]
    assert found["shortened"] >= 1
    turn_11 = said.split("turn 11 of grace's long conversation")[1]
    assert "farthing.context.decision=block" in turn_11
    assert "farthing.context.reason=block: " in turn_11
    assert Decimal(found["billed_usd"]) > 0
    assert Decimal(found["baseline_usd"]) > Decimal(found["billed_usd"])
    assert len(found["balances"]) >= 5
    assert found["balances"]["blaise"]["available"] == "0.000"
    for words in ("stand-in", "research", "marketing", "farthing settle", "agree to the nano-dollar"):
        assert words in said
