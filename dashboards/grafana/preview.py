"""The boards' query results as pages, to look at without Grafana.

    python -m dashboards.grafana.preview --ledger http://127.0.0.1:8123 --from 2026-11-01 --to 2026-11-30 DIR

Every panel's query is expanded as Grafana and its plugin would, run on the ledger, and drawn with plain SVG.
The password is read from FARTHING_LEDGER_PASSWORD.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from dashboards.grafana import draw
from dashboards.grafana.boards import BOARDS
from dashboards.grafana.expand import View, expand, single_choices
from farthing.ledger import connect
from farthing.ledger.errors import LedgerError
from farthing.ledger.html.markup import Markup, tag
from farthing.settings import Ledger

WIDTH = 1400
_ROW = 34
_FOLDER = Path(__file__).resolve().parent
_NAMED_COLOURS = {"green": "#2b7a2b", "orange": "#c9600d", "red": "#c4162a", "blue": "#3274d9"}


def page(client: Any, board: Mapping[str, Any], view: View) -> str:
    """Return one board as a page. Raises what clickhouse-connect raises."""
    view = View(view.since, view.until, single_choices(board) | dict(view.chosen), view.points)
    lines: list[Markup] = []
    beside: list[Markup] = []
    height = 0
    for panel in [*board["panels"], None]:
        if panel is None or (beside and panel["gridPos"]["y"] >= height):
            lines.append(tag("div", *beside, class_="row"))
            beside = []
        if panel is None:
            break
        height = panel["gridPos"]["y"] + panel["gridPos"]["h"]
        if panel["type"] == "row":
            lines.append(tag("h2", panel["title"]))
        else:
            beside.append(_panel(client, panel, view))
    period = f"{view.since:%Y-%m-%d %H:%M} to {view.until:%Y-%m-%d %H:%M} UTC"
    note = f"Query results, not Grafana. {period}. {board['description']}"
    style = tag("style", Markup((_FOLDER / "preview.css").read_text(encoding="utf-8")))
    head = tag("head", tag("meta", charset="utf-8"), tag("title", board["title"]), style)
    body = tag("body", tag("h1", board["title"]), tag("p", note, class_="note"), *lines)
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _panel(client: Any, panel: Mapping[str, Any], view: View) -> Markup:
    answer = client.query(expand(panel["targets"][0]["rawSql"], view, panel.get("interval", "")))
    rows = [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]
    width = round(panel["gridPos"]["w"] / 24 * (WIDTH - 28)) - 8
    size = draw.Size(width - 18, panel["gridPos"]["h"] * _ROW - 92)
    drawn = _drawn(panel, rows, size)
    return tag(
        "section", tag("h3", panel["title"]), drawn, style=f"width: {width}px", title=panel["description"]
    )


def _drawn(panel: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], size: draw.Size) -> Markup:
    defaults = panel["fieldConfig"]["defaults"]
    unit, custom = defaults["unit"], defaults.get("custom", {})
    match panel["type"]:
        case "stat":
            value = next(iter(rows[0].values())) if rows else None
            return draw.number(rows, unit, defaults.get("decimals"), _colour(defaults, value))
        case "timeseries":
            mode = custom["stacking"]["mode"]
            return draw.over_time(
                rows,
                unit,
                size,
                stacked=mode == "normal",
                whole=mode == "percent",
                bars=custom["drawStyle"] == "bars",
            )
        case "barchart":
            return draw.bars(rows, panel["options"]["xField"], unit, size)
    units = {
        override["matcher"]["options"]: property["value"]
        for override in panel["fieldConfig"]["overrides"]
        for property in override["properties"]
        if property["id"] == "unit"
    }
    return draw.table(rows, units, most=max(3, (size.height + 60) // 20))


def _colour(defaults: Mapping[str, Any], value: Any) -> str:
    found = "blue"
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is None or (value is not None and value >= step["value"]):
            found = step["color"]
    return _NAMED_COLOURS[found]


def main(arguments: list[str]) -> int:
    """Write one page for each board; return 1 if the ledger cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m dashboards.grafana.preview", description="the boards' query results as pages"
    )
    parser.add_argument("folder", type=Path, help="where the pages are written")
    parser.add_argument("--ledger", default="http://127.0.0.1:8123", help="the ledger's URL")
    parser.add_argument("--user", default="farthing", help="its user")
    parser.add_argument("--database", default="farthing", help="its database")
    parser.add_argument("--from", dest="since", type=date.fromisoformat, required=True, help="first UTC day")
    parser.add_argument("--to", dest="until", type=date.fromisoformat, required=True, help="last UTC day")
    asked = parser.parse_args(arguments)
    view = View(
        datetime.combine(asked.since, time.min, UTC),
        datetime.combine(asked.until, time(23, 59, 59), UTC),
        points=150,
    )
    try:
        password = os.environ.get("FARTHING_LEDGER_PASSWORD", "")
        client = connect(
            Ledger(url=asked.ledger, user=asked.user, password=password, database=asked.database)
        )
    except LedgerError as error:
        print(f"preview: {error}", file=sys.stderr)
        return 1
    asked.folder.mkdir(parents=True, exist_ok=True)
    for name in BOARDS:
        board = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        (asked.folder / f"{name}.html").write_text(page(client, board, view), encoding="utf-8")
    client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
