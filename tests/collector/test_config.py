"""The collector itself accepts otel-collector.yaml, and a mistake in it is told before it starts."""

import os
import subprocess

import pytest

from collector.process import CONFIG


def validate(binary, folder, **values):
    return subprocess.run(
        [binary, "validate", "--config", CONFIG],
        cwd=folder,
        env=os.environ | values,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"FARTHING_CLICKHOUSE": "tcp://clickhouse:9000", "FARTHING_LEDGER_PASSWORD": "0123"},
        {"FARTHING_TRACES_EXPORTER": "nop", "FARTHING_SAMPLED_EXPORTER": "nop"},
    ],
    ids=["as it is", "ClickHouse server", "charges alone"],
)
def test_the_configuration_is_valid(collector_binary, tmp_path, values):
    found = validate(collector_binary, tmp_path, **values)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"FARTHING_QUEUE_BYTES": "0"}, "queue_size"),
        ({"FARTHING_QUEUE_BYTES": "much"}, "queue_size"),
        ({"FARTHING_QUEUE_DIR": "/dev/null"}, "is not a directory"),
        ({"FARTHING_CLICKHOUSE": "clickhouse:9000"}, "clickhouse/charges"),
        ({"FARTHING_SHARE_PERCENT": "a lot"}, "sampling_percentage"),
        ({"FARTHING_DECISION_WAIT": "soon"}, "decision_wait"),
        ({"FARTHING_TRACES_EXPORTER": "zipkin"}, "zipkin"),
    ],
)
def test_a_bad_value_is_refused_by_name(collector_binary, tmp_path, values, complaint):
    found = validate(collector_binary, tmp_path, **values)
    assert found.returncode != 0
    assert complaint in found.stderr
