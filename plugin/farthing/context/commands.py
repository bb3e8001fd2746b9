"""What `farthing context …` does."""

import argparse
import json
import os
import sys
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from farthing import settings
from farthing.settings import Settings

_LIST = "a request body with `messages` or `input`, or such a list alone"


def explain(arguments: argparse.Namespace) -> int:
    """Say what would be made of the conversation in a file."""
    from farthing.context.explain import explain
    from farthing.cost import PriceBook
    from farthing.embedding import Embedder

    configured = arguments.config or os.environ.get("FARTHING_CONFIG") or Path("farthing.yaml").exists()
    # A file needs neither a gateway nor its settings.
    loaded = settings.load(arguments.config) if configured else Settings()
    book = PriceBook(loaded.cost)
    models = arguments.model or [loaded.cost.baseline_model]
    prices = {model: book.price(model) for model in models}
    unpriced = [model for model, price in prices.items() if price is None]
    if unpriced:
        print(f"farthing: no price is known for {', '.join(unpriced)}: see cost.prices", file=sys.stderr)
        return 2
    try:
        payload = _payload(arguments.file)
    except (OSError, ValueError) as error:
        print(f"farthing: {arguments.file}: {error}", file=sys.stderr)
        return 1
    try:
        embedder = lru_cache(maxsize=1)(Embedder.load)
        for line in explain(payload, [p for p in prices.values() if p], loaded.context, embedder):
            print(line)
    except ValueError as error:
        print(f"farthing: {arguments.file}: {error}", file=sys.stderr)
        return 1
    return 0


def _payload(file: str) -> dict[str, Any]:
    """Return the request body in a file, ``-``: on standard input."""
    text = sys.stdin.read() if file == "-" else Path(file).read_text()
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error}); it takes {_LIST}") from None
    if isinstance(found, list):
        return {"messages": found}
    if not isinstance(found, dict):
        raise ValueError(f"it takes {_LIST}")
    return found


def erase(arguments: argparse.Namespace) -> int:
    """Forget a user's conversations."""
    from farthing.context.memory import RecollectionError, open_memory

    context = settings.load(arguments.config).context
    if not context.path.exists():
        print(f"Erased 0 sessions of {arguments.user}: there is no file {context.path}.")
        return 0
    try:
        with closing(open_memory(context)) as memory:
            unreadable = memory.unreadable()
            erased = memory.erase(arguments.user)
    except RecollectionError as error:
        print(f"farthing: {error}", file=sys.stderr)
        return 1
    print(f"Erased {erased} sessions of {arguments.user} from {context.path}.")
    if unreadable:
        print(f"So were {unreadable} that were kept with another context.key: whose they are cannot be told.")
    return 0


def key(arguments: argparse.Namespace) -> None:
    """Print a new key."""
    from farthing.context.sealing import new_key

    print(new_key())
