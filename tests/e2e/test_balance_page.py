"""The balance page in a real Chromium: a person watches their money, an admin steps in."""

import re
from itertools import pairwise

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from farthing.credits import CallNote
from farthing.credits.store import RunCaps
from tests.e2e.browser import PageServer, Visit, chromium
from tests.e2e.conftest import second_proxy
from tests.page_server import secret

STRONG = CallNote("strong", "claude-sonnet-4-5", "HIGH", "inference")
LOCAL = CallNote("local", "smollm2", "LOW", "inference")
RUN = "5e55" * 8


@pytest.fixture(scope="module")
def browser():
    # Of this module alone: its driver keeps an event loop in this thread, beside which no other can run.
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def server(tmp_path):
    started = PageServer(tmp_path)
    started.grant("ada", 1_000)
    started.grant("grace", 500)
    started.grant("joan", 10)
    started.start()
    yield started
    if started.process.poll() is None:
        started.stop()


@pytest.fixture
def visit(browser, server):
    """Open the page as a visitor; what the page must never do is looked for at the end."""
    visits: list[Visit] = []

    def opened(user="", **more):
        visits.append(Visit(browser, server.url, **more))
        if user:
            visits[-1].sign_in(secret(user))
        return visits[-1]

    yield opened
    for one in visits:
        one.end()


def shown(page: Page) -> str:
    return page.locator("#amount").inner_text()


def becomes(page: Page, amount: str) -> None:
    expect(page.locator("#amount")).to_have_text(amount)


class TestSigningIn:
    def test_a_wrong_key_is_called_wrong_and_not_kept(self, visit):
        one = visit()
        page = one.page
        page.get_by_label("Key", exact=True).fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert").first).to_contain_text("not known")
        expect(page.get_by_label("Key", exact=True)).to_be_focused()
        assert page.evaluate("sessionStorage.length") == 0
        one.errors.clear()  # the browser's own line about the 401

    def test_the_key_is_kept_in_this_tab_alone_and_goes_with_signing_out(self, visit):
        one = visit("ada")
        page = one.page
        page.reload()
        becomes(page, "1,000.000")
        key = secret("ada")
        assert not [url for url in one.requests if key in url]
        assert one.context.cookies() == []
        assert key not in page.evaluate("JSON.stringify(localStorage)")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0
        page.reload()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()

    def test_who_is_no_admin_is_not_offered_the_organisation(self, visit):
        page = visit("ada").page
        expect(page.get_by_role("button", name="Organisation")).to_be_hidden()


