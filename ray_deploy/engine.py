"""The engine: what computes the answers. One interface; llama.cpp is the engine there is."""

import secrets
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from ray_deploy.settings import Settings

# Requests that one replica holds at a time; those beyond its slots wait inside the engine.
MAX_ONGOING = 64


@dataclass(frozen=True)
class ToolMarkers:
    """The marks around a tool call in the model's own language."""

    opening: str
    closing: str


@dataclass(frozen=True)
class Endpoint:
    """Where an engine listens, and what a caller has to know about it."""

    url: str
    key: str = field(repr=False)
    alias: str
    tool_markers: ToolMarkers | None = None


class Engine(Protocol):
    """Answers the OpenAI and Anthropic HTTP surfaces on a loopback endpoint."""

    endpoint: Endpoint


class LlamaCpp:
    """llama.cpp's own HTTP server, in this process.

    It listens on a free loopback port behind a random key, so that nobody on the machine walks past the
    tier's own key. It calls the model by a random alias, which the relay replaces by the name the client
    asked for.
    """

    def __init__(self, settings: Settings) -> None:
        # Loads a 100 MB library: only a replica should pay for it, not the command line.
        import xllamacpp

        key, alias = secrets.token_hex(16), f"engine-{secrets.token_hex(8)}"
        params = xllamacpp.CommonParams()
        params.model.path = str(settings.model)
        params.model_alias = {alias}
        params.api_keys = [key]
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        params.n_parallel = settings.slots
        params.n_ctx = settings.context * settings.slots
        params.n_predict = settings.max_output
        params.cont_batching = True
        params.cpuparams.n_threads = settings.threads_per_replica
        params.cpuparams_batch.n_threads = settings.threads_per_replica
        params.cache_ram_mib = settings.prompt_cache_mib
        # A request keeps its thread while it waits for a slot; health questions must still get one.
        params.n_threads_http = MAX_ONGOING + 4
        params.use_jinja = True
        if settings.chat_template is not None:
            params.chat_template = settings.chat_template.read_text(encoding="utf-8")
        params.ui = False
        params.verbosity = 1
        self._server = xllamacpp.Server(params)
        url = str(self._server.listening_address)
        self.endpoint = Endpoint(url, key, alias, _tool_markers(url, key))


def _tool_markers(url: str, key: str) -> ToolMarkers | None:
    answer = httpx.get(
        f"{url}/props", headers={"authorization": f"Bearer {key}"}, timeout=30, trust_env=False
    )
    template = answer.raise_for_status().json()["chat_template"]
    return ToolMarkers("<tool_call>\n", "</tool_call>") if "<tool_call>" in template else None
