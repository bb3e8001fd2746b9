"""What a LiteLLM proxy config names: ``farthing.proxy.plugin.hooks``, ``.classifier``, ``.authenticate``.

Importing it reads farthing.yaml; a wrong file stops the proxy's start with the field, value and fix.
"""

from farthing.proxy.assembly import assemble

_farthing = assemble()
_farthing.mount_pages()

hooks = _farthing.hooks
classifier = _farthing.classifier
authenticate = _farthing.key_ring().authenticate

__all__ = ["authenticate", "classifier", "hooks"]
