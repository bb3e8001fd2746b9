import json

import pytest

from farthing.credits import CallNote, StoreError
from farthing.credits.store import RunCaps
from farthing.proxy.pages import app
from tests.page_server import account, payer
from tests.unit.pages_client import CREDIT, as_, client, spend

FAST = CallNote("fast", "gpt-5-mini", "MEDIUM", "inference")
LOCAL = CallNote("local", "smollm2", "LOW", "inference")


async def test_a_person_sees_where_their_credits_are(store, clock):
    await store.grant("g", "user:ada", 100 * CREDIT, department="research")
    await spend(store, "ada", "one", 12.5, FAST, "run")
    clock.now += 30
    await spend(store, "ada", "two", 0, LOCAL, "run")
    await store.hold("three", payer("ada", "run"), 4 * CREDIT, 60)

    async with client(store, clock) as web:
        seen = (await web.get("/farthing/balance", headers=as_("ada"))).json()

    figures = ("granted", "expired", "settled", "held", "available", "balance", "overdraft", "spendable")
    assert [seen[name] for name in figures] == [
        "100.000",
        "0.000",
        "12.500",
        "4.000",
        "83.500",
        "87.500",
        "0.000",
        "83.500",
    ]
    assert (seen["user"], seen["department"], seen["organisation"], seen["admin"]) == (
        "ada",
        "research",
        "Example Ltd",
        False,
    )
    assert seen["usd_per_credit"] == "0.001"
    assert seen["at"] == "2027-01-15T08:00:30.000Z"
    assert seen["today"] == [
        {"tier": "fast", "calls": 1, "credits": "12.500"},
        {"tier": "local", "calls": 1, "credits": "0.000"},
    ]
    assert seen["spent_today"] == "12.500"
    (session,) = seen["sessions"]
    assert session == {
        "id": "run",
        "steps": 2,
        "max_steps": None,
        "credits": "12.500",
        "held": "4.000",
        "max_credits": None,
        "started": "2027-01-15T08:00:00.000Z",
        "last": "2027-01-15T08:00:30.000Z",
        "stopped_by": "",
    }
    newest, oldest = seen["recent"]
    assert (newest["tier"], oldest["tier"]) == ("local", "fast")
    assert oldest == {
        "id": "one",
        "at": "2027-01-15T08:00:00.000Z",
        "grade": "MEDIUM",
        "tier": "fast",
        "model": "gpt-5-mini",
        "kind": "inference",
        "credits": "12.500",
        "usd": "0.012500000",
        "overdraft": "0.000",
        "session": "run",
    }


async def test_the_chain_shows_ones_own_figures_and_of_the_others_only_what_is_left(store, clock):
    await store.grant("g", "user:ada", 100 * CREDIT, department="research")
    await store.plan("department:research", 50 * CREDIT)
    await spend(store, "ada", "one", 10, FAST)

    async with client(store, clock) as web:
        seen = (await web.get("/farthing/balance", headers=as_("ada"))).json()

    organisation, department, user, key = seen["accounts"]
    nothing = dict.fromkeys(("granted", "expired", "settled", "held", "overdraft", "balance"))
    assert organisation == {
        "kind": "organisation",
        "name": "Example Ltd",
        "limited": False,
        "available": None,
        "monthly": None,
        **nothing,
    }
    assert department == {
        "kind": "department",
        "name": "research",
        "limited": True,
        "available": "40.000",
        "monthly": "50.000",
        **nothing,
    }
    assert (user["name"], user["settled"], user["available"]) == ("ada", "10.000", "90.000")
    assert key["name"] == account("ada").key_hash[:8]
    assert seen["spendable"] == "40.000"
    assert seen["short"] == {"kind": "department", "name": "research"}


async def test_nobody_sees_the_calls_sessions_or_names_of_others(store, clock):
    for user, home in (("ada", "research"), ("grace", "platform")):
        await store.grant(user, f"user:{user}", 100 * CREDIT, department=home)
    await spend(store, "grace", "hers", 7, FAST, "graces-run")

    async with client(store, clock) as web:
        text = (await web.get("/farthing/balance", headers=as_("ada"))).text

    assert "grace" not in text
    assert "platform" not in text
    assert json.loads(text)["recent"] == []


async def test_a_session_is_shown_while_it_runs(store, clock):
    await store.enter(payer("ada", "run"), RunCaps(steps=5, cost=2 * CREDIT), "mark")
    async with client(store, clock, loops={"idle_s": 60}) as web:
        clock.now += 59
        (session,) = (await web.get("/farthing/balance", headers=as_("ada"))).json()["sessions"]
        assert (session["max_steps"], session["max_credits"]) == (5, "2.000")
        clock.now += 2
        assert (await web.get("/farthing/balance", headers=as_("ada"))).json()["sessions"] == []


