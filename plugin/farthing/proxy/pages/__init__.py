"""The balance page, its endpoints and their live feeds, for the proxy's own web application.

    mount(app, application(settings, store, calendar, litellm_identity(settings)))

``GET /farthing/`` is the page: plain HTML, CSS and ES modules. ``/farthing/balance`` has the figures of the
key's own user, ``/farthing/admin/overview`` those of all; both also come as server-sent events, from
``/farthing/balance/stream`` and ``/farthing/admin/stream``. An admin grants by ``POST
/farthing/admin/grants`` and caps or stops by ``POST /farthing/admin/sessions/{id}``. A key travels in the
Authorization header alone, never in a URL or a cookie.

Nothing here spends: the pages read the credit store, and write only what an admin asks for.
"""

from farthing.proxy.pages.app import application
from farthing.proxy.pages.errors import SignInError
from farthing.proxy.pages.identity import Identify, Visitor, litellm_identity
from farthing.proxy.pages.mount import mount

__all__ = ["Identify", "SignInError", "Visitor", "application", "litellm_identity", "mount"]