class TestBalance:
    def test_the_balance_falls_as_calls_are_settled(self, server, visit):
        page = visit("ada").page
        becomes(page, "1,000.000")
        server.spend("ada", 12.5, STRONG, RUN, RunCaps(steps=40, cost=100 * 10**6))
        becomes(page, "987.500")
        expect(page).to_have_title("987.5 credits · Farthing")
        server.spend("ada", 0, LOCAL, RUN)
        server.spend("ada", 1.25)
        becomes(page, "986.250")
        expect(page.locator("#amount-text")).to_have_text("986.25 credits")
        expect(page.locator("#live")).to_have_text(re.compile("credits left"))

        expect(page.locator("#today-total")).to_have_text("13.75")
        today = page.locator("#today li").all_inner_texts()
        assert [line.split() for line in today] == [
            ["strong", "12.500", "1", "call"],
            ["fast", "1.250", "1", "call"],
            ["local", "0.000", "1", "call"],
        ]
        session = page.get_by_role("row", name=RUN[:8])
        expect(session).to_contain_text("2 of 40 steps")
        expect(session).to_contain_text("12.5 of 100")
        expect(session).to_contain_text("running")
        calls = page.get_by_role("table", name="Recent calls").get_by_role("row")
        expect(calls).to_have_count(4)
        expect(calls.nth(1)).to_contain_text("gpt-5-mini")
        expect(calls.nth(3)).to_contain_text("HIGH")

    def test_the_chart_is_drawn_from_the_packages_library(self, server, visit):
        page = visit("ada").page
        server.spend("ada", 100)
        becomes(page, "900.000")
        chart = page.get_by_role("img", name=re.compile("from 1,000 to 900 credits"))
        expect(chart).to_be_visible()
        assert page.locator("#chart canvas").first.evaluate(
            "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)"
            ".data.some(Boolean)"
        )

    def test_without_the_library_the_page_has_its_numbers(self, browser, server):
        one = Visit(browser, "about:blank")
        one.context.route("**/dygraph.js", lambda route: route.fulfill(status=404))
        one.page.goto(server.url)
        page = one.sign_in(secret("ada"))
        becomes(page, "1,000.000")
        expect(page.get_by_text("pip install 'farthing[page]'")).to_be_visible()
        one.context.close()

    def test_what_running_calls_hold_is_told_apart_from_what_is_spent(self, server, visit):
        from tests.page_server import payer

        page = visit("ada").page
        server.do(lambda store: store.hold("open", payer("ada"), 250 * 10**6, 60))
        expect(page.locator("#held")).to_have_text("250")
        expect(page.locator("#spendable")).to_have_text("750")
        becomes(page, "1,000.000")

    def test_what_a_department_has_left_limits_and_is_said_to(self, server, visit):
        server.do(lambda store: store.plan("department:research", 300 * 10**6))
        page = visit("ada").page
        expect(page.get_by_text("the department research has only 300 left")).to_be_visible()

    def test_names_are_shown_and_never_run(self, server, visit):
        page = visit("ada").page
        server.spend(
            "ada", 1, CallNote("fast", "<img src=x onerror=alert(1)><b>bold</b>", "LOW", "inference")
        )
        expect(page.get_by_text("<img src=x onerror=alert(1)><b>bold</b>")).to_be_visible()

    def test_a_gateway_that_goes_away_is_missed_and_found_again(self, server, visit):
        one = visit("ada")
        page = one.page
        took = server.stop()
        assert took < 5, "an open stream must not keep the gateway from stopping"
        expect(page.get_by_text("Reconnecting")).to_be_visible()
        server.spend("ada", 10)
        server.start()
        becomes(page, "990.000")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        one.errors.clear()  # the browser's own lines about refused connections

    def test_reduced_motion_shows_the_number_at_once(self, server, visit):
        page = visit("ada", reduced_motion="reduce").page
        page.evaluate(
            "const amount = document.getElementById('amount'); window.seen = [];"
            "new MutationObserver(() => seen.push(amount.innerText)).observe(amount, {childList: true})"
        )
        server.spend("ada", 400)
        becomes(page, "600.000")
        assert page.evaluate("new Set(window.seen).size") == 1


