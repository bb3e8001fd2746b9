"""The boards' files: made from their source, whole in the eyes of Grafana's library, and fit to be read."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from dashboards.grafana.__main__ import main, text
from dashboards.grafana.boards import BOARDS
from dashboards.grafana.expand import View, expand, queries
from dashboards.grafana.parts import DATASOURCE_UID, PLUGIN
from farthing.settings import Telemetry
from farthing.telemetry.metrics import Metrics
from tests.ledger_stack import charge

FOLDER = Path(__file__).resolve().parents[2] / "dashboards" / "grafana"
FILES = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in BOARDS}
VIEW = View(datetime(2014, 11, 12, 11, 45, 26, tzinfo=UTC), datetime(2015, 11, 12, 11, 45, 26, tzinfo=UTC))


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("name", BOARDS)
def test_the_file_is_what_the_source_makes(name: str, tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    made = (tmp_path / f"{name}.json").read_text()
    assert (FOLDER / f"{name}.json").read_text() == made == text(BOARDS[name]()), (
        "run python -m dashboards.grafana"
    )


def lost(given: Any, kept: Any, at: str = "") -> list[str]:
    """Return where ``kept`` lacks or changes something of ``given``; it may have more."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [one for key in given for one in lost(given[key], kept.get(key, "nothing"), f"{at}.{key}")]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [
            one for n, pair in enumerate(zip(given, kept, strict=True)) for one in lost(*pair, f"{at}[{n}]")
        ]
    return [] if given == kept else [at]


@pytest.mark.parametrize("name", BOARDS)
def test_the_library_knows_every_field_of_a_board(name: str) -> None:
    # What Grafana's library does not know, it drops when it reads; defaults it may add.
    register_default_plugins()

    def read(board: dict[str, Any]) -> Any:
        return json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))

    assert lost(FILES[name], read(FILES[name])) == []
    wrong = json.loads(json.dumps(FILES[name]))
    wrong["panels"][1]["fieldConfig"]["defaults"]["units"] = "short"
    wrong["panels"][1]["options"]["colour"] = "red"
    wrong["timezome"] = "utc"
    assert set(lost(wrong, read(wrong))) == {
        ".panels[1].fieldConfig.defaults.units", ".panels[1].options.colour", ".timezome",
    }  # fmt: skip


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_it_shows_and_what_is_left_out(name: str) -> None:
    board = FILES[name]
    assert board["uid"] == f"farthing-{name}"
    assert board["tags"] == ["farthing", name]
    assert board["schemaVersion"] == 41
    (link,) = board["links"]
    assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == (
        "dashboards",
        ["farthing"],
        True,
        True,
    )
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(board):
        description = panel["description"]
        assert description.endswith("."), panel["title"]
        assert 40 < len(description) < 330, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
        for target in panel["targets"]:
            for reference in (panel["datasource"], target["datasource"]):
                assert reference == {"type": PLUGIN, "uid": "${datasource}"}
            shape = ("timeseries", 0) if panel["type"] == "timeseries" else ("table", 1)
            assert (target["queryType"], target["format"], target["editorType"]) == (*shape, "sql")


