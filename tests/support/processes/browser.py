"""A real browser: headless Chromium, driven by Playwright, and who looks at the dashboard with it.

A page that writes an error to its console, throws, or runs a script that is not the dashboard's own
fails its test at the end, unless the test has said that it expects that.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from support.lacking import lack
from support.processes.people import ADMIN, PASSWORD

__all__ = ["Viewer", "chromium", "viewer"]

#: The first has no window to begin with, and takes two thirds of the others' CPU.
_PROGRAMS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
#: deadline of everything that is waited for
_WAIT_MS: Final = 15_000
#: as root Chromium has no sandbox; a small /dev/shm would end it
_FLAGS: Final = ["--no-sandbox", "--disable-dev-shm-usage"]
_GO: Final = """(address) => {
  history.pushState(null, "", address);
  dispatchEvent(new PopStateEvent("popstate"));
}"""
#: A page is drawn, and told its size, with the next frame.
_DRAWN: Final = """() => new Promise((drawn) => {
  requestAnimationFrame(() => requestAnimationFrame(drawn));
})"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser without a window."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        lack("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Viewer:
    """Somebody with a browser window, who may have signed in."""

    def __init__(self, context: BrowserContext, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}/performance/dashboard"
        self.page: Page = context.new_page()
        self.page.set_default_timeout(_WAIT_MS)
        #: errors of the console that a test expects: parts of their texts
        self.expected: list[str] = []
        self._errors: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self._errors.append(str(error)))

    def open(self, page: str = "", **parameters: str) -> None:
        """Go to a page by its address."""
        query = urlencode(parameters, quote_via=quote)
        self.page.goto(f"{self.base}/{page}" + (f"?{query}" if query else ""))

    def visit(self, page: str = "", **parameters: str) -> None:
        """Go to a page without loading anew, as a link does, and wait until it is settled."""
        query = urlencode(parameters, quote_via=quote)
        address = f"{self.base}/{page}" + (f"?{query}" if query else "")
        self.page.evaluate(_GO, address)
        self.page.evaluate(_DRAWN)
        self.settled()

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, and wait until the page is drawn in it."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.evaluate(_DRAWN)

    def sign_in(self, name: str = ADMIN, password: str = PASSWORD) -> None:
        """Sign in by the form, and wait for the page."""
        # Nobody is signed in yet, which the browser notes.
        self.expected.append("401")
        self.open()
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.locator("header").wait_for()

    def wait_text(self, text: str) -> None:
        """Wait until a text can be seen."""
        self.page.get_by_text(text).first.wait_for()

    def settled(self) -> None:
        """Wait until nothing on the page loads any more."""
        self.page.locator("main :is(h1, .said, .empty, .failed)").first.wait_for()
        expect(self.page.locator(".loading, .answer.changing")).to_have_count(0, timeout=_WAIT_MS)

    def errors(self) -> list[str]:
        """Return what went wrong in the page and was not expected."""
        return [each for each in self._errors if not any(some in each for some in self.expected)]

    def forget(self) -> None:
        """Forget what went wrong so far: somebody has noted it."""
        self._errors.clear()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._errors.append(message.text)


@contextmanager
def viewer(browser: Browser, port: int, **options: Any) -> Iterator[Viewer]:
    """Yield somebody with a window of their own; options are those of a context of Playwright."""
    asked = {"viewport": {"width": 1440, "height": 1000}, "locale": "en-US", **options}
    context = browser.new_context(**asked)
    try:
        found = Viewer(context, port)
        yield found
        assert not found.errors(), "\n".join(found.errors())
    finally:
        context.close()