class TestAdmin:
    @pytest.fixture
    def office(self, server, visit) -> Visit:
        server.spend("ada", 5, STRONG, RUN)
        one = visit("joan")
        one.page.get_by_role("button", name="Organisation").click()
        one.page.get_by_role("heading", name="Example Ltd").wait_for()
        return one

    @pytest.fixture
    def admin(self, office) -> Page:
        return office.page

    def test_departments_open_to_their_users(self, admin):
        research = admin.get_by_role("button", name=re.compile("^research"))
        expect(research).to_have_attribute("aria-expanded", "false")
        research.click()
        expect(research).to_have_attribute("aria-expanded", "true")
        expect(admin.get_by_role("rowheader", name="ada", exact=True)).to_be_visible()

    def test_a_grant_with_its_reason(self, admin, server, visit):
        ada = visit("ada").page
        admin.get_by_role("button", name=re.compile("^research")).click()
        admin.get_by_role("button", name="Grant credits to user ada").click()
        dialog = admin.get_by_role("dialog", name="Grant credits to ada")
        dialog.get_by_label("Credits").fill("250.5")
        dialog.get_by_role("button", name="Grant").click()
        expect(dialog).to_be_visible()  # there is no reason yet
        dialog.get_by_label("Reason").fill("Conference")
        dialog.get_by_role("button", name="Grant").click()
        expect(dialog).to_be_hidden()
        becomes(ada, "1,245.500")
        entry = admin.get_by_role("table", name="Journal").get_by_role("row", name=re.compile("Conference"))
        expect(entry).to_contain_text("joan")
        expect(entry).to_contain_text("250.5")

    def test_what_is_refused_is_told_in_the_dialog_and_can_be_mended(self, office, admin):
        admin.get_by_role("button", name=re.compile("^research")).click()
        admin.get_by_role("button", name="Grant credits to user ada").click()
        dialog = admin.get_by_role("dialog")
        dialog.get_by_label("Credits").fill("5")
        dialog.get_by_label("Last day").fill("2020-01-01")
        dialog.get_by_label("Reason").fill("Late")
        dialog.get_by_role("button", name="Grant").click()
        expect(dialog.get_by_role("alert")).to_contain_text("is over")
        dialog.get_by_label("Last day").fill("")
        dialog.get_by_role("button", name="Grant").click()
        expect(dialog).to_be_hidden()
        office.errors.clear()  # the browser's own line about the 400

    def test_a_session_is_stopped_resumed_and_capped(self, admin, server):
        row = admin.get_by_role("table", name="All running sessions").get_by_role("row", name=RUN[:8])
        row.get_by_role("button", name="Stop").click()
        dialog = admin.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("Loops")
        dialog.get_by_role("button", name="Stop session").click()
        expect(row).to_contain_text("stopped by joan")
        expect(row.get_by_role("button", name="Set the caps")).to_be_focused()
        (run,) = server.do(lambda store: store.runs(since_ms=0))
        assert run.stopped_by == "joan"

        row.get_by_role("button", name="Set the caps").click()
        dialog.get_by_label("Steps").fill("7")
        dialog.get_by_label("Credits").fill("20")
        dialog.get_by_label("Reason").fill("A few more")
        dialog.get_by_role("button", name="Set and resume").click()
        expect(row).to_contain_text("1 of 7 steps")
        expect(row).to_contain_text("5 of 20")
        expect(row).to_contain_text("running")

    def test_a_dialog_by_keyboard(self, admin):
        stop = admin.get_by_role("button", name=f"Stop session {RUN[:8]}")
        stop.focus()
        admin.keyboard.press("Enter")
        expect(admin.get_by_role("dialog").get_by_label("Reason")).to_be_focused()
        admin.keyboard.press("Escape")
        expect(admin.get_by_role("dialog")).to_be_hidden()
        expect(stop).to_be_focused()

    def test_figures_that_change_leave_the_focus_where_it_is(self, admin, server):
        stop = admin.get_by_role("button", name=f"Stop session {RUN[:8]}")
        stop.focus()
        server.spend("ada", 3, session=RUN)
        expect(admin.get_by_role("row", name=RUN[:8])).to_contain_text("2 steps")
        expect(stop).to_be_focused()


class TestForEverybody:
    @pytest.fixture
    def busy(self, server) -> None:
        server.do(lambda store: store.plan("department:research", 300 * 10**6))
        server.spend("ada", 285, STRONG, RUN, RunCaps(steps=1, cost=300 * 10**6))
        server.spend("grace", 0.5, LOCAL, "a" * 32)
        server.spend(
            "joan", 2, CallNote("fast", "a-provider/with-a-very-long-model-name-2026-11-24", "", "summary")
        )

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [360, 1280])
    def test_it_fits_its_window_and_can_be_read(self, busy, visit, scheme, width):
        one = visit(width=width, color_scheme=scheme)
        assert one.faint_texts() == []
        assert not one.overflows()
        page = one.sign_in(secret("joan"))
        becomes(page, "8.000")
        assert one.faint_texts() == []
        assert not one.overflows()
        page.get_by_role("button", name="Organisation").click()
        page.get_by_role("button", name=re.compile("^research")).click()
        assert one.faint_texts() == []
        assert not one.overflows()
        page.get_by_role("button", name=f"Stop session {RUN[:8]}").click()
        assert one.faint_texts() == []
        assert not one.overflows()

    def test_the_theme_can_be_chosen_and_is_remembered(self, visit):
        page = visit(color_scheme="light").page
        colour = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(colour)
        toggle = page.get_by_role("button", name="Theme: auto")
        toggle.click()
        assert page.evaluate(colour) == light
        page.get_by_role("button", name="Theme: light").click()
        dark = page.evaluate(colour)
        assert dark != light
        page.reload()
        expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
        assert page.evaluate(colour) == dark

    def test_everything_has_a_name_a_label_or_a_heading(self, busy, visit):
        page = visit("joan").page
        for view in ("My balance", "Organisation"):
            page.get_by_role("button", name=view).click()
            page.wait_for_timeout(700)
            assert page.evaluate("document.documentElement.lang") == "en"
            assert page.locator("h1:visible").count() == 1
            for control in page.locator("button:visible, input:visible").all():
                name = control.evaluate(
                    "node => node.getAttribute('aria-label') || node.innerText || node.labels?.[0]?.innerText"
                )
                assert name, control.evaluate("node => node.outerHTML")
            for table in page.locator("table:visible").all():
                assert table.get_attribute("aria-labelledby")
                heads = table.locator("thead th").all_inner_texts()
                assert all(heads)
                assert table.locator("tbody tr").first.locator("> *").count() == len(heads)
            levels = [
                int(tag[1])
                for tag in page.eval_on_selector_all(
                    "h1, h2, h3", "nodes => nodes.filter(n => n.checkVisibility()).map(n => n.tagName)"
                )
            ]
            assert levels[0] == 1
            assert all(after - before <= 1 for before, after in pairwise(levels))

    def test_every_control_can_be_reached_by_keyboard_and_shows_it(self, busy, visit):
        page = visit("joan").page
        page.get_by_role("button", name="Organisation").click()
        page.get_by_role("heading", name="Example Ltd").wait_for()
        controls = page.locator("button:visible").count()
        page.evaluate("document.activeElement.blur()")
        reached = set()
        for _ in range(controls + 3):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                "[document.activeElement.tagName, document.activeElement.getAttribute('aria-label') ||"
                " document.activeElement.innerText, getComputedStyle(document.activeElement).outlineStyle]"
            )
            if seen[0] == "BUTTON":
                assert seen[2] == "solid"
                reached.add(seen[1])
        assert len(reached) == controls

    def test_colour_is_not_all_that_tells_tiers_and_states_apart(self, busy, visit):
        page = visit("ada").page
        expect(page.locator("#today li")).to_contain_text(["strong"])
        expect(page.get_by_role("row", name=RUN[:8])).to_contain_text("out of steps")
        expect(page.locator("#marks")).to_have_text("50 %80 %95 %")


