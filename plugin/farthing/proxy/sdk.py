"""Farthing for LiteLLM's SDK: `Router.acompletion` graded, paid for and recorded, without the proxy.

LiteLLM calls its async hooks only: the sync `Router.completion` is neither routed nor metered.
"""

import litellm

from farthing.proxy.assembly import Farthing, assemble
from farthing.proxy.hooks import FarthingHooks
from farthing.settings import Settings
from farthing.telemetry import Account


def attach(account: Account, settings: Settings | None = None) -> Farthing:
    """Meter this process's LiteLLM calls on ``account``; settings default to farthing.yaml.

    Give ``.classifier`` to the Router's ``complexity_router_config`` as ``classifier_plugin``, and await
    ``.close()`` at the end. Raises SettingsError, StoreError or OutboxError, and RuntimeError if Farthing is
    attached already: LiteLLM keeps the first hooks of a class for good.
    """
    if any(isinstance(callback, FarthingHooks) for callback in litellm.callbacks):
        raise RuntimeError("Farthing can be attached once in a process")
    farthing = assemble(settings, sdk_account=account)
    litellm.callbacks.append(farthing.hooks)
    return farthing
