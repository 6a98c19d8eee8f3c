"""How people come in: by the set-up link at the first start, and by a link that is good once."""

import re

from playwright.sync_api import Browser

from support.processes.browser import Viewer, viewer
from support.processes.people import ADMIN, PASSWORD
from support.processes.servers import Collector, short_dir
from trimtab_collector.auth.links import guest_link


def test_the_page_of_the_set_up_link_goes_on_to_the_dashboard_signed_in(browser: Browser) -> None:
    with short_dir() as directory, Collector(directory) as collector:
        collector.start()
        line = collector.wait_line("no user yet")
        (link,) = re.findall(r"http://\S+/setup#\S+", line)
        with viewer(browser, collector.port) as found:
            found.page.goto(link)
            found.page.get_by_label("Name").fill(ADMIN)
            found.page.get_by_label("Password, at least 10 characters").fill(PASSWORD)
            found.page.get_by_label("The same password again").fill(PASSWORD)
            found.page.get_by_role("button", name="Add").click()
            entered(found)
            # The cookie that was set with the log-in does for the next visit.
            found.open("services")
            entered(found)


def test_a_link_signs_in_once_and_its_token_leaves_the_address(
    browser: Browser, collector: Collector
) -> None:
    link = guest_link(collector.data, collector.url, "guest")
    token = link.partition("#signin=")[2]
    with viewer(browser, collector.port) as found:
        found.page.goto(link)
        entered(found)
        assert token not in found.page.url
        assert token not in found.page.evaluate("JSON.stringify(history.state) + document.referrer")
    with viewer(browser, collector.port) as other:
        other.expected.append("401")
        other.page.goto(link)
        other.page.get_by_role("alert").wait_for()
        assert token not in other.page.url
        assert other.page.locator("nav").count() == 0


def entered(found: Viewer) -> None:
    """Wait for the page of somebody who is signed in."""
    found.page.locator("nav").first.wait_for()
    assert "/performance/dashboard" in found.page.url
