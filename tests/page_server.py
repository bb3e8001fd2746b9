"""The balance page alone, without LiteLLM, over a credit store of its own: for tests, and to look at it.

    python -m tests.page_server 8765 sqlite:///credits.db

Sign in with `ada-key`, `grace-key`, or `joan-key`, who is an admin.
"""

import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request

from farthing.credits import CreditStore, Payer, open_store
from farthing.credits.calendar import Calendar
from farthing.proxy.accounts import hash_key
from farthing.proxy.pages import Identify, SignInError, Visitor, application, mount
from farthing.settings import Settings
from farthing.telemetry import Account

PEOPLE = {"ada": "research", "grace": "platform", "joan": "finance"}
ADMIN = "joan"


def secret(user: str) -> str:
    return f"{user}-key"


def account(user: str) -> Account:
    return Account(hash_key(secret(user)), user, PEOPLE[user], "CC-1")


def payer(user: str, session: str = "") -> Payer:
    return Payer(account(user), session)


def settings(store: str, **more: Any) -> Settings:
    keys = [
        {"sha256": hash_key(secret(user)), "user": user, "department": home, "admin": user == ADMIN}
        for user, home in PEOPLE.items()
    ]
    return Settings.model_validate(
        {"organisation": "Example Ltd", "keys": keys, "credits": {"store": store}, **more}
    )


def ring_identity(known: Settings) -> Identify:
    """Return what knows the keys of the ring, as the proxy does, without LiteLLM."""

    async def identify(request: Request) -> Visitor:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = next((key for key in known.keys if key.sha256 == hash_key(sent)), None)
        if key is None:
            raise SignInError("This key is not known here.")
        return Visitor(Payer(account(key.user)), key.admin)

    return identify


def page(known: Settings, store: CreditStore, **more: Any) -> Starlette:
    """Return an application with the pages mounted, as the proxy's has them."""
    app = Starlette()
    mount(app, application(known, store, Calendar(), ring_identity(known), **more))
    return app


def main() -> None:
    port, url = int(sys.argv[1]), sys.argv[2]
    known = settings(url)
    store = open_store(url, calendar=Calendar())
    uvicorn.run(page(known, store), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
