from unittest.mock import AsyncMock, MagicMock

import pytest
from fastapi import FastAPI
from litellm.caching.dual_cache import DualCache
from litellm.proxy import proxy_server
from litellm.proxy._types import LiteLLM_TeamTableCachedObj, LitellmUserRoles, UserAPIKeyAuth
from litellm.proxy.utils import hash_token
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from farthing.credits.calendar import Calendar
from farthing.proxy.key_ring import KeyRing
from farthing.proxy.pages import SignInError, application, litellm_identity, mount
from farthing.proxy.pages.errors import PageError
from farthing.settings import Settings
from farthing.telemetry import GATEWAY
from tests.page_server import settings

MASTER = "sk-master-0123456789"


@pytest.fixture(autouse=True)
def proxy(monkeypatch):
    """LiteLLM's proxy with a master key, and neither custom auth nor a database."""
    monkeypatch.setattr(proxy_server, "master_key", MASTER)
    monkeypatch.setattr(proxy_server, "user_custom_auth", None)
    monkeypatch.setattr(proxy_server, "prisma_client", None)
    monkeypatch.setattr(proxy_server, "general_settings", {})
    return proxy_server


@pytest.fixture
def known() -> Settings:
    return settings("sqlite:///unused")


@pytest.fixture
def ring(monkeypatch, known):
    monkeypatch.setattr(proxy_server, "user_custom_auth", KeyRing(known).authenticate)


@pytest.fixture
def virtual(monkeypatch):
    """LiteLLM's own keys, as it keeps them in its cache once its database has told them."""
    cache = DualCache()
    database = MagicMock()
    database.get_data = AsyncMock(return_value=None)
    monkeypatch.setattr(proxy_server, "prisma_client", database)
    monkeypatch.setattr(proxy_server, "user_api_key_cache", cache)

    async def make(secret: str, **facts) -> None:
        token = hash_token(secret)
        await cache.async_set_cache(key=token, value=UserAPIKeyAuth(token=token, **facts))
        if team := facts.get("team_id"):
            await cache.async_set_cache(key=f"team_id:{team}", value=LiteLLM_TeamTableCachedObj(team_id=team))

    return make


def request(*headers: tuple[str, str], path: str = "/farthing/balance") -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "root_path": "/farthing",
            "query_string": b"",
            "headers": raw,
        }
    )


def bearer(secret: str) -> Request:
    return request(("authorization", f"Bearer {secret}"))


async def test_a_key_of_the_ring_is_its_user(ring, known):
    visitor = await litellm_identity(known)(bearer("ada-key"))
    assert (visitor.payer.account.user, visitor.payer.account.department) == ("ada", "research")
    assert not visitor.admin


async def test_a_key_of_the_ring_may_be_an_admins(ring, known):
    visitor = await litellm_identity(known)(bearer("joan-key"))
    assert visitor.admin
    assert visitor.actor == "joan"


@pytest.mark.parametrize("with_ring", [True, False])
async def test_the_master_key_is_an_admin_without_an_account(request, known, with_ring):
    if with_ring:
        request.getfixturevalue("ring")
    visitor = await litellm_identity(known)(bearer(MASTER))
    assert visitor.payer.account == GATEWAY
    assert (visitor.admin, visitor.actor) == (True, "master key")


@pytest.mark.parametrize("with_ring", [True, False])
@pytest.mark.parametrize("secret", ["wrong", "sk-wrong", MASTER + "x", "ключ"])
async def test_an_unknown_key_is_nobody(request, known, with_ring, secret):
    if with_ring:
        request.getfixturevalue("ring")
    with pytest.raises(SignInError) as refused:
        await litellm_identity(known)(bearer(secret))
    assert secret not in refused.value.message


async def test_a_key_of_the_ring_counts_only_where_the_ring_is_asked(known):
    with pytest.raises(SignInError):
        await litellm_identity(known)(bearer("joan-key"))


