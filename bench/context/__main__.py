"""The context benchmark: python -m bench.context --data DIR [--report docs/context-bench.md]."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Importing LiteLLM would fetch its price map otherwise.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from bench.context.data import ENVIRONMENT, DataError, folder
from bench.context.report import page


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure everything in one run, print the page and, if wanted, write it."""
    parser = argparse.ArgumentParser("python -m bench.context", description=__doc__)
    parser.add_argument("--data", type=Path, help=f"folder of the context data (default: ${ENVIRONMENT})")
    parser.add_argument("--report", type=Path, help="where the page goes, such as docs/context-bench.md")
    chosen = parser.parse_args(arguments)
    try:
        text = page(folder(chosen.data))
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(text)
    if chosen.report:
        chosen.report.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
