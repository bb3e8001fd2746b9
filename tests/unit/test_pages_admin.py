import asyncio

import pytest

from farthing.credits import CallNote
from farthing.credits.store import RunCaps
from tests.page_server import payer
from tests.unit.pages_client import CREDIT, as_, client, spend

NOTE = CallNote("fast", "gpt-5-mini", "MEDIUM", "inference")
GRANT = {"id": "0f9a3c1e-0001", "account": "user:ada", "credits": "12.5", "reason": "Conference"}


@pytest.fixture
async def web(store, clock):
    for user, home in (("ada", "research"), ("grace", "platform")):
        await store.grant(user, f"user:{user}", 100 * CREDIT, department=home)
    async with client(store, clock) as opened:
        yield opened


async def grant(web, user="joan", **changed):
    body = {name: value for name, value in {**GRANT, **changed}.items() if value is not ...}
    return await web.post("/farthing/admin/grants", json=body, headers=as_(user))


async def available(store, account):
    (balance,) = await store.balances([account])
    return balance.available


async def test_an_admin_sees_all_departments_sessions_and_the_journal(store, web):
    await store.plan("department:research", 50 * CREDIT)
    await spend(store, "ada", "one", 10, NOTE, "adas-run")
    await spend(store, "grace", "two", 3, NOTE, "graces-run")

    seen = (await web.get("/farthing/admin/overview", headers=as_("joan"))).json()

    assert seen["organisation"]["settled"] == "13.000"
    assert seen["organisation"]["today"] == [{"tier": "fast", "calls": 2, "credits": "13.000"}]
    departments = {department["name"]: department for department in seen["departments"]}
    assert departments["research"]["available"] == "40.000"
    assert departments["research"]["period"]["spent"] == "10.000"
    assert departments["platform"]["available"] is None
    (grace,) = departments["platform"]["users"]
    assert (grace["name"], grace["available"]) == ("grace", "97.000")
    assert {(session["id"], session["user"], session["department"]) for session in seen["sessions"]} == {
        ("adas-run", "ada", "research"),
        ("graces-run", "grace", "platform"),
    }
    newest = seen["journal"][0]
    assert (newest["actor"], newest["action"], newest["kind"], newest["name"], newest["credits"]) == (
        "farthing.yaml",
        "grant",
        "department",
        "research",
        "50.000",
    )


async def test_who_is_no_admin_sees_and_changes_nothing(store, web):
    before = await store.journal()
    answers = [
        await web.get("/farthing/admin/overview", headers=as_("ada")),
        await web.get("/farthing/admin/stream", headers=as_("ada")),
        await grant(web, user="ada"),
        await web.post("/farthing/admin/sessions/x", json={"stop": True, "reason": "r"}, headers=as_("ada")),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert answers[0].json()["error"]["type"] == "permission_error"
    assert await store.journal() == before


async def test_a_grant_is_made_in_the_admins_name(store, web):
    answer = await grant(web)
    assert answer.status_code == 200
    assert answer.json()["account"]["available"] == "112.500"
    assert await available(store, "user:ada") == round(112.5 * CREDIT)
    act = (await store.journal("user:ada"))[0]
    assert (act.actor, act.action, act.amount, act.reason) == ("joan", "grant", 12_500_000, "Conference")
    (balance,) = await store.balances(["user:ada"])
    assert balance.department == "research"


async def test_a_grant_sent_again_is_made_once(store, web):
    answers = await asyncio.gather(*(grant(web) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert await available(store, "user:ada") == round(112.5 * CREDIT)


@pytest.mark.parametrize("changed", [{"credits": "99"}, {"account": "user:grace"}])
async def test_the_id_of_a_grant_makes_no_other(store, web, changed):
    await grant(web)
    answer = await grant(web, **changed)
    assert answer.status_code == 409
    assert await available(store, "user:ada") == round(112.5 * CREDIT)
    assert await available(store, "user:grace") == 100 * CREDIT


async def test_what_is_granted_until_a_day_can_be_spent_on_it_and_not_after(store, web, clock):
    assert (await grant(web, expires="2027-01-16")).status_code == 200
    clock.now += 86_400  # the 16th
    assert await available(store, "user:ada") == round(112.5 * CREDIT)
    clock.now += 86_400
    assert await available(store, "user:ada") == 100 * CREDIT


async def test_only_what_has_a_budget_can_be_given_more(store, web):
    await spend(store, "ada", "one", 1, NOTE)  # makes department and organisation known
    for account in ("department:research", "organisation"):
        answer = await grant(web, account=account)
        assert answer.status_code == 409
        assert "no budget" in answer.json()["error"]["message"]
    await store.plan("department:research", 10 * CREDIT)
    assert (await grant(web, account="department:research")).status_code == 200
    assert await available(store, "department:research") == round(22.5 * CREDIT)


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({"credits": "0"}, 400, "more than 0"),
        ({"credits": "-5"}, 400, "decimal text"),
        ({"credits": "NaN"}, 400, "decimal text"),
        ({"credits": "1e9"}, 400, "decimal text"),
        ({"credits": 5}, 400, "decimal text"),
        ({"credits": "0.0000001"}, 400, "whole number of nano-dollars"),
        ({"credits": "999999999999999999"}, 400, "nano-dollars"),
        ({"reason": ...}, 400, "reason"),
        ({"reason": "   "}, 400, "reason"),
        ({"id": ...}, 400, "id"),
        ({"id": "key:abc def"}, 400, "id"),
        ({"account": "key:abc"}, 400, "account"),
        ({"account": "user:"}, 400, "account"),
        ({"account": "user:nobody"}, 404, "no account"),
        ({"account": "department:nowhere"}, 404, "no account"),
        ({"expires": "2027-01-14"}, 400, "is over"),
        ({"expires": "soon"}, 400, "YYYY-MM-DD"),
        ({"expires": "9999-12-31"}, 400, "3000"),
        ({"unknown": 1}, 400, "unknown"),
    ],
)
async def test_a_grant_that_cannot_be_is_refused_with_the_reason(store, web, changed, status, says):
    before = await store.balances()
    answer = await grant(web, **changed)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]
    assert await store.balances() == before


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"text"', b"\xff\xfe", b"[" * 10_000])
async def test_what_is_no_json_object_is_refused(web, body):
    for path in ("grants", "sessions/x"):
        answer = await web.post(f"/farthing/admin/{path}", content=body, headers=as_("joan"))
        assert answer.status_code == 400
    huge = await web.post("/farthing/admin/grants", content=b" " * 20_000, headers=as_("joan"))
    assert huge.status_code == 413


