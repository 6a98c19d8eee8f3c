"""How often pages ask: no more often than there is something new, and not while nobody looks."""

from urllib.parse import urlsplit

from playwright.sync_api import Page, Request, expect

from support.processes.browser import Viewer
from support.processes.servers import wait_for


class _Asked:
    """The requests of a page for one path."""

    def __init__(self, page: Page, path: str) -> None:
        self.found: list[Request] = []
        self._path = path
        page.on("request", self._add)

    def _add(self, request: Request) -> None:
        if urlsplit(request.url).path.endswith(self._path):
            self.found.append(request)


def test_a_long_range_is_asked_for_seldom_and_older_answers_will_do(admin: Viewer) -> None:
    page = admin.page
    # Within half a minute: the live stream ends when it hears nothing for longer.
    page.clock.install()
    for back, pace_s in (("-1h", 10), ("-3h", 30)):
        admin.open(**{"from": back})
        admin.settled()
        # What the stream brings when it connects is over.
        expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=15_000)
        asked = _Asked(page, "/metrics/history")
        page.clock.run_for(pace_s * 900)
        assert asked.found == []
        page.clock.run_for(pace_s * 200)

        def came(found: _Asked = asked) -> bool:
            page.wait_for_timeout(10)
            return bool(found.found)

        wait_for(came, "the page asks again")
        assert asked.found[0].headers["cache-control"] == f"max-age={pace_s * 4 // 5}"


def test_a_tab_that_was_hidden_when_it_was_to_ask_asks_as_soon_as_it_is_seen(
    admin: Viewer,
) -> None:
    page = admin.page
    # The shortest pause: it comes back before a whole one has passed.
    page.add_init_script("Math.random = () => 0")
    page.clock.install()
    admin.open(**{"from": "-1h"})
    admin.settled()
    expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=15_000)
    asked = _Asked(page, "/metrics/history")
    show = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
    page.evaluate(show % "true")
    page.clock.run_for(9_600)
    assert asked.found == []
    page.evaluate(show % "false")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def came() -> bool:
        page.wait_for_timeout(10)
        return bool(asked.found)

    wait_for(came, "the page asks again")