@pytest.mark.parametrize("name", BOARDS)
def test_panels_neither_overlap_nor_leave_the_grid(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in FILES[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_queries_read_what_stays_fast(name: str) -> None:
    for title, (sql, _) in queries(FILES[name]).items():
        read = set(re.findall(r"\b(?:FROM|JOIN)\s+([a-z_]+)\b", sql))
        views = {
            "charges_daily",
            "charges_hourly",
            "statement_lines",
            "statement_corrections",
            "closed_lines",
        }
        books = {"budgets", "closed_months", "price_book", "hardware_costs"}
        metrics = {"otel_metrics_sum", "otel_metrics_gauge", "otel_metrics_histogram"}
        named = set(re.findall(r"\b([a-z_]+) AS\s+\(", sql))
        # The one panel that needs single charges reads one day of them.
        one_day = {"charges_final"} if title == "Scores on the last day" else set()
        assert read <= views | books | metrics | named | one_day, title
        # The plugin puts conditions in with JavaScript's replace, to which these mean something.
        assert not any(sign in sql for sign in ("$$", "$&", "$`", "$'")), title
        if one_day:
            assert "WHERE day = toDate($__toTime, 'UTC')" in sql


def test_metrics_that_boards_ask_for_are_those_that_gateways_send() -> None:
    reader = InMemoryMetricReader()
    sent = Metrics(Telemetry(), instance="gw-1", meters=MeterProvider([reader]))
    sent.grades.record("LOW", "learned", "exact", 0.01, 0.5)
    sent.calls.charged(charge(1))
    sent.calls.denied("credit", "sales")
    sent.calls.climbed("local", "fast")
    sent.calls.added(0.01, "chat")
    sent.outbox.saw(3, 0, 1.5, 4096)
    attributes: dict[str, set[str]] = {}
    for resource in reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = metric.data.data_points
                attributes[metric.name] = {key for point in points for key in point.attributes or {}}
    asked = [sql for board in FILES.values() for sql, _ in queries(board).values() if "MetricName" in sql]
    assert len(asked) >= 9
    for sql in asked:
        (name,) = re.findall(r"MetricName = '(.*?)'", sql)
        assert set(re.findall(r"\bAttributes\['(.*?)'\]", sql)) <= attributes[name]


def test_provisioning_names_the_plugin_and_the_boards_data_source() -> None:
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/farthing.yaml").read_text())["datasources"]
    assert (source["uid"], source["type"]) == (DATASOURCE_UID, PLUGIN)
    assert source["secureJsonData"] == {"password": "$FARTHING_LEDGER_PASSWORD"}
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/farthing.yaml").read_text())["providers"]
    assert (provider["type"], provider["options"]) == ("file", {"path": "$FARTHING_BOARDS"})
    for board in FILES.values():
        variable = board["templating"]["list"][0]
        assert (variable["type"], variable["query"]) == ("datasource", PLUGIN)
        assert variable["current"]["value"] == DATASOURCE_UID


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("a > $__fromTime", "a > toDateTime(1415792726)"),
        ("toDate($__toTime, 'UTC')", "toDate(toDateTime(1447328726), 'UTC')"),
        ("$__timeFilter(col)", "col >= toDateTime(1415792726) AND col <= toDateTime(1447328726)"),
        ("$__dateFilter(d)", "d >= toDate('2014-11-12') AND d <= toDate('2015-11-12')"),
        (
            "$__dateTimeFilter(d, t)",
            "(d >= toDate('2014-11-12') AND d <= toDate('2015-11-12')) AND "
            "(t >= toDateTime(1415792726) AND t <= toDateTime(1447328726))",
        ),
        ("$__timeInterval(col)", "toStartOfInterval(toDateTime(col), INTERVAL 86400 second)"),
        ("n / $__interval_s", "n / 86400"),
        ("$__conditionalAll(f(a, b) IN ('${tier:percentencode}'), $tier)", "f(a, b) IN ('%7Bx61%2Cx62%7D')"),
        ("$__conditionalAll(a IN ('${model:percentencode}'), $model) AND c", "1=1 AND c"),
    ],
)
def test_queries_are_expanded_as_the_plugin_does(written: str, sent: str) -> None:
    view = View(VIEW.since, VIEW.until, {"tier": ["x61", "x62"]})
    assert expand(written, view, "1d") == sent


@pytest.mark.parametrize(
    "written", ["$__dateTimeFilter(a)", "$__nonsense(a)", "a = $department", "${model}", "${tier:csv}"]
)
def test_what_nobody_would_replace_is_noticed(written: str) -> None:
    with pytest.raises(ValueError, match=r"no such macro|left in the query"):
        expand(written, VIEW)


@pytest.mark.parametrize(
    ("hours", "least", "seconds"),
    [(1, "", 10), (24, "", 300), (24, "1h", 3600), (24 * 30, "1h", 7200), (24, "1d", 86_400)],
)
def test_points_lie_a_round_interval_apart(hours: int, least: str, seconds: int) -> None:
    until = datetime.fromtimestamp(VIEW.since.timestamp() + hours * 3600, UTC)
    assert View(VIEW.since, until).interval_s(least) == seconds