class TestRealProxy:
    def test_a_balance_falls_as_the_proxy_answers(self, gateway, browser):
        one = Visit(browser, f"{gateway.url}/farthing")
        page = one.sign_in(gateway.secret("ada"))
        before = float(page.locator("#amount").inner_text().replace(",", ""))
        answer = gateway.post(
            "ada",
            "/v1/chat/completions",
            {"model": "strong", "messages": [{"role": "user", "content": "Hello"}]},
        )
        assert answer.status_code == 200
        row = page.get_by_role("table", name="Recent calls").get_by_role("row").nth(1)
        expect(row).to_contain_text("strong")
        page.wait_for_timeout(1500)
        assert float(page.locator("#amount").inner_text().replace(",", "")) < before
        one.end()

    def test_litellm_and_farthing_do_not_stand_in_each_others_way(self, gateway):
        assert httpx.get(f"{gateway.url}/health/liveliness").status_code == 200
        assert httpx.get(f"{gateway.url}/farthing/balance").status_code == 401
        assert httpx.get(f"{gateway.url}/farthing/nothing").json()["error"]["type"] == "not_found_error"
        sent = {"authorization": f"Bearer {gateway.secret('ada')}"}
        assert httpx.get(f"{gateway.url}/farthing/balance", headers=sent).json()["user"] == "ada"
        with httpx.stream(
            "GET", f"{gateway.url}/farthing/balance/stream", headers=sent, timeout=20
        ) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: balance"
            assert next(lines).startswith("data: {")

    def test_the_master_key_sees_the_organisation(self, gateway):
        sent = {"authorization": f"Bearer {gateway.stack.environment['LITELLM_MASTER_KEY']}"}
        seen = httpx.get(f"{gateway.url}/farthing/admin/overview", headers=sent).json()
        assert "research" in {department["name"] for department in seen["departments"]}

    def test_a_proxy_that_is_watched_stops_when_it_is_asked_to(self, gateway, tmp_path):
        part, url = second_proxy(gateway, tmp_path)
        try:
            part.wait_ready()
            sent = {"authorization": f"Bearer {gateway.secret('ada')}"}
            with httpx.stream("GET", f"{url}/farthing/balance/stream", headers=sent, timeout=20) as stream:
                next(stream.iter_lines())
                part.process.terminate()
                part.process.wait(15)
        finally:
            part.kill()
