"""What the tests of the balance page share: the pages over a store, and people who have signed in."""

from typing import Any

import httpx

from farthing.credits import CallNote, CreditStore
from farthing.credits.store import RunCaps
from tests.page_server import page, payer, secret, settings

CREDIT = 1_000_000
"""Nano-dollars, at the default rate."""


def client(store: CreditStore, clock: Any, **more: Any) -> httpx.AsyncClient:
    app = page(settings("sqlite:///unused", **more), store, clock=clock)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


def as_(user: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret(user)}"}


async def spend(
    store: CreditStore,
    user: str,
    call: str,
    credits: float,
    note: CallNote,
    session: str = "",
    held: float = 0,
) -> None:
    """Hold and settle a call of a session's run."""
    who = payer(user, session)
    if session:
        await store.enter(who, RunCaps(), "mark")
    await store.hold(call, who, round((held or credits) * CREDIT), 60)
    await store.settle(call, who, round(credits * CREDIT), note)
