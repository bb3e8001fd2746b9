"""Who is speaking: the OTel resource and scope of a gateway process, and where its spans are sent."""

import base64

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from farthing import __version__

SCOPE = InstrumentationScope("farthing", __version__)


def gateway_resource(service_name: str, instance: str) -> Resource:
    """Return the resource of one gateway process.

    ``instance`` becomes ``service.instance.id``; give `Outbox.instance`, so that ordinary spans and
    charges of one process carry the same id.
    """
    return Resource.create(
        {SERVICE_NAME: service_name, SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: instance}
    )


def traces_url(endpoint: str) -> str:
    """Return the URL that takes spans at an OTLP/HTTP base URL: ``{endpoint}/v1/traces``."""
    return f"{endpoint.rstrip('/')}/v1/traces"


def basic_auth(user: str, password: str) -> dict[str, str]:
    """Return the basic-auth header of a user, or no header if ``user`` is empty."""
    if not user:
        return {}
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"authorization": f"Basic {token}"}