async def act(web, session, **body):
    return await web.post(f"/farthing/admin/sessions/{session}", json=body, headers=as_("joan"))


async def test_a_session_is_stopped_and_let_go_on_with_other_caps(store, web):
    who = payer("ada", "run")
    await store.enter(who, RunCaps(), "mark")

    answer = await act(web, "run", stop=True, reason="Loops")
    assert answer.json()["session"]["stopped_by"] == "joan"
    assert not (await store.enter(who, RunCaps(), "mark")).entered

    answer = await act(web, "run", steps=3, credits="2.5", reason="Two more")
    session = answer.json()["session"]
    assert (session["stopped_by"], session["max_steps"], session["max_credits"]) == ("", 3, "2.500")
    entered = [(await store.enter(who, RunCaps(), "mark")).entered for _ in range(3)]
    assert entered == [True, True, False]

    journal = (await web.get("/farthing/admin/overview", headers=as_("joan"))).json()["journal"]
    acts = [
        (act["action"], act["ref"], act["credits"], act["steps"]) for act in journal if act["name"] == "run"
    ]
    assert set(acts) == {
        ("stop", "", "0.000", None),
        ("cap", "steps", None, 3),
        ("cap", "cost", "2.500", None),
        ("resume", "", "0.000", None),
    }


async def test_a_lifted_cap_is_told_as_lifted(store, web):
    await store.enter(payer("ada", "run"), RunCaps(steps=1, cost=CREDIT), "mark")
    answer = await act(web, "run", steps=None, credits=None, reason="Trusted")
    assert (answer.json()["session"]["max_steps"], answer.json()["session"]["max_credits"]) == (None, None)
    journal = (await web.get("/farthing/admin/overview", headers=as_("joan"))).json()["journal"]
    lifted = {act["ref"]: (act["steps"], act["credits"]) for act in journal if act["action"] == "cap"}
    assert lifted == {"steps": (None, None), "cost: none": (None, None)}


@pytest.mark.parametrize(
    "body",
    [
        {"stop": False, "reason": "r"},
        {"stop": True},
        {"steps": 5, "reason": "r"},
        {"steps": 0, "credits": None, "reason": "r"},
        {"steps": True, "credits": None, "reason": "r"},
        {"steps": "5", "credits": None, "reason": "r"},
        {"steps": 5, "credits": "-1", "reason": "r"},
        {"steps": 5, "credits": None, "reason": ""},
        {"stop": True, "steps": 5, "credits": None, "reason": "r"},
    ],
)
async def test_a_cap_that_cannot_be_is_refused(store, web, body):
    await store.enter(payer("ada", "run"), RunCaps(), "mark")
    before = await store.runs(since_ms=0)
    assert (await act(web, "run", **body)).status_code == 400
    assert await store.runs(since_ms=0) == before


async def test_a_session_that_is_not_there_is_not_found(web):
    assert (await act(web, "ghost", stop=True, reason="r")).status_code == 404
    assert (await act(web, "ghost", steps=1, credits=None, reason="r")).status_code == 404


async def test_the_hash_of_a_key_is_not_shown_whole(store, web):
    digest = "ab" * 32
    await store.grant(f"key:{digest}", "user:ada", CREDIT, department="research")
    text = (await web.get("/farthing/admin/overview", headers=as_("joan"))).text
    assert digest not in text
    assert "key:abababab" in text
