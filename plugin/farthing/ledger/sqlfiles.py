"""The SQL that finance runs: dashboards/sql, which the wheel carries inside the package."""

from functools import cache
from pathlib import Path

_HERE = Path(__file__).resolve().parent


@cache
def load(name: str) -> str:
    """Return the text of ``name``.sql. Raises FileNotFoundError, naming the places looked at."""
    places = [_HERE / "sql", _HERE.parents[2] / "dashboards" / "sql"]
    for folder in places:
        file = folder / f"{name}.sql"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise FileNotFoundError(f"{name}.sql is in none of: {', '.join(str(place) for place in places)}")
