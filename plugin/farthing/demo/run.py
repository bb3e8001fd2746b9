"""The demo, step by step."""

import asyncio
import itertools
import json
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from farthing import scaffold
from farthing.credits import Balance, StoreError
from farthing.credits.report import balances
from farthing.credits.report import render as render_balances
from farthing.demo import workload
from farthing.demo.report import Report, collect
from farthing.demo.stack import Stack, StackError
from farthing.ledger import LedgerError, connect
from farthing.ledger.statement import render as render_statement
from farthing.ledger.statement import statement, this_month
from farthing.ledger.trace import TraceSpan, trace
from farthing.ledger.trace import render as render_trace

MARKER = "farthing-demo"
_AGENT_PAUSE_S = 3.0
_READ_WITHIN_S = 240.0
_SUMMARISED = "SELECT count() FROM otel_traces WHERE SpanName = 'farthing summary'"


def run(folder: Path, *, once: bool = False, report: Path | None = None) -> int:
    """Run the demo in ``folder``; return 0 if all went well and the sums agree,
    2 if ``folder`` cannot be used, 130 after Ctrl-C, else 1.

    Unless ``once``, the stack stays up until Ctrl-C. Only a folder that a demo made is emptied.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the parts are stopped on the way out
    try:
        _fresh(folder)
    except OSError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 2
    keys = workload.make_keys()
    cloud = scaffold.choose_cloud(os.environ)
    print("1. Starting the stack (sovereign tier on Ray Serve, embedded ledger, LiteLLM proxy)")
    if cloud.stand_in:
        print(
            "   No OPENAI_API_KEY or ANTHROPIC_API_KEY: the local model stands in for the cloud models,\n"
            f"   at the list prices of {cloud.fast} and {cloud.strong}, and is labelled (stand-in)."
        )
    try:
        with Stack(folder, list(keys.values()), cloud=cloud, departments=workload.DEPARTMENTS) as stack:
            page = f"{stack.proxy_url}/farthing/"
            print(f"   Watch a balance fall: {page}\n   sign in as ada   {keys['ada'].secret}")
            print(f"   or as an admin   {keys['linus'].secret}")
            outcome = _drive(stack, keys, report)
            if not once:
                _stay_up(stack, keys)
            print("Stopping the stack …")
    except (StackError, LedgerError, StoreError) as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    return 0 if outcome.reconciled else 1


def _fresh(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise FileExistsError(f"{folder} is not empty and no demo made it; choose another --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def _drive(stack: Stack, keys: dict[str, scaffold.NewKey], report: Path | None) -> Report:
    lanes = workload.script()
    total = sum(len(lane) for lane in lanes) + 1
    print(f"\n2. Sending {total} requests of {len(keys)} users (tier, cost in USD, credits left)")
    lock, done = threading.Lock(), iter(range(1, total + 1))

    def tell(answer: workload.Answer) -> None:
        with lock:
            print(f"  {next(done):3}/{total} {_line(answer)}", flush=True)

    *_, eleventh = workload.conversation("grace", workload.TURNS_TO_A_SUMMARY + 1)
    first, long = _traced(lanes[1][0]), _traced(eleventh)
    answers = workload.run(lanes, keys, stack.proxy_url, tell)
    client, month = connect(stack.settings.ledger), this_month()
    _await_summary(client)
    answers += workload.run([[eleventh]], keys, stack.proxy_url, tell)
    start_up = {part.name: round(part.ready_after_s, 1) for part in stack.parts}
    found = collect(stack.settings, answers, start_up)
    settings = stack.settings
    print("\n3. The statement (farthing statement)\n")
    rows = statement(client, month)
    print(render_statement(rows, "table", organisation=settings.organisation, month=month))
    print("4. The balances, in credits (farthing balance)\n")
    print(render_balances(_balances(stack), "table", settings.credits.nano_per_credit))
    print("5. The trace of ada's first request\n")
    print(render_trace(_spans(client, first)))
    print("\n   and of turn 11 of grace's long conversation, which went out shorter\n")
    print(render_trace(_spans(client, long)))
    agreed = "agree to the nano-dollar" if found.reconciled else "DO NOT AGREE"
    print(
        f"6. Reconciliation: charges {found.charges_usd}, settled credits {found.settled_usd}, ledger "
        f"{found.billed_usd} USD {agreed}.\n   {found.ledger_rows} ledger rows, {found.outbox_left} left in "
        f"the outbox, {found.unpriced} unpriced, {found.denied} denied with 402."
    )
    if report:
        report.write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
    return found


def _traced(request: workload.Request) -> str:
    """Give a request a trace of its own; return the trace's id."""
    trace_id = secrets.token_hex(16)
    request.headers["traceparent"] = f"00-{trace_id}-{secrets.token_hex(8)}-01"
    return trace_id


def _await_summary(client: Any) -> None:
    """Wait, as long as a person may take to read an answer, until the long conversation is summarised."""
    deadline = time.monotonic() + _READ_WITHIN_S
    while time.monotonic() < deadline and not client.command(_SUMMARISED):
        time.sleep(0.3)


def _balances(stack: Stack) -> list[Balance]:
    return asyncio.run(balances(stack.settings))


def _spans(client: Any, trace_id: str) -> list[TraceSpan]:
    """Return the trace's spans; ordinary spans arrive a second or so after the charge."""
    deadline = time.monotonic() + 15
    while True:
        spans = trace(client, trace_id)
        if len(spans) > 3 or time.monotonic() > deadline:
            return spans
        time.sleep(0.3)


def _line(answer: workload.Answer) -> str:
    facts, request = answer.facts, answer.request
    how = request.surface + (" stream" if request.body.get("stream") else "")
    head = f"{request.user:<9}{how:<17}"
    if answer.status != 200:
        return (
            f"{head}{answer.status} {facts.get('grade', ''):<7}→ {facts.get('tier', '')}: not enough credits"
        )
    return (
        f"{head}{facts.get('grade', '?'):<7}→ {facts.get('tier', '?'):<7}{facts.get('model', '?'):<23}"
        f"{facts.get('cost', '?'):>12}  {facts.get('balance', '?'):>10}"
    )


def _stay_up(stack: Stack, keys: dict[str, scaffold.NewKey]) -> None:
    folder, farthing = stack.folder, Path(sys.executable).parent / "farthing"
    print(f"""
Where to look next (the stack stays up until Ctrl-C):
{scaffold.curl(stack.proxy_url, keys["ada"].secret)}
  . {folder}/farthing.env; {farthing} balance --config {folder}/farthing.yaml
  . {folder}/farthing.env; {farthing} statement --config {folder}/farthing.yaml --format csv
  the proxy's configuration: {folder}/litellm.yaml, {folder}/farthing.yaml; the logs: {folder}/logs/""")
    if stack.cloud.stand_in:  # real clouds would be paid for it
        print("An agent of ada's goes on asking, so that her balance goes on falling on the page.")
    try:
        with httpx.Client(base_url=stack.proxy_url) as client:
            for request in itertools.cycle(workload.trickle("ada")):
                if stack.cloud.stand_in:
                    workload.send(client, keys["ada"].secret, request)
                time.sleep(_AGENT_PAUSE_S)
    except KeyboardInterrupt:
        print()
