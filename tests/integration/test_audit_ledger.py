"""The audit of a ledger: recorded grades and intents, measured climbs, money to the nano-dollar."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from farthing import cli
from farthing.audit import AuditError, AuditOptions, audit
from farthing.ledger import connect, migrate, prepare, schema
from farthing.money import nano_from_usd
from farthing.settings import CostSettings, Price, Settings
from farthing.telemetry import Charge, Cost, Usage
from tests.ledger_stack import charge, deliver, embedded_ledger, sql

SMALL = Price(input=Decimal(1), output=Decimal(2))  # 1 000 + 100 tokens: 1_200_000 nano-dollars


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with embedded_ledger(tmp_path_factory.mktemp("ledger")) as running:
        yield running.model_copy(update={"cost": CostSettings(prices={"small": SMALL})})


@pytest.fixture(autouse=True)
def empty(settings: Settings) -> None:
    for table in ("otel_traces", "charges"):
        sql(settings, f"TRUNCATE TABLE {table}")


def call(number: int, grade: str, hours_ago: float = 1, **changes: object) -> Charge:
    """Return an answered call of a dear model whose grade a judge settled."""
    started = datetime.now(UTC) - timedelta(hours=hours_ago)
    values: dict[str, object] = {
        "started": started, "ended": started + timedelta(seconds=1), "grade": grade,
        "grade_score": {"MEDIUM": 0.25, "HIGH": 0.75}.get(grade, 0.0), "grade_source": "judge",
        "intent": f"{number % 3:032x}",
        "usage": Usage(1_000, 100), "cost": Cost(10_000_000, 3_000_000, 0, 0), "climbed_from": "",
    }  # fmt: skip
    return charge(number, **{**values, **changes})


def report(settings: Settings, **options: object) -> dict[str, object]:
    return json.loads(audit(AuditOptions(**{"fast": "small", "form": "json", **options}), settings))


def test_recorded_calls_are_audited_by_intent_and_tier(settings: Settings) -> None:
    charges = [
        *(call(number, "LOW") for number in range(1, 5)),
        *(call(number, "MEDIUM") for number in range(5, 8)),
        *(call(number, "HIGH") for number in range(8, 10)),
        call(10, "", intent=""),
        call(11, "LOW", cost=None),
        call(12, "HIGH", kind="failed_attempt", cost=Cost(500, 0, 0, 0)),
        call(13, "LOW", kind="grading", cost=Cost(70, 0, 0, 0)),
    ]
    deliver(settings, charges)
    deliver(settings, charges[::2])  # spans arrive at least once

    found = report(settings)
    assert (found["calls"], found["assessed"], found["needed_strong"]) == (11, 10, 2)
    assert nano_from_usd(found["other_charges_usd"]) == 570
    total = found["total"]
    assert nano_from_usd(total["paid_usd"]) == 10 * 13_000_000
    assert nano_from_usd(total["saving_usd"]) == 4 * 13_000_000 + 3 * (11_800_000 - 3_250_000), (
        "no climb is measured: the recorded score tells its odds"
    )
    assert (total["unpriced"], total["not_assessable"], total["strong"]) == (1, 1, 2)
    assert {item["intent"] for item in found["intents"]} == {"", *(f"{number:032x}" for number in range(3))}
    assert sum(item["calls"] for item in found["intents"]) == 11
    strong = [
        item["call"] for intent in found["intents"] for item in intent["stays"] if item["why"] == "strong"
    ]
    assert sorted(strong) == ["charge-8", "charge-9"]


def test_climbs_are_measured_and_what_climbed_is_not_promised_again(settings: Settings) -> None:
    deliver(
        settings,
        [
            *(call(n, "LOW", tier="local", cost=Cost(0, 0, 0, 0)) for n in range(1, 4)),
            call(4, "LOW", tier="strong", climbed_from="local"),
            call(5, "LOW", tier="strong"),
        ],
    )
    found = report(settings)
    assert found["total"]["fits"] == 4, "three were free, one had climbed"
    assert nano_from_usd(found["total"]["saving_usd"]) == 13_000_000 * 3 // 4
    assert any("ledger, 25.0% of local" in note for note in found["notes"])


def test_last_and_days_choose_the_newest(settings: Settings) -> None:
    deliver(settings, [call(n, "HIGH" if n <= 3 else "LOW", hours_ago=20 * n) for n in range(1, 8)])
    newest = report(settings, last=3)
    assert (newest["calls"], newest["needed_strong"]) == (3, 3)
    assert report(settings, days=2)["calls"] == 2
    assert report(settings)["calls"] == 7
    sql(settings, "TRUNCATE TABLE charges")
    with pytest.raises(AuditError, match="no answered call of the last 30 days"):
        report(settings)


def test_no_prompt_is_needed_and_none_is_shown(settings: Settings) -> None:
    deliver(settings, [call(1, "MEDIUM")])
    text = audit(AuditOptions(fast="small"), settings)
    assert text.startswith("Of your last 1 call, 0 needed the strong model. 1 would have been answered")
    assert "first ask" not in text
    assert "0" * 11 + "1" not in text, "an intent is shown by its beginning"


def test_the_command_says_how_to_reach_the_ledger(settings: Settings, tmp_path, capsys) -> None:
    file = tmp_path / "farthing.yaml"
    file.write_text("ledger: {url: 'http://127.0.0.1:9'}\n")
    assert cli.main(["audit", "--config", str(file)]) == 1
    assert "does not answer" in capsys.readouterr().err
    ledger = settings.ledger
    file.write_text(
        f"ledger: {{url: '{ledger.url}', user: '{ledger.user}', password: '{ledger.password}'}}\n"
    )
    assert cli.main(["audit", "--config", str(file)]) == 2
    assert "holds no answered call" in capsys.readouterr().err
    deliver(settings, [call(1, "HIGH")])
    assert cli.main(["audit", "--config", str(file), "--last", "100"]) == 0
    assert capsys.readouterr().out.startswith("Of your last 1 call, 1 needed the strong model.")


def test_a_ledger_from_before_intents_keeps_its_charges_and_takes_new_ones(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = schema.migrations()
    before = [one for one in known if one.version < 4]
    older = settings.ledger.model_copy(update={"database": "older"})
    monkeypatch.setattr(schema, "migrations", lambda: before)
    prepare(older)
    client = connect(older)
    insert = (
        "INSERT INTO otel_traces (Timestamp, TraceId, SpanId, SpanAttributes) VALUES (now64(9), 't', 's', "
        "map('farthing.charge.id', '{id}', 'farthing.charge.kind', 'inference', 'farthing.grade', 'LOW', "
        "'farthing.cost.total', '0.000000003', 'farthing.intent', '{intent}'))"
    )
    client.command(insert.format(id="old", intent="ab"))
    with pytest.raises(AuditError, match="farthing ledger migrate"):
        report(settings.model_copy(update={"ledger": older}))
    monkeypatch.setattr(schema, "migrations", lambda: known)
    assert migrate(client) == [one.name for one in known[3:]]
    client.command(insert.format(id="new", intent="cd"))
    rows = client.query("SELECT id, intent, grade, cost_total FROM charges_final ORDER BY id").result_rows
    assert rows == [("new", "cd", "LOW", Decimal("3e-9")), ("old", "", "LOW", Decimal("3e-9"))]
    assert report(settings.model_copy(update={"ledger": older}))["calls"] == 2
