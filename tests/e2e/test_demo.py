"""`farthing demo --once --report FILE`, as a newcomer runs it."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path


def test_the_demo_reports_figures_that_agree(tmp_path):
    report = tmp_path / "report.json"
    farthing = Path(sys.executable).parent / "farthing"
    done = subprocess.run(
        [farthing, "demo", "--once", "--report", str(report), "--folder", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(report.read_text())
    assert found["requests"] >= 60
    assert set(found["by_tier"]) == {"local", "fast", "strong"}
    assert set(found["by_surface"]) == {"chat", "responses", "messages"}
    assert found["reconciled"] is True
    assert found["outbox_left"] == found["unpriced"] == 0
    assert found["denied"] == 3
    answered = found["requests"] - found["denied"]
    assert found["ledger_rows"] == answered + found["failed_attempts"] + found["summaries"]
    assert found["shortened"] >= 1
    turn_11 = done.stdout.split("turn 11 of grace's long conversation")[1]
    assert "farthing.context.decision=block" in turn_11
    assert "farthing.context.reason=block: " in turn_11
    assert Decimal(found["billed_usd"]) > 0
    assert Decimal(found["baseline_usd"]) > Decimal(found["billed_usd"])
    assert len(found["balances"]) >= 5
    assert found["balances"]["blaise"]["available"] == "0.000"
    for said in ("stand-in", "research", "marketing", "farthing settle", "agree to the nano-dollar"):
        assert said in done.stdout