async def test_the_allowance_of_a_month_is_measured_by_what_the_month_has_spent(store, clock):
    await store.plan("user:ada", 100 * CREDIT, None, department="research")
    await spend(store, "ada", "january", 30, FAST)
    clock.now += 31 * 86_400
    await spend(store, "ada", "february", 5, FAST)

    async with client(store, clock) as web:
        seen = (await web.get("/farthing/balance", headers=as_("ada"))).json()

    assert seen["period"] == {"month": "2027-02", "spent": "5.000"}
    assert (seen["settled"], seen["available"]) == ("35.000", "165.000")


async def test_what_no_hold_covered_is_shown(store, clock):
    await store.grant("g", "user:ada", 10 * CREDIT, department="research")
    await spend(store, "ada", "dear", 4, FAST, held=1)
    async with client(store, clock) as web:
        seen = (await web.get("/farthing/balance", headers=as_("ada"))).json()
    assert seen["overdraft"] == seen["recent"][0]["overdraft"] == "3.000"


async def test_a_stranger_to_the_store_has_nothing_and_stays_unknown(store, clock):
    async with client(store, clock) as web:
        seen = (await web.get("/farthing/balance", headers=as_("ada"))).json()
    assert (seen["available"], seen["recent"], seen["sessions"]) == ("0.000", [], [])
    assert await store.balances() == []


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
async def test_a_key_is_needed(store, clock, headers):
    async with client(store, clock) as web:
        for path in ("balance", "balance/stream", "admin/overview", "admin/stream"):
            answer = await web.get(f"/farthing/{path}", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["type"] == "auth_error"


async def test_a_key_in_the_address_or_a_cookie_is_no_key(store, clock):
    async with client(store, clock) as web:
        address = await web.get("/farthing/balance?key=ada-key&api_key=ada-key")
        cookie = await web.get("/farthing/balance", headers={"cookie": "authorization=ada-key"})
    assert {address.status_code, cookie.status_code} == {401}


async def test_another_site_reads_nothing(store, clock):
    async with client(store, clock) as web:
        for site in ("cross-site", "same-site"):
            answer = await web.get("/farthing/balance", headers={**as_("ada"), "sec-fetch-site": site})
            assert answer.status_code == 403
        own = await web.get("/farthing/balance", headers={**as_("ada"), "sec-fetch-site": "same-origin"})
    assert own.status_code == 200
    assert not [name for name in own.headers if name.startswith("access-control")]


async def test_a_store_that_is_down_is_said_to_be_down(store, clock, monkeypatch):
    async def down(*_):
        raise StoreError("disk full")

    monkeypatch.setattr(type(store), "standing", down)
    async with client(store, clock) as web:
        answer = await web.get("/farthing/balance", headers=as_("ada"))
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "store_error"
    assert "disk full" not in answer.text


async def test_browsers_are_told_to_be_strict(store, clock):
    async with client(store, clock) as web:
        page = await web.get("/farthing/")
        data = await web.get("/farthing/balance", headers=as_("ada"))
        refused = await web.get("/farthing/balance")
    for answer in (page, data, refused):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert data.headers["cache-control"] == refused.headers["cache-control"] == "no-store"


async def test_the_page_and_its_files_are_served_and_nothing_else(store, clock):
    async with client(store, clock) as web:
        page = await web.get("/farthing/")
        assert page.headers["content-type"].startswith("text/html")
        script = await web.get("/farthing/static/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        kept = await web.get("/farthing/static/app.js", headers={"if-none-match": script.headers["etag"]})
        assert kept.status_code == 304
        for path in ("static/../figures.py", "static/%2e%2e/figures.py", "nothing", "static/"):
            missing = await web.get(f"/farthing/{path}")
            assert missing.status_code == 404
            assert missing.json()["error"]["type"] == "not_found_error"


async def test_the_chart_library_comes_from_its_package(store, clock, monkeypatch):
    async with client(store, clock) as web:
        script = await web.get("/farthing/static/dygraph.js")
        assert "Dygraph" in script.text
        assert script.headers["content-type"].startswith("text/javascript")
        monkeypatch.setattr(app, "_dygraphs", lambda: None)
        missing = await web.get("/farthing/static/dygraph.js")
    assert missing.status_code == 404
    assert "farthing[page]" in missing.json()["error"]["message"]
