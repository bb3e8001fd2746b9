"""A real Jaeger behind the real collector gives a request back as one tree."""

from pathlib import Path

import httpx
import pytest

from collector.build import binary
from farthing.demo.stack import Part, free_port
from tests.collector.conftest import until
from tests.collector.traffic import traced


@pytest.fixture
def jaeger(tmp_path: Path):
    program = binary("jaeger")
    if program is None:
        pytest.skip("JAEGER IS NOT BUILT, so no trace was read back from it: run `make jaeger`")
    names = ("admin", "api", "grpc", "http")
    ports = {name: free_port() for name in names}
    others = {
        "collector.grpc-server.host-port": free_port(),
        "collector.http-server.host-port": free_port(),
        "query.grpc-server.host-port": free_port(),
        "admin.http.host-port": ports["admin"],
        "query.http-server.host-port": ports["api"],
        "collector.otlp.grpc.host-port": ports["grpc"],
        "collector.otlp.http.host-port": ports["http"],
    }
    command = [str(program), *(f"--{name}=127.0.0.1:{port}" for name, port in others.items())]
    part = Part("jaeger", command, f"http://127.0.0.1:{ports['admin']}/", tmp_path / "jaeger.log", {})
    part.start()
    try:
        part.wait_ready()
        yield f"http://127.0.0.1:{ports['api']}", f"127.0.0.1:{ports['grpc']}"
    finally:
        part.stop()


def trace(api: str, trace_id: str) -> dict[str, object] | None:
    answer = httpx.get(f"{api}/api/traces/{trace_id}", timeout=10)
    return answer.json()["data"][0] if answer.status_code == 200 else None


def tree(found):
    """Each span's name with its parent's, as Jaeger tells them."""
    names = {span["spanID"]: span["operationName"] for span in found["spans"]}
    above = {
        span["spanID"]: names[reference["spanID"]]
        for span in found["spans"]
        for reference in span["references"]
        if reference["refType"] == "CHILD_OF"
    }
    return sorted((name, above.get(span)) for span, name in names.items())


def test_a_request_is_one_tree_with_its_charge_in_it(jaeger, rig):
    api, endpoint = jaeger
    collector = rig.collect(
        FARTHING_TRACES_EXPORTER="otlp/jaeger",
        FARTHING_TRACES_ENDPOINT=endpoint,
        FARTHING_SHARE_PERCENT="100",
    )
    sent = traced(rig, collector, 5)
    for trace_id in sent:
        until(
            lambda trace_id=trace_id: len((trace(api, trace_id) or {"spans": ()})["spans"]) == 3, "the trace"
        )
        found = trace(api, trace_id)
        assert tree(found) == [
            ("chat gpt-5", "farthing request"),
            ("farthing request", None),
            ("grade", "farthing request"),
        ]
        charge = next(span for span in found["spans"] if span["operationName"] == "chat gpt-5")
        tags = {tag["key"]: tag["value"] for tag in charge["tags"]}
        assert tags["farthing.cost.total"] == "0.003350001"
        assert tags["gen_ai.usage.input_tokens"] == 1000
    until(lambda: rig.number("SELECT count() FROM charges_final") == 5, "the charges in the ledger, too")
