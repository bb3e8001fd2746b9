"""Each thing that can go wrong with a charge is made to go wrong, and the doctor names it."""

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from farthing.credits import open_store
from farthing.credits.store import Payer
from farthing.ledger import connect, doctor, rolls
from farthing.settings import Credits, Ledger, Telemetry
from farthing.telemetry import Cost
from farthing.telemetry.outbox import Outbox
from farthing.telemetry.spans import ChargeSpans
from tests.ledger_stack import charge, deliver, embedded_ledger, post_spans, sql

TABLES = (
    "otel_traces", "otel_traces_trace_id_ts", "charges", "charge_arrivals", "charge_rolls", "daily_rolls",
    "hourly_rolls", "closings", "closing_lines",
)  # fmt: skip
EACH = 3_350_001
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    with embedded_ledger(tmp_path_factory.mktemp("ledger")) as running:
        yield running


class World:
    """A gateway's outbox and credit store beside a ledger, with charges that may go wrong."""

    def __init__(self, ledger, folder):
        self.settings = ledger.model_copy(
            update={
                "telemetry": Telemetry(outbox=folder / "outbox.db", otlp_endpoint=ledger.ledger.url),
                "credits": Credits(store=f"sqlite:///{folder / 'credits.db'}"),
            }
        )
        self.spans = ChargeSpans("farthing", "test")

    def charge(self, number, gateway="gw-1", **changes):
        started = changes.pop("started", NOW - timedelta(hours=1) + timedelta(seconds=number))
        return charge(
            number, id=f"{gateway}-{number}", started=started, ended=started + timedelta(seconds=2),
            gateway_instance=gateway, **changes,
        )  # fmt: skip

    def send(self, *charges):
        deliver(self.settings, list(charges), self.spans)

    def keep(self, charges, state="delivered", settle=True):
        """Have the outbox know charges, in a state; and the balances, if they were settled."""

        async def work():
            outbox = Outbox(self.settings.telemetry.outbox, fsync="off")
            store = open_store(self.settings.credits.store)
            for made in charges:
                outbox.instance = made.gateway_instance
                cost = made.cost.total if made.cost else None
                await outbox.append(made.id, cost, self.spans.finish(made).payload, sequence=made.sequence)
                if settle:
                    await store.settle(made.id, Payer(made.account), made.settled)
            ids = [made.id for made in charges]
            if state == "delivered":
                await outbox.delivered(ids)
            elif state == "rejected":
                await outbox.rejected(ids)
            await outbox.close()
            await store.close()

        asyncio.run(work())

    def healthy(self, count=20, **changes):
        charges = [self.charge(number, **changes) for number in range(1, count + 1)]
        self.keep(charges)
        self.send(*charges)
        return charges

    def findings(self, days=31):
        return {finding.check: finding for finding in doctor.examine(self.settings, days)}

    def only(self, *expected, days=31):
        """Examine; everything but these checks must be well."""
        found = self.findings(days)
        unwell = {name for name, finding in found.items() if finding.status != "ok"}
        assert unwell == set(expected), {name: found[name].figure for name in unwell ^ set(expected)}
        return found


