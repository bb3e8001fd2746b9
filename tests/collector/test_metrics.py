"""Metrics through the real collector land as they do when the embedded ledger takes them itself."""

import json

import httpx

from farthing.ledger.otlp_metrics import INSERTS
from tests.collector.conftest import until
from tests.integration.test_ledger_metrics import one_of_each
from tests.ledger_stack import AUTH

JSON = {"content-type": "application/json"}


def table(rig, kind):
    (name,) = [word for word in INSERTS[kind].split() if word.startswith("otel_metrics_")]
    return [json.loads(row) for row in rig.rows(f"SELECT * FROM {name} FORMAT JSONEachRow")]


def test_points_are_the_same_with_and_without_a_collector(rig):
    body = json.dumps(one_of_each())
    direct = httpx.post(
        f"{rig.settings.ledger.url}/v1/metrics", content=body, headers=JSON, auth=AUTH, timeout=30
    )
    assert direct.status_code == 200, direct.text
    expected = {kind: table(rig, kind) for kind in INSERTS}
    assert all(expected.values())
    rig.empty()
    collector = rig.collect()
    assert httpx.post(f"{collector.url}/v1/metrics", content=body, headers=JSON).status_code == 200
    until(lambda: all(table(rig, kind) for kind in INSERTS), "every kind of point in the ledger")
    assert {kind: table(rig, kind) for kind in INSERTS} == expected
