"""The report: each measurement as a table with our row beside its peers, and what follows from it."""

from typing import Any

from bench.ledger.ingest import Ingest
from bench.ledger.questions import PEERS, Found

_HEAD = """# The ledger's speed

Written by `make ledger` (`python -m bench.ledger`). {machine}; load average while it ran {low:.1f} to
{high:.1f}: {load}. Senders and ledger share the machine, and so does whatever else ran.

## Charges in

Batches of 512 real charge spans (gzip, as the gateway's sender posts them) over {senders} connections into
the embedded ledger; an answer means that the rows are synced to disk, in `otel_traces` and in `charges`.
Rounds of each row in turn; medians, with the slowest and the fastest round.

{ingest}

Resident memory of the ledger, MiB, at first and after each row of each round: {memory}.
{charges:,} charges came by OTLP; each is in the ledger exactly once: **{exact}**.

## The outbox

{outbox}

## A month, asked

Simulated months (`farthing simulate`, its default mix: 5 000 agents) in the embedded ledger, asked over HTTP
with clickhouse-connect. Seconds, cold / warm. Cold: mark caches dropped and the ledger's files put out of
the kernel's cache before the question; warm: the median of up to three further times. The two rows in italics
are the peers: the same statement without rolls.

{sizes}

{questions}

{exactness}

## What follows
"""


def render(
    into: Ingest, outbox: list[dict[str, Any]], found: list[Found], loads: list[float], machine: str
) -> str:
    """Return the report as Markdown."""
    busy = "the machine was busy with other work, so times are those of a fraction of it: compare rows"
    head = _HEAD.format(
        machine=machine,
        low=min(loads),
        high=max(loads),
        load=busy if max(loads) > 4 else "mostly this bench",
        senders=8,
        ingest=_table(
            ["", "charges/s", "slowest", "fastest", "ledger's CPU, µs each"],
            [
                [one.name, *(f"{rate:,.0f}" for rate in (one.median, one.slowest, one.fastest, one.cpu_us))]
                for one in into.rates
            ],
        ),
        memory=", ".join(f"{value:.0f}" for value in into.memory),
        charges=into.charges,
        exact="yes" if into.exact else "NO",
        outbox=_table(list(outbox[0]), [[str(value) for value in row.values()] for row in outbox]),
        sizes=_table(
            ["charges", "bytes each", "written/s", "rolled, s a day", "lines of the rolls"],
            [
                [f"{one.charges:,}", f"{one.bytes_each:.0f}", f"{one.written_per_s:,.0f}",
                 f"{one.roll_s_per_day:.2f}", f"{one.lines:,}"]
                for one in found
            ],
        ),
        questions=_questions(found),
        exactness=_exactness(found),
    )  # fmt: skip
    return head + "\n" + "\n".join(_conclusions(into, found)) + "\n"


def _questions(found: list[Found]) -> str:
    names = list(dict.fromkeys(name for one in found for name in one.times))
    names.sort(key=lambda name: (0 if "statement" in name else 1 if name.endswith(".sql") else 2, name))
    rows = []
    for name in names:
        cells = [
            f"{one.times[name].cold:.2f} / {one.times[name].warm:.2f}" if name in one.times else "failed"
            for one in found
        ]
        rows.append([f"*{name}*" if name in PEERS else name, *cells])
    return _table(["question", *(f"{one.charges:,}" for one in found)], rows)


def _exactness(found: list[Found]) -> str:
    checks: dict[str, bool] = {}
    for one in found:
        for name, holds in one.exact.items():
            checks[name] = checks.get(name, True) and holds
    return (
        "Checked at every size: "
        + "; ".join(f"{name}: **{'yes' if ok else 'NO'}**" for name, ok in checks.items())
        + "."
    )


def _conclusions(into: Ingest, found: list[Found]) -> list[str]:
    ours = into.rates[0]
    lines = [
        f"- Ingest: {ours.median:,.0f} charges/s measured. The ledger spends {ours.cpu_us:.0f} µs of "
        "processor time on each, merging what it stored included: two cores with nothing else to do could "
        f"take {2e6 / ours.cpu_us:,.0f}/s. Reading, storing and merging run on threads of their own."
    ]
    if len(found) > 1:
        first, last = found[0], found[-1]
        more = last.charges / first.charges
        grown = last.lines / first.lines
        name = "statement.sql"
        final = next(iter(PEERS))
        lines.append(
            f"- From {first.charges:,} to {last.charges:,} charges ({more:.0f} times) the rolls' lines grow "
            f"{grown:.1f} times (agents, tiers, grades and outcomes bound them, not calls), the statement "
            f"{_ratio(first, last, name)} times, and the same statement by FINAL "
            f"{_ratio(first, last, final)} times."
        )
        slow = [
            name
            for name, timed in last.times.items()
            if name not in PEERS and (timed.warm > 1 or timed.cold > 3)
        ]
        lines.append(
            f"- At {last.charges:,} charges these take longer than 1 s warm or 3 s cold here: "
            + (", ".join(slow) if slow else "none")
            + "."
        )
    return lines


def _ratio(first: Found, last: Found, name: str) -> str:
    if name not in first.times or name not in last.times:
        return "?"
    return f"{last.times[name].warm / first.times[name].warm:.1f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def line(cells: list[str]) -> str:
        return (
            "| "
            + " | ".join(
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            + " |"
        )

    rule = (
        "|"
        + "|".join(
            "-" * (width + 2 if at == 0 else width + 1) + ("" if at == 0 else ":")
            for at, width in enumerate(widths)
        )
        + "|"
    )
    return "\n".join([line(head), rule, *map(line, rows)])