@pytest.fixture
def world(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr("farthing.ledger.doctor_credits._PAUSE_S", 0.01)
    for table in TABLES:
        sql(ledger, f"TRUNCATE TABLE {table}")
    return World(ledger, tmp_path)


def test_all_is_well(world):
    world.healthy()
    found = world.only()
    assert found["credits"].facts["settled_nano"] == found["credits"].facts["ledger_nano"] == 20 * EACH
    assert "20 charges came in 20 deliveries" in found["duplicates"].figure
    assert found["outbox"].facts["pending"] == 0


def test_before_the_first_start_it_says_what_is_not_there_yet(world):
    found = world.only("outbox", "credits")
    assert {found["outbox"].status, found["credits"].status} == {"warn"}


def test_a_repeat_is_no_fault_and_is_counted_once(world):
    charges = world.healthy()
    world.send(*charges[:7])
    found = world.only()
    assert found["duplicates"].facts == {"charges": 20, "repeats": 7}


def test_a_charge_that_was_lost_behind_the_receiver_is_named_and_can_be_sent_again(world):
    charges = [world.charge(number) for number in range(1, 21)]
    world.keep(charges)
    world.send(*charges[:6], *charges[9:18])  # 7 to 9 are a hole, 19 and 20 the end
    found = world.only("gaps", "credits")
    gaps = found["gaps"]
    assert gaps.status == "FAIL"
    assert (gaps.facts["missing"], gaps.facts["delivered"], gaps.facts["lost"]) == (5, 5, 0)
    ranges = [(gap["first"], gap["last"]) for gap in gaps.facts["ranges"]]
    assert ranges == [(7, 9), (19, 20)]
    assert "farthing doctor --resend" in gaps.advice
    hole = gaps.facts["ranges"][0]
    assert hole["before"] < hole["after"]
    assert found["credits"].facts["difference_nano"] == 5 * EACH
    assert doctor.resend(world.settings) == 5

    async def pending():
        outbox = Outbox(world.settings.telemetry.outbox, fsync="off")
        entries = await outbox.pending(100)
        await outbox.close()
        return {entry.charge_id for entry in entries}

    assert asyncio.run(pending()) == {f"gw-1-{number}" for number in (7, 8, 9, 19, 20)}
    assert doctor.resend(world.settings) == 0
    gaps = world.findings()["gaps"]
    assert (gaps.status, gaps.facts["waiting"]) == ("warn", 3), "the hole; 19 and 20 merely wait now"
    assert world.findings()["credits"].status == "ok", "what waits is paid for and not lost"
    world.send(*charges[6:9], *charges[18:])
    assert world.findings()["gaps"].status == "ok"
    # Taken, but not marked yet: in ledger and outbox at once, and counted once.
    assert world.findings()["credits"].status == "ok"


def test_a_charge_that_is_nowhere_is_lost_and_a_very_new_hole_may_be_under_way(world):
    charges = world.healthy()
    stranger = [world.charge(number, "gw-2") for number in (1, 2, 5)]
    now = datetime.now(UTC)
    fresh = [
        world.charge(number, "gw-3", started=now - timedelta(seconds=20 - number)) for number in (1, 2, 4)
    ]
    world.send(*stranger, *fresh)
    world.keep([*stranger, *fresh])
    gaps = world.only("gaps")["gaps"]
    assert gaps.status == "FAIL"
    assert (gaps.facts["missing"], gaps.facts["lost"], gaps.facts["fresh"]) == (3, 2, 1)
    assert "no outbox here" in gaps.figure
    assert "3 to 4" in gaps.figure
    assert len(charges) == 20


def test_a_gateway_that_ran_before_the_days_looked_at_has_no_hole_at_its_beginning(world):
    long_ago = NOW - timedelta(days=5)
    old = [world.charge(number, started=long_ago) for number in range(1, 5)]
    new = [world.charge(number) for number in range(5, 9)]
    world.keep(old + new)
    world.send(*old, *new)
    assert world.findings(days=3)["gaps"].status == "ok"


def test_charges_that_wait_too_long_and_those_that_are_refused(world):
    world.healthy()
    late = [world.charge(number) for number in range(21, 24)]
    poison = world.charge(24)
    world.keep(late, state="pending")
    world.keep([poison], state="rejected")
    found = world.only("refused charges")
    assert found["refused charges"].facts == {"rejected": 1, "ids": ["gw-1-24"]}
    assert found["credits"].facts["outbox_nano"] == 4 * EACH
    db = sqlite3.connect(world.settings.telemetry.outbox)
    db.execute("UPDATE charges SET appended_at = appended_at - 900 WHERE state = 'pending'")
    db.commit()
    db.close()
    waiting = world.only("refused charges", "outbox")["outbox"]
    assert waiting.status == "FAIL"
    assert waiting.facts["oldest_s"] > 890


def test_the_outboxs_size_and_damage(world):
    world.healthy()
    small = world.settings.telemetry.model_copy(update={"outbox_max_bytes": 10_000})
    full = world.settings.model_copy(update={"telemetry": small})
    size = {finding.check: finding for finding in doctor.examine(full)}["outbox size"]
    assert (size.status, size.facts["most_bytes"]) == ("FAIL", 10_000)
    path = world.settings.telemetry.outbox
    path.with_name("outbox.db.damaged-20261127T000000Z").write_bytes(b"remains")
    world.only("outbox file")
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 4] = bytes(8192)
    path.write_bytes(data)
    found = world.findings()
    worst = found["outbox file"] if "outbox file" in found else found["outbox"]
    assert worst.status == "FAIL"
    assert "restart the proxy" in worst.advice


