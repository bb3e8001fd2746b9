"""farthing.yaml: a mistake is answered with the field, the value and a fix; money in it is exact."""

from decimal import Decimal

import pytest

from farthing import cli
from farthing.settings import SettingsError, load

GOOD = "keys:\n- {sha256: '" + "a" * 64 + "', user: ada, department: research, credits: 0.1}\n"


def written(tmp_path, text):
    file = tmp_path / "farthing.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("credits: {usd_per_credit: 0}", "credits.usd_per_credit = 0"),
        ("credits: {usd_per_credit: 0.0000000005}", "whole number of nano-dollars"),
        ("credits: {hold_ttl_s: never}", "credits.hold_ttl_s = 'never'"),
        ("kredits: {}", "kredits: unknown setting"),
        ("grading: {quality: 99}", "grading.quality = 99"),
        ("keys: [{user: ada, department: x, sha256: plain-key}]", "keys.0.sha256 = 'plain-key'"),
        ("telemetry: {capture_prompts: true}", "telemetry.capture_prompts"),
        ("telemetry: {prometheus_port: 70000}", "telemetry.prometheus_port = 70000"),
        ("telemetry: {otlp_endpoint: banana}", "telemetry.otlp_endpoint = 'banana'"),
        ("ledger: {url: 8123}", "ledger.url = 8123"),
        (
            "credits: {store: 'postgres://x'}",
            "credits.store: must be sqlite:///path/to/credits.db or redis://",
        ),
        (
            "credits: {time_zone: Mars/Olympus}",
            "credits.time_zone = 'Mars/Olympus': 'Mars/Olympus' is not an IANA",
        ),
        ("credits: {thresholds: [80, 50]}", "thresholds must rise"),
        ("credits: {departments: {x: {monthly: -1}}}", "credits.departments.x.monthly = -1"),
        ("loops: {repeats: 1}", "loops.repeats = 1: must be 0 (off), or 2 or more"),
        ("ledger: {database: 'a; DROP'}", "ledger.database = 'a; DROP'"),
        ("[1, 2]", "must be a mapping"),
        ("a: [", "cannot be read as YAML"),
        (GOOD + GOOD.removeprefix("keys:\n"), "appears twice"),
        (
            GOOD + GOOD.removeprefix("keys:\n").replace("a" * 64, "b" * 64).replace("research", "x"),
            "belongs to one",
        ),
        ("ledger: {password: os.environ/FARTHING_TEST_UNSET}", "FARTHING_TEST_UNSET is not set"),
        ("grading: {cache: {redis: 'localhost:6379'}}", "must be a URL such as redis://127.0.0.1:6379/0"),
    ],
)
def test_a_mistake_names_field_value_and_fix(tmp_path, text, said):
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, text))
    assert said in str(refused.value)
    assert "farthing.yaml" in str(refused.value)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(SettingsError, match="farthing init"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "text", ["ledger: {password: [hunter2]}", "grading: {cache: {redis: 'http://me:hunter2@localhost'}}"]
)
def test_a_password_is_never_repeated_in_an_error(tmp_path, text):
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, text))
    assert "hunter2" not in str(refused.value)


def test_amounts_are_the_decimals_that_were_written(tmp_path):
    loaded = load(written(tmp_path, GOOD))
    assert loaded.keys[0].credits == Decimal("0.1")
    assert loaded.credits.nano_per_credit == 1_000_000


def test_paths_are_relative_to_the_file_and_secrets_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("FARTHING_TEST_SECRET", "s3cret")
    loaded = load(written(tmp_path, "ledger: {password: os.environ/FARTHING_TEST_SECRET}"))
    assert loaded.ledger.password == "s3cret"
    assert loaded.telemetry.outbox == tmp_path / ".farthing/outbox.db"
    assert loaded.credits.store == f"sqlite:///{tmp_path}/.farthing/credits.db"


def test_check_names_departments_that_nobody_is_of_and_hides_passwords(tmp_path, capsys):
    file = tmp_path / "farthing.yaml"
    file.write_text(
        GOOD + "credits: {store: 'redis://:secret@127.0.0.1/0', departments: {reserch: {monthly: 5}}}\n"
    )
    assert cli.main(["check", "--config", str(file)]) == 0
    said = capsys.readouterr().out
    assert "No key here is of reserch" in said
    assert "Credits: redis://…@127.0.0.1/0" in said
    assert "secret" not in said
