"""What LiteLLM is about to call: tier, model and price of a deployment."""

from collections.abc import Mapping
from typing import Any

from farthing.cost import PriceBook
from farthing.proxy.calls import Deployment
from farthing.settings import Settings


class Deployments:
    """Reads deployments from LiteLLM's parameters."""

    def __init__(self, settings: Settings, prices: PriceBook) -> None:
        self._settings = settings
        self._prices = prices

    def of_attempt(self, kwargs: Mapping[str, Any]) -> Deployment:
        """Return the deployment of an attempt, from what LiteLLM's deployment hook is given."""
        buckets = [kwargs.get(name) or {} for name in ("litellm_metadata", "metadata")]
        metadata = next((bucket for bucket in buckets if "deployment_model_name" in bucket), {})
        info: Mapping[str, Any] = kwargs.get("model_info") or metadata.get("model_info") or {}
        group = str(metadata.get("deployment_model_name") or kwargs.get("model") or "")
        return self._deployment(kwargs, info, group)

    def of_tier(self, router: Any, tier: str) -> list[Deployment]:
        """Return the deployments of LiteLLM's router that may serve a tier."""
        return self.of_group(router, getattr(self._settings.tiers, tier))

    def of_group(self, router: Any, group: str) -> list[Deployment]:
        """Return the deployments of a model group of LiteLLM's router."""
        found = router.get_model_list(model_name=group) or []
        return [
            self._deployment(item.get("litellm_params") or {}, item.get("model_info") or {}, group)
            for item in found
        ]

    def _deployment(self, parameters: Mapping[str, Any], info: Mapping[str, Any], group: str) -> Deployment:
        full = str(parameters.get("model") or "")
        prefix, _, bare = full.partition("/")
        provider = str(parameters.get("custom_llm_provider") or (prefix if bare else ""))
        name = str(info.get("base_model") or bare or full)
        stand_in = info.get("stand_in") is True
        price = self._prices.price(
            name, info, provider=provider, service_tier=str(parameters.get("service_tier") or "")
        )
        window = info.get("max_input_tokens")
        return Deployment(
            id=str(info.get("id") or full),
            tier=self._settings.tiers.of_group(group),
            model=name.removeprefix(f"{provider}/"),
            provider="stand-in" if stand_in else provider,
            stand_in=stand_in,
            price=price,
            window=window if type(window) is int else price.max_input_tokens if price else None,
        )
