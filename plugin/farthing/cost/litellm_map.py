"""LiteLLM's own price map, read as data: importing LiteLLM takes seconds, reading its map 20 to 50 ms."""

import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

_MAP_FILE = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True, slots=True)
class PriceMap:
    """LiteLLM's entries by model name, and which edition of them this is."""

    version: str
    entries: Mapping[str, Mapping[str, object]]


def litellm_folder() -> Path:
    """Return the folder of the installed litellm package, without importing it.

    Raises FileNotFoundError if LiteLLM is not installed.
    """
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("litellm is not installed, and Farthing reads its prices; install `litellm`")
    return Path(spec.submodule_search_locations[0])


@lru_cache(maxsize=1)
def load_price_map() -> PriceMap:
    """Read the installed LiteLLM's price map, once for the process. Decimal numbers stay exact.

    Raises FileNotFoundError if LiteLLM or its map is missing.
    """
    data = (litellm_folder() / _MAP_FILE).read_bytes()
    entries = json.loads(data, parse_float=Decimal)
    entries.pop("sample_spec", None)
    digest = hashlib.sha256(data).hexdigest()[:8]
    return PriceMap(f"litellm-{importlib.metadata.version('litellm')}:sha256-{digest}", entries)
