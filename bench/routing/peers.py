"""The graders beside ours: LiteLLM's two heuristics and the prompt's length."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Peer:
    """A grader: a score that rises with difficulty, and whether it picks one of its two dearest tiers."""

    name: str
    score: Callable[[Mapping[str, Any]], float]
    strong: Callable[[Mapping[str, Any]], bool] | None = None


def text_of(payload: Mapping[str, Any]) -> str:
    """Return the user's text of a request of the benchmark."""
    return str(payload["prompt"] if "prompt" in payload else payload["messages"][0]["content"])


def peers() -> list[Peer]:
    """Return LiteLLM's heuristic and heuristic_v2 as installed, and the prompt's length."""
    # Importing LiteLLM would fetch its price map otherwise.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from litellm.router_strategy.adaptive_router.classifier import classify_prompt
    from litellm.router_strategy.complexity_router import tier_predictor
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

    router = ComplexityRouter("bench", None, {"tiers": {"SIMPLE": "a", "MEDIUM": "b", "COMPLEX": "c"}})  # type: ignore[arg-type]
    predictor = tier_predictor.TierSuccessPredictor(tier_predictor.resolve_tier_artifact("ultrafeedback"))

    def predicted(payload: Mapping[str, Any]) -> Any:
        text = text_of(payload)
        return predictor.predict(text, classify_prompt(text))

    return [
        Peer(
            "LiteLLM heuristic",
            lambda payload: float(router.classify(text_of(payload))[1]),
            lambda payload: router.classify(text_of(payload))[0].value in ("COMPLEX", "REASONING"),
        ),
        Peer(
            "LiteLLM heuristic_v2",
            lambda payload: 1 - float(predicted(payload).probabilities[1]),
            lambda payload: predicted(payload).required_tier >= 3,
        ),
        Peer("prompt length", lambda payload: float(len(text_of(payload)))),
    ]
