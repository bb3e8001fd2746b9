"""The boards, each a module with a ``board()``."""

from collections.abc import Callable

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana.boards import finops, grading, sovereign, sre

BOARDS: dict[str, Callable[[], Dashboard]] = {
    "finops": finops.board,
    "sre": sre.board,
    "grading": grading.board,
    "sovereign": sovereign.board,
}
"""By the name of the file that a board becomes."""
