"""The price book: versioned prices, from farthing.yaml, the deployment, or LiteLLM's map."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

from farthing.cost.entry import Entry, price_from_entry
from farthing.cost.litellm_map import PriceMap, load_price_map
from farthing.cost.price import ModelPrice, affordable_output, cost, worst_case
from farthing.settings import CostSettings, Price

_CACHED_PRICES = 4096
_PRICE_FIELDS = ("cost_per_token", "_token_cost", "cost_per_reasoning_token", "tiered_pricing")


class PriceBook:
    """Answers what a model costs. Reads LiteLLM's map once, at construction (20 to 50 ms)."""

    cost = staticmethod(cost)
    worst_case = staticmethod(worst_case)
    affordable_output = staticmethod(affordable_output)

    def __init__(self, overrides: CostSettings | None = None, price_map: PriceMap | None = None) -> None:
        """``price_map`` replaces LiteLLM's. Raises FileNotFoundError if LiteLLM is not installed."""
        self._overrides = (overrides or CostSettings()).prices
        self._map = price_map or load_price_map()
        self._prices: dict[tuple[str, ...], ModelPrice | None] = {}
        self.version = self._map.version
        """Which data the prices come from, such as ``litellm-1.106.2:sha256-1a2b3c4d``."""
        if self._overrides:
            text = json.dumps(
                {name: price.model_dump(mode="json") for name, price in self._overrides.items()}
            )
            self.version += f"+farthing.yaml-{_digest(text)}"

    def price(
        self,
        model: str,
        explicit: Mapping[str, object] | None = None,
        *,
        provider: str = "",
        service_tier: str = "",
    ) -> ModelPrice | None:
        """Return the price of ``model``; None if it has none: an unpriced model is not a free one.

        The first that is found wins: ``cost.prices`` of farthing.yaml by exact name; ``explicit``, the
        deployment's own prices (``input_cost_per_token`` … as written in its litellm_params or
        model_info: not what ``litellm.get_model_info`` returns, which has 0 where nothing is known);
        LiteLLM's map, by full name, with ``provider`` before it, or without its own provider's prefix.

        ``service_tier`` (``flex``, ``priority``, …) is what was asked of the provider.
        Raises ValueError if an explicit price is not a number.
        """
        own = _priced_fields(explicit) if explicit else {}
        key = (model, provider, service_tier, repr(sorted(own.items())) if own else "")
        if key not in self._prices:
            if len(self._prices) >= _CACHED_PRICES:
                self._prices.clear()
            self._prices[key] = self._find(model, own, provider, service_tier)
        return self._prices[key]

    def _find(self, model: str, own: Entry, provider: str, service_tier: str) -> ModelPrice | None:
        for name in (model, f"{provider}/{model}"):
            if name in self._overrides:
                return self._override(model, self._overrides[name], provider)
        listed = self._listed(model, provider) or {}
        version = self.version
        if own:
            whole = "tiered_pricing" in own or {"input_cost_per_token", "output_cost_per_token"} <= own.keys()
            # A deployment that prices input and output is priced by itself: list prices for what it leaves
            # out (a cache, a threshold) would mix a negotiated price with a public one.
            rest = {name: value for name, value in listed.items() if not (whole and _is_price(name))}
            listed = {**rest, **own}
            version += f"+deployment-{_digest(repr(sorted(own.items())))}"
        return price_from_entry(model, listed, version=version, provider=provider, service_tier=service_tier)

    def _listed(self, model: str, provider: str) -> Entry | None:
        entries = self._map.entries
        if provider and f"{provider}/{model}" in entries:
            return entries[f"{provider}/{model}"]
        if model in entries:
            return entries[model]
        prefix, _, rest = model.partition("/")
        for name in (rest, rest.removeprefix("responses/")):
            # `ollama/gpt-5` is not OpenAI's gpt-5: a prefix is dropped only before its own provider's entry.
            if name in entries and _serves(str(entries[name].get("litellm_provider", "")), prefix):
                return entries[name]
        return None

    def _override(self, model: str, price: Price, provider: str) -> ModelPrice | None:
        listed = self._listed(model, provider) or {}
        entry: dict[str, object] = {
            "litellm_provider": listed.get("litellm_provider"),
            "max_input_tokens": listed.get("max_input_tokens"),
            "max_output_tokens": listed.get("max_output_tokens"),
            "input_cost_per_token": price.input.scaleb(-6),
            "output_cost_per_token": price.output.scaleb(-6),
        }
        if price.cache_read is not None:
            entry["cache_read_input_token_cost"] = price.cache_read.scaleb(-6)
        if price.cache_write is not None:
            entry["cache_creation_input_token_cost"] = price.cache_write.scaleb(-6)
        found = price_from_entry(model, entry, version=self.version, provider=provider)
        return found and replace(found, source=price.source)


def _serves(provider: str, prefix: str) -> bool:
    """``vertex_ai`` also names ``vertex_ai-language-models``, ``bedrock`` also ``bedrock_converse``."""
    related = provider.startswith((f"{prefix}-", f"{prefix}_")) or provider == f"text-completion-{prefix}"
    return bool(prefix) and (provider == prefix or related)


def _priced_fields(explicit: Mapping[str, object]) -> dict[str, object]:
    own = {name: value for name, value in explicit.items() if value is not None and _is_price(name)}
    if not own:
        return {}
    limits = ("max_input_tokens", "max_output_tokens", "mode")
    return own | {name: explicit[name] for name in limits if explicit.get(name) is not None}


def _is_price(name: str) -> bool:
    return any(part in name for part in _PRICE_FIELDS)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
