"""Panels, variables and links as every board has them."""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import barchart, common, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models

from dashboards.grafana.sql import VARIABLES, encoded, named, write

PLUGIN = "grafana-clickhouse-datasource"
DATASOURCE_UID = "farthing-ledger"
TAG = "farthing"
USD = "currencyUSD"
SHARE = "percentunit"
_SOURCE = models.DataSourceRef(type_val=PLUGIN, uid="${datasource}")
# How the data source names what a query returns; the numbers are the same for Grafana's back end.
_TIME_SERIES, _TABLE = ("timeseries", 0), ("table", 1)

Steps = Sequence[tuple[float | None, str]]
PLAIN: Steps = ((None, "blue"),)


class Query(Builder[Dataquery]):
    """One query in SQL, as the ClickHouse data source stores it."""

    def __init__(self, sql: str, shape: tuple[str, int]) -> None:
        self._sql, self._shape = sql, shape

    def build(self) -> Dataquery:
        """Return the target of a panel."""
        name, number = self._shape
        return UnknownDataquery(
            {
                "datasource": {"type": PLUGIN, "uid": "${datasource}"},
                "editorType": "sql",
                "format": number,
                "queryType": name,
                "rawSql": self._sql,
                "refId": "A",
            }
        )


def number(
    title: str,
    text: str,
    sql: str,
    unit: str,
    *,
    steps: Steps = PLAIN,
    wide: int = 4,
    decimals: int | None = None,
) -> stat.Panel:
    """Return a panel of one number; its query returns one row."""
    panel = (
        stat.Panel()
        .title(title)
        .description(text)
        .datasource(_SOURCE)
        .with_target(Query(sql, _TABLE))
        .unit(unit)
        .thresholds(thresholds(steps))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .height(4)
        .span(wide)
    )
    return panel if decimals is None else panel.decimals(decimals)


def over_time(
    title: str,
    text: str,
    sql: str,
    unit: str,
    *,
    name: str = "",
    every: str = "1d",
    stacked: bool = False,
    whole: bool = False,
    bars: bool = False,
    wide: int = 12,
    steps: Steps = PLAIN,
) -> timeseries.Panel:
    """Return a panel of lines (or bars) over time; its query's first column is the time.

    ``name`` is how a line is called, from its labels; ``every`` the least distance of two points;
    ``whole`` stacks to 100 %.
    """
    stacking = shapes.StackingMode.NORMAL if stacked else shapes.StackingMode.NONE
    if whole:
        stacking = shapes.StackingMode.PERCENT
    panel = (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(_SOURCE)
        .with_target(Query(sql, _TIME_SERIES))
        .unit(unit)
        .interval(every)
        .thresholds(thresholds(steps))
        .thresholds_style(
            common.GraphThresholdsStyleConfig().mode(
                shapes.GraphThresholdsStyleMode.OFF
                if steps is PLAIN
                else shapes.GraphThresholdsStyleMode.LINE
            )
        )
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .draw_style(shapes.GraphDrawStyle.BARS if bars else shapes.GraphDrawStyle.LINE)
        .fill_opacity(70 if stacked or whole else 10)
        .show_points(shapes.VisibilityMode.NEVER if bars else shapes.VisibilityMode.AUTO)
        .stacking(common.StackingConfig().mode(stacking).group("A"))
        .tooltip(
            common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
        )
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
        )
        .axis_soft_min(0)
        .height(8)
        .span(wide)
    )
    return panel.display_name(name) if name else panel


def rows(
    title: str,
    text: str,
    sql: str,
    units: Mapping[str, str],
    *,
    steps: Mapping[str, Steps] | None = None,
    wide: int = 12,
    tall: int = 8,
) -> table.Panel:
    """Return a table; ``units`` and ``steps`` (the colours of a cell) are by column."""
    panel = (
        table.Panel()
        .title(title)
        .description(text)
        .datasource(_SOURCE)
        .with_target(Query(sql, _TABLE))
        .unit("short")
        .thresholds(thresholds(PLAIN))
        .height(tall)
        .span(wide)
    )
    for column, unit in units.items():
        properties = [models.DynamicConfigValue("unit", unit)]
        if steps and column in steps:
            coloured = thresholds(steps[column]).build()
            properties += [
                models.DynamicConfigValue("thresholds", coloured),
                models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ]
        panel = panel.override_by_name(column, properties)
    return panel


def bars(
    title: str, text: str, sql: str, unit: str, x: str, *, stacked: bool = False, wide: int = 12
) -> barchart.Panel:
    """Return a bar chart; ``x`` is the column that names the bars, every other column is a measure."""
    return (
        barchart.Panel()
        .title(title)
        .description(text)
        .datasource(_SOURCE)
        .with_target(Query(sql, _TABLE))
        .unit(unit)
        .x_field(x)
        .stacking(shapes.StackingMode.NORMAL if stacked else shapes.StackingMode.NONE)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .thresholds(thresholds(PLAIN))
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
        )
        .axis_soft_min(0)
        .height(8)
        .span(wide)
    )


def thresholds(steps: Steps) -> builders.ThresholdsConfig:
    """Return colours from values upwards; the first step has no value."""
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in steps])
    )


def board(name: str, title: str, text: str, since: str, *variables: str) -> builders.Dashboard:
    """Return an empty board with its data source, its variables and links to the other boards.

    ``variables`` are of `VARIABLES`; ``since`` is where its range begins, which ends now.
    """
    made = (
        builders.Dashboard(title)
        .uid(f"{TAG}-{name}")
        .description(text)
        .tags([TAG, name])
        .timezone("utc")
        .time(since, "now")
        .refresh("5m")
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            builders.DashboardLink("Farthing's boards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .icon("dashboard")
            .tooltip("The other boards, with the same time range and choices")
            .as_dropdown(False)
            .include_vars(True)
            .keep_time(True)
            .target_blank(False)
            .url("")
        )
        .with_variable(
            builders.DatasourceVariable("datasource")
            .label("Ledger")
            .type(PLUGIN)
            .current(models.VariableOption(text="Farthing ledger", value=DATASOURCE_UID, selected=True))
        )
    )
    for variable in variables:
        made = made.with_variable(_choice(variable))
    return made


def _choice(column: str) -> builders.QueryVariable:
    if column not in VARIABLES:
        raise ValueError(f"{column} is not one of {VARIABLES}")
    # The first column is the value, the second what is shown.
    query = write(
        """
SELECT @encoded AS value, @shown AS text
FROM charges_daily
WHERE $__dateFilter(day)
GROUP BY @column
ORDER BY @column
""",
        column=column,
        encoded=encoded(column),
        shown=named(column, f"(no {column})"),
    )
    return (
        builders.QueryVariable(column)
        .label(column.capitalize())
        .datasource(_SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .allow_custom_value(False)
        .sort(models.VariableSort.DISABLED)
        .current(models.VariableOption(text=["All"], value=["$__all"], selected=True))
    )
