"""What `farthing doctor` sees in the outbox, and what it says of charges that the ledger misses."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from farthing.ledger.doctor_finding import NAMED, Finding, some
from farthing.ledger.doctor_ledger import Gap
from farthing.money import usd_text
from farthing.settings import Telemetry
from farthing.telemetry.outbox_bound import ALARM_SHARE
from farthing.telemetry.outbox_inspect import OutboxReader, Snapshot, reading

UNDER_WAY_S = 300.0
"""How long a charge may be on its way to the ledger before that is worth a word, seconds."""
_MIB = 1 << 20


def read(path: Path) -> tuple[Snapshot | None, list[Finding]]:
    """Return how the outbox at ``path`` stands; None, and what is wrong, if it cannot be read."""
    try:
        with reading(path) as outbox:
            return outbox.snapshot(), []
    except FileNotFoundError:
        return None, [
            Finding(
                "outbox", "warn", f"there is none at {path}",
                "the proxy makes it when it starts. Run doctor where the proxy runs, with its farthing.yaml",
            )
        ]  # fmt: skip
    except sqlite3.Error as error:
        return None, [
            Finding(
                "outbox", "FAIL", f"{path} cannot be read: {error}",
                "restart the proxy: it sets a damaged file aside and keeps every charge that can be read",
            )
        ]  # fmt: skip


def findings(snapshot: Snapshot, telemetry: Telemetry) -> list[Finding]:
    """Return what there is to say of an outbox by itself."""
    return [_waiting(snapshot, telemetry), _poison(snapshot), _size(snapshot, telemetry), _damage(snapshot)]


def _waiting(snapshot: Snapshot, telemetry: Telemetry) -> Finding:
    facts = {"pending": snapshot.pending, "oldest_s": round(snapshot.oldest_s, 3)}
    if not snapshot.pending:
        return Finding("outbox", "ok", "no charge waits to be delivered", "", facts)
    figure = f"{snapshot.pending} charges wait to be delivered, the oldest for {snapshot.oldest_s:.0f} s"
    if snapshot.oldest_s < UNDER_WAY_S:
        return Finding("outbox", "ok", figure, "", facts)
    return Finding(
        "outbox", "FAIL", figure,
        f"they are safe, but {telemetry.otlp_endpoint} does not take them, or no proxy runs: start it "
        "(farthing ledger serve, or the collector), and see the proxy's log for what it answers",
        facts,
    )  # fmt: skip


def _poison(snapshot: Snapshot) -> Finding:
    refused = snapshot.rejected
    ids = [charge.charge_id for charge in refused]
    facts = {"rejected": len(refused), "ids": ids[:100]}
    if not refused:
        return Finding("refused charges", "ok", "the receiver took every charge", "", facts)
    nano = sum(charge.cost_nano or 0 for charge in refused)
    return Finding(
        "refused charges", "FAIL",
        f"{len(refused)} charges of {usd_text(nano)} USD were refused by the receiver and are kept: "
        f"{some(ids)}",
        "the proxy's log has the reason. Mend the receiver, then restart the proxy: it sends them again",
        facts,
    )  # fmt: skip


def _size(snapshot: Snapshot, telemetry: Telemetry) -> Finding:
    most = telemetry.outbox_max_bytes
    facts = {"bytes": snapshot.bytes, "used_bytes": snapshot.used_bytes, "most_bytes": most}
    if not most:
        return Finding("outbox size", "ok", f"{snapshot.bytes / _MIB:.1f} MiB, without a bound", "", facts)
    share = snapshot.used_bytes / most
    figure = f"{snapshot.used_bytes / _MIB:.1f} of {most / _MIB:.1f} MiB ({share:.0%})"
    advice = (
        "have the receiver take charges again (see above), or raise telemetry.outbox_max_bytes; at 100 % "
        "calls that cost money are refused while telemetry.on_outbox_full is deny"
    )
    if share >= 1:
        return Finding("outbox size", "FAIL", f"{figure}: full", advice, facts)
    if share >= ALARM_SHARE:
        return Finding("outbox size", "warn", figure, advice, facts)
    return Finding("outbox size", "ok", figure, "", facts)


def _damage(snapshot: Snapshot) -> Finding:
    facts = {"fault": snapshot.fault, "aside": [str(path) for path in snapshot.aside]}
    if snapshot.fault:
        return Finding(
            "outbox file", "FAIL", f"the file is damaged: {snapshot.fault}",
            "restart the proxy: it sets the file aside and keeps every charge that can be read",
            facts,
        )  # fmt: skip
    if snapshot.aside:
        return Finding(
            "outbox file", "warn",
            f"the file is whole; {len(snapshot.aside)} damaged ones were set aside: "
            f"{', '.join(str(path) for path in snapshot.aside[-NAMED:])}",
            "what could be read of them was kept. If no charge is missing below, delete them",
            facts,
        )  # fmt: skip
    return Finding("outbox file", "ok", "the file is whole", "", facts)


def gaps(
    found: Sequence[Gap], missing: int, outbox: OutboxReader | None, snapshot: Snapshot | None
) -> Finding:
    """Say of each charge that the ledger misses where it is, as far as this machine's outbox knows."""
    facts: dict[str, object] = {"missing": missing}
    if not found:
        return Finding("gaps", "ok", "every number of every gateway has its charge", "", facts)
    ranges = [(gap.instance, gap.first, gap.last) for gap in found]
    known = outbox.numbered(ranges) if outbox else [{} for _ in found]
    waiting = lost = fresh = refused = delivered = 0
    told: list[str] = []
    listed: list[dict[str, object]] = []
    for gap, states in zip(found, known, strict=True):
        here = sum(len(ids) for ids in states.values())
        waiting += len(states.get("pending", ()))
        refused += len(states.get("rejected", ()))
        delivered += len(states.get("delivered", ()))
        young = gap.after is not None and _age_s(gap.after) < UNDER_WAY_S
        fresh += (gap.missing - here) if young else 0
        lost += 0 if young else gap.missing - here
        told.append(_told(gap))
        listed.append(
            {
                "gateway": gap.instance, "first": gap.first, "last": gap.last,
                "before": gap.before.isoformat() if gap.before else None,
                "after": gap.after.isoformat() if gap.after else None,
                "in_outbox": {state: len(ids) for state, ids in states.items()},
            }
        )  # fmt: skip
    facts |= {
        "waiting": waiting, "refused": refused, "delivered": delivered, "fresh": fresh, "lost": lost,
        "ranges": listed,
    }  # fmt: skip
    where = [
        text
        for number, text in (
            (waiting, f"{waiting} wait in the outbox"),
            (refused, f"{refused} were refused, see above"),
            (fresh, f"{fresh} are so new that they may be under way"),
            (delivered, f"{delivered} were taken by the receiver, and lost behind it"),
            (lost, f"{lost} are in no outbox here"),
        )
        if number
    ]
    advice = []
    if delivered:
        advice.append("send again what the receiver lost: farthing doctor --resend")
    if lost:
        others = "run doctor where the other outboxes are, if there are any"
        if snapshot is not None and snapshot.aside:
            others += "; damaged outbox files were set aside, see above"
        advice.append(
            f"{others}. Otherwise the charges are lost to the ledger, but not to the balances: bill them by "
            "what the balances say (farthing credits roll-forward)"
        )
    if not advice:
        advice.append("wait a minute, and ask again")
    figure = f"{missing} charges are not in the ledger: {'; '.join(where)}. {'; '.join(told[:NAMED])}"
    return Finding("gaps", "FAIL" if lost or delivered else "warn", figure, ". ".join(advice), facts)


def _told(gap: Gap) -> str:
    numbers = f"{gap.first}" if gap.first == gap.last else f"{gap.first} to {gap.last}"
    when = " ".join(
        f"{word} {moment:%Y-%m-%d %H:%M:%S}"
        for word, moment in (("after", gap.before), ("before", gap.after))
        if moment is not None
    )
    return f"gateway {gap.instance[:12]}: {numbers}{f' ({when})' if when else ' (its newest)'}"


def _age_s(moment: datetime) -> float:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (datetime.now(UTC) - aware).total_seconds()