@pytest.mark.parametrize("header", ["", "ada-key", "Basic ada-key", "Bearer ", "Bearer"])
async def test_a_key_comes_as_a_bearer_token(ring, known, header):
    with pytest.raises(SignInError):
        await litellm_identity(known)(request(("authorization", header)))


async def test_other_headers_are_no_keys(ring, known):
    with pytest.raises(SignInError):
        await litellm_identity(known)(request(("x-litellm-api-key", "ada-key"), ("api-key", "ada-key")))


async def test_one_of_litellms_own_keys_is_its_user(virtual, known):
    await virtual("sk-virtual-1", user_id="ada", team_id="t1", team_alias="research")
    visitor = await litellm_identity(known)(bearer("sk-virtual-1"))
    assert (visitor.payer.account.user, visitor.payer.account.department) == ("ada", "research")
    assert not visitor.admin
    with pytest.raises(SignInError):
        await litellm_identity(known)(bearer("sk-virtual-2"))


async def test_an_admin_of_litellm_is_one_here_in_their_own_name(virtual, known):
    await virtual("sk-virtual-1", user_id="joan", user_role=LitellmUserRoles.PROXY_ADMIN)
    visitor = await litellm_identity(known)(bearer("sk-virtual-1"))
    assert (visitor.admin, visitor.actor) == (True, "joan")


async def test_who_may_only_look_at_litellm_is_no_admin(virtual, known):
    await virtual("sk-virtual-1", user_id="eve", user_role=LitellmUserRoles.PROXY_ADMIN_VIEW_ONLY)
    assert not (await litellm_identity(known)(bearer("sk-virtual-1"))).admin


async def test_a_forged_mark_of_the_ring_makes_no_admin(virtual, known):
    joan = next(key for key in known.keys if key.admin)
    await virtual("sk-virtual-1", user_id="eve", metadata={"farthing_key": joan.sha256})
    visitor = await litellm_identity(known)(bearer("sk-virtual-1"))
    assert not visitor.admin
    assert visitor.payer.account.user == "eve"


async def test_a_header_of_ones_own_for_keys_is_minded(ring, known, monkeypatch):
    monkeypatch.setattr(proxy_server, "general_settings", {"litellm_key_header_name": "X-Our-Key"})
    visitor = await litellm_identity(known)(bearer("ada-key"))
    assert visitor.payer.account.user == "ada"


async def test_keys_that_cannot_be_checked_are_not_called_wrong(known, monkeypatch):
    async def broken(request, api_key):
        raise RuntimeError("the database is down")

    monkeypatch.setattr(proxy_server, "user_custom_auth", broken)
    with pytest.raises(PageError) as refused:
        await litellm_identity(known)(bearer("ada-key"))
    assert refused.value.status == 503


class TestMount:
    """The pages inside an application that takes any path, as LiteLLM's does."""

    @pytest.fixture
    def app(self, known):
        app = FastAPI()

        @app.get("/{anything:path}")
        def catch_all(anything: str):
            return PlainTextResponse("theirs")

        pages = application(known, MagicMock(), Calendar(), AsyncMock(side_effect=SignInError("who?")))
        mount(app, pages)
        return app

    def test_the_pages_come_before_what_takes_any_path(self, app):
        web = TestClient(app)
        assert "Farthing" in web.get("/farthing/").text
        assert web.get("/farthing/balance").status_code == 401
        assert web.get("/other").text == "theirs"
        assert web.get("/farthingale").text == "theirs"

    def test_without_the_slash_one_gets_to_the_page(self, app):
        answer = TestClient(app).get("/farthing", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (307, "farthing/")
        assert "Farthing" in TestClient(app).get("/farthing").text

    def test_mounting_again_replaces(self, app, known):
        routes = len(app.router.routes)
        mount(app, application(known, MagicMock(), Calendar(), AsyncMock(side_effect=PageError(409, "new"))))
        assert len(app.router.routes) == routes
        assert TestClient(app).get("/farthing/balance").status_code == 409
