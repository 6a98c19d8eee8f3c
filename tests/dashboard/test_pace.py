"""How often pages ask: no more often than there is something new, and not while nobody looks."""

import pytest
from playwright.sync_api import Page, expect

from support.processes.browser import Viewer
from support.processes.servers import wait_for

#: Notes when the page asks for what, by its own clock, which runs as the test says.
_NOTE = """
window.asked = [];
const whole = window.fetch;
window.fetch = (resource, options) => {
  const url = new URL(resource.url ?? resource, location.href);
  const headers = new Headers(options?.headers ?? resource.headers);
  window.asked.push({ path: url.pathname, at: Date.now(), age: headers.get("cache-control") });
  return whole(resource, options);
};
"""


class _Asked:
    """When a page asked for one path, in ms by its own clock, and how old an answer may be."""

    def __init__(self, page: Page, path: str) -> None:
        self._page = page
        self._path = path

    def found(self) -> list[tuple[int, str | None]]:
        """Return time and `cache-control` of each request so far."""
        every = self._page.evaluate("window.asked")
        return [(each["at"], each["age"]) for each in every if each["path"].endswith(self._path)]

    def again(self, pace_s: int) -> tuple[int, str | None]:
        """Wait for one more request, of a page that asks at such a pace, and return it."""
        before = len(self.found())

        def came() -> bool:
            # By its own clock, a little at a time: the answers of the collector take theirs.
            self._page.clock.run_for(50 * pace_s)
            self._page.wait_for_timeout(10)
            return len(self.found()) > before

        wait_for(came, "the page asks again")
        return self.found()[-1]


@pytest.fixture
def noted(admin: Viewer) -> Viewer:
    """A page that notes when it asks; its clock can be put forward."""
    admin.page.add_init_script(_NOTE)
    admin.page.clock.install()
    return admin


def test_a_long_range_is_asked_for_seldom_and_older_answers_will_do(noted: Viewer) -> None:
    asked = _Asked(noted.page, "/metrics/history")
    for back, pace_s in (("-1h", 10), ("-3h", 30)):
        noted.open(**{"from": back})
        noted.settled()
        # What the stream brings when it connects is over.
        expect(noted.page.get_by_text("live", exact=True)).to_be_visible(timeout=15_000)
        before_ms = asked.found()[-1][0]
        at_ms, age = asked.again(pace_s)
        # From answer to question it is the pace, give or take a twentieth.
        assert 950 * pace_s <= at_ms - before_ms
        assert age == f"max-age={pace_s * 4 // 5}"


def test_a_tab_that_was_hidden_when_it_was_to_ask_asks_as_soon_as_it_is_seen(
    noted: Viewer,
) -> None:
    page = noted.page
    # The shortest pause: it comes back before a whole one has passed.
    page.add_init_script("Math.random = () => 0")
    noted.open(**{"from": "-1h"})
    noted.settled()
    expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=15_000)
    asked = _Asked(page, "/metrics/history")
    show = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
    page.evaluate(show % "true")
    before = len(asked.found())
    page.clock.run_for(9_600)
    assert len(asked.found()) == before
    page.evaluate(show % "false")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    wait_for(lambda: len(asked.found()) > before, "the page asks again")