def test_one_charge_with_two_amounts_or_two_days(world):
    charges = world.healthy()
    world.send(replace(charges[2], cost=Cost(1, 1, 1, 1), settled=4))
    found = world.findings()
    assert found["conflicts"].status == "FAIL"
    assert found["conflicts"].facts == {"conflicts": 1, "doubled": 0, "ids": ["gw-1-3"]}
    assert "farthing trace gw-1-3" in found["conflicts"].advice
    other_day = charges[4].started - timedelta(days=2)
    world.send(replace(charges[4], started=other_day, ended=other_day + timedelta(seconds=2)))
    found = world.findings()
    assert found["conflicts"].facts["doubled"] == 1
    assert found["credits"].status == "FAIL"
    assert found["credits"].facts["difference_nano"] < 0


def test_a_span_without_a_charge(world):
    world.healthy()
    sql(world.settings, "ALTER TABLE charges DELETE WHERE id = 'gw-1-5' SETTINGS mutations_sync = 2")
    found = world.only("spans without a charge", "gaps", "credits")
    assert found["spans without a charge"].facts == {"missing": 1, "ids": ["gw-1-5"]}
    assert "farthing ledger rebuild" in found["spans without a charge"].advice


def test_a_model_without_a_price(world):
    world.healthy()
    free = [
        world.charge(number, model="it's new", cost=None, baseline_cost=None, settled=0)
        for number in (21, 22)
    ]
    world.keep(free)
    world.send(*free)
    unpriced = world.only("unpriced")["unpriced"]
    assert unpriced.status == "warn"
    assert unpriced.facts == {"calls": 2, "models": {"it's new": 2}}
    assert '"it\'s new"' in unpriced.advice


def test_a_clock_that_is_ahead_and_one_that_went_back(world):
    world.healthy()
    ahead = world.charge(1, "gw-ahead", started=datetime.now(UTC) + timedelta(minutes=9))
    back = [
        world.charge(1, "gw-back", started=NOW - timedelta(minutes=50)),
        world.charge(2, "gw-back", started=NOW - timedelta(minutes=59)),
        world.charge(3, "gw-back", started=NOW - timedelta(minutes=49)),
    ]
    frozen = replace(world.charge(1, "gw-frozen"), ended=NOW - timedelta(hours=1) + timedelta(seconds=1))
    world.keep([ahead, *back, frozen])
    world.send(ahead, *back, frozen)
    clocks = world.only("clocks")["clocks"]
    assert set(clocks.facts["gateways"]) == {"gw-ahead", "gw-back", "gw-frozen"}
    assert "gw-ahead: 1 charges up to 5" in clocks.figure
    assert "gw-back: the clock went back 540 s" in clocks.figure
    assert "gw-frozen: 1 ended before they started" in clocks.figure


def test_amounts_that_no_bill_may_hold(world):
    charges = world.healthy()
    for number, total in enumerate(("nan", "1e30", "99999999999999999999", "-5"), 30):
        request = ExportTraceServiceRequest.FromString(
            world.spans.finish(replace(charges[0], id=f"bad-{number}", gateway_instance="")).payload
        )
        (span,) = request.resource_spans[0].scope_spans[0].spans
        (cost,) = [item for item in span.attributes if item.key == "farthing.cost.total"]
        cost.value.string_value = total
        assert post_spans(world.settings, request.SerializeToString()).status_code == 200
    found = world.findings()
    assert found["amounts"].status == "FAIL"
    assert found["amounts"].facts["refused"] == 4
    assert found["amounts"].facts["attributes"] == ["farthing.cost.total"]
    assert found["unpriced"].facts["calls"] == 4, "they are in no sum, and shown"
    assert found["credits"].facts["difference_nano"] == -4 * EACH, "nobody settled them"


