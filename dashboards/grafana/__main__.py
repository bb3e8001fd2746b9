"""Write the boards as JSON: ``python -m dashboards.grafana [FOLDER]``."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.grafana.boards import BOARDS

FOLDER = Path(__file__).resolve().parent


def text(board: Dashboard) -> str:
    """Return a board as the JSON text that Grafana is provisioned with; the same board, the same text."""
    built = board.build()
    # Links to a panel name its id, so Grafana must not choose them.
    for number, panel in enumerate(built.panels or [], start=1):
        panel.id_val = number
    for variable in built.templating.list_val or [] if built.templating else []:
        # Fields of interval variables, which the library gives to every kind.
        variable.auto = variable.auto_min = variable.auto_count = None
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write every board into a folder: the one named, or the folder of this package."""
    folder = Path(arguments[0]) if arguments else FOLDER
    for name, board in BOARDS.items():
        (folder / f"{name}.json").write_text(text(board()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
