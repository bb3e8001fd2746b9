"""A real browser on the balance page, which watches what the page may never do."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, Page

from farthing.credits import CallNote, CreditStore, open_store
from farthing.credits.store import RunCaps
from farthing.demo.stack import free_port
from tests.page_server import PEOPLE, payer

CREDIT = 1_000_000
"""Nano-dollars, at the default rate."""

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


def chromium() -> str:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "these tests need Chromium on the PATH (Debian: apt-get install chromium)"
    return program


class PageServer:
    """The page over an SQLite store of its own, in a process of its own; the test plays the gateway."""

    def __init__(self, folder: Path) -> None:
        self.store_url = f"sqlite:///{folder / 'credits.db'}"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._calls = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/farthing/"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.page_server", str(self.port), self.store_url]
        self.process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=dict(os.environ))
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(self.url).status_code == 200:
                    return
            except httpx.TransportError:
                assert time.monotonic() < deadline, "the page's server did not start within 60 s"
                time.sleep(0.1)

    def stop(self, within_s: float = 10.0) -> float:
        """Ask the process to end, as an operator does, and return how many seconds it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(within_s)
        finally:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - began

    def do(self, work: Callable[[CreditStore], Awaitable[Any]]) -> Any:
        """Do something with the store, as another process of the gateway would."""

        async def opened() -> Any:
            store = open_store(self.store_url)
            try:
                return await work(store)
            finally:
                await store.close()

        with ThreadPoolExecutor(1) as pool:  # the browser's driver has an event loop in this thread
            return pool.submit(lambda: asyncio.run(opened())).result()

    def grant(self, user: str, credits: float) -> None:
        account, home = f"user:{user}", PEOPLE[user]
        self.do(lambda store: store.grant(f"test-{user}", account, int(credits * CREDIT), department=home))

    def spend(
        self,
        user: str,
        credits: float,
        note: CallNote | None = None,
        session: str = "",
        caps: RunCaps | None = None,
    ) -> None:
        self._calls += 1
        who, call, amount = payer(user, session), f"call-{self._calls}", int(credits * CREDIT)

        async def work(store: CreditStore) -> None:
            if session:
                await store.enter(who, caps or RunCaps(), call)
            await store.hold(call, who, amount, 60)
            await store.settle(
                call, who, amount, note or CallNote("fast", "gpt-5-mini", "MEDIUM", "inference")
            )

        self.do(work)


class Visit:
    """One visitor's window, with all that the page did there."""

    def __init__(self, browser: Browser, url: str, width: int = 1280, height: int = 900, **more: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, **more)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.url = url
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def sign_in(self, secret: str) -> Page:
        self.page.get_by_label("Key", exact=True).fill(secret)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", name="Balance in credits").wait_for()
        self.page.get_by_text("Live", exact=True).wait_for()
        return self.page

    def end(self) -> None:
        """Close the window, and see that the page kept to itself."""
        self.context.close()
        own = urlsplit(self.url).netloc
        assert {urlsplit(url).netloc for url in self.requests if not url.startswith("data:")} == {own}
        assert self.errors == []

    def faint_texts(self) -> list[str]:
        """Return the visible texts that do not stand out from their ground as WCAG AA asks."""
        return list(self.page.evaluate(CONTRAST))

    def overflows(self) -> bool:
        """Whether the page can be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > innerWidth"))