def test_a_month_that_is_closed_and_days_that_are_not_summed(world):
    world.healthy()
    month = "2026-01-01"
    old = datetime(2026, 1, 9, 12, tzinfo=UTC)
    sql(
        world.settings,
        f"INSERT INTO closings (booked_month, closing, month, arrivals, closed_at) "
        f"VALUES ('{month}', 1, '{month}', 0, now64(3))",
    )
    late = [world.charge(number, started=old + timedelta(days=number - 20)) for number in (21, 22)]
    world.keep(late)
    world.send(*late)
    found = world.findings()
    assert found["closed months"].status == "warn"
    assert found["closed months"].facts == {"months": ["2026-01"]}
    assert "2026-01: 2 calls, 0.006700002 USD" in found["closed months"].figure
    assert (found["rolls"].status, found["rolls"].facts["days"]) == ("warn", 2)
    with closing(connect(world.settings.ledger)) as client:
        rolls.roll(client)
    assert world.findings()["rolls"].facts["days"] == 0


def test_balances_and_bills_that_differ_and_holds_that_nobody_ends(world):
    world.healthy()
    unpaid = world.charge(21)
    world.keep([unpaid], settle=False)
    world.send(unpaid)
    credits = world.only("credits")["credits"]
    assert credits.facts["difference_nano"] == -EACH
    paid = world.charge(22)

    async def settle():
        store = open_store(world.settings.credits.store)
        await store.settle(paid.id, Payer(paid.account), 3 * EACH)
        await store.grant("g", "user:ada", 10**12, department="engineering")
        await store.hold("forgotten", Payer(paid.account), 5_000, 0.01)
        await store.close()

    asyncio.run(settle())
    db = sqlite3.connect(world.settings.credits.store.removeprefix("sqlite:///"))
    long_ago = int((time.time() - 3600) * 1000)
    db.execute("UPDATE holds SET expires_ms = ? WHERE id = 'forgotten'", (long_ago,))
    db.commit()
    db.close()
    found = world.only("credits", "holds")
    assert found["credits"].facts["difference_nano"] == 2 * EACH
    assert (found["holds"].facts["stale"], found["holds"].facts["stale_nano"]) == (1, 5_000)


def test_a_ledger_out_of_reach_or_out_of_date_leaves_the_rest_to_be_read(world):
    world.healthy()
    away = Ledger(url="http://127.0.0.1:9", password="x")
    found = {f.check: f for f in doctor.examine(world.settings.model_copy(update={"ledger": away}))}
    assert found["ledger"].status == "FAIL"
    assert found["outbox"].status == found["holds"].status == "ok"
    assert "gaps" not in found
    sql(world.settings, "ALTER TABLE schema_migrations DELETE WHERE version = 2 SETTINGS mutations_sync = 2")
    try:
        late = world.findings()["ledger"]
        assert late.status == "FAIL"
        assert "0002_charges" in late.figure
        assert "farthing ledger migrate" in late.advice
    finally:
        sql(
            world.settings,
            "INSERT INTO schema_migrations (version, name, sha256) "
            "SELECT 2, '0002_charges', 'x' FROM schema_migrations LIMIT 1",
        )


def test_the_command_prints_lines_or_json_and_its_status_tells(world, tmp_path, capsys):
    from farthing.cli import main

    world.healthy()
    config = tmp_path / "farthing.yaml"
    config.write_text(
        json.dumps(
            {
                "telemetry": {
                    "outbox": str(world.settings.telemetry.outbox),
                    "otlp_endpoint": world.settings.ledger.url,
                },
                "credits": {"store": world.settings.credits.store},
                "ledger": {
                    "url": world.settings.ledger.url,
                    "user": world.settings.ledger.user,
                    "password": world.settings.ledger.password,
                },
            }
        )
    )
    assert main(["doctor", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("ok ", "     ")) for line in lines)
    world.keep([world.charge(30)], state="rejected")
    assert main(["doctor", "--config", str(config), "--format", "json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert not shown["healthy"]
    assert {f["check"] for f in shown["findings"] if f["status"] == "FAIL"} == {"refused charges"}
    assert main(["doctor", "--config", str(config)]) == 1
    assert "FAIL  refused charges" in capsys.readouterr().out
    assert main(["doctor", "--config", str(config), "--resend"]) == 0
    assert "Nothing to send again" in capsys.readouterr().out
    config.write_text("telemetry: {outbox_fsync: sometimes}")
    assert main(["doctor", "--config", str(config)]) == 2
    assert "telemetry.outbox_fsync" in capsys.readouterr().err
