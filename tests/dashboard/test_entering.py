"""How people come in: by the set-up link at the first start, and by a link that is good once."""

import re
from typing import Any

from playwright.sync_api import Browser, Route, expect

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
        # Nobody is signed in yet, which the browser notes.
        found.expected.append("401")
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


def test_a_link_replaces_nobody_who_is_signed_in_without_being_asked(
    browser: Browser, collector: Collector
) -> None:
    """Who is sent a link by somebody else would go on to work under another name."""
    link = guest_link(collector.data, collector.url, "stranger")
    with viewer(browser, collector.port) as found:
        found.sign_in()
        found.page.goto("about:blank")
        found.page.goto(link)
        found.wait_text(f"You are signed in as {ADMIN}")
        assert "signin=" not in found.page.url
        found.page.get_by_role("button", name=f"Stay {ADMIN}").click()
        entered(found)
        assert named(found) == ADMIN
        # Nothing was used up: whoever asked for it may take it.
        found.page.goto("about:blank")
        found.page.goto(link)
        found.page.get_by_role("button", name="Use the link").click()
        entered(found)
        expect(found.page.get_by_title("Account").locator("bdi")).to_have_text("stranger")


def test_somebody_is_signed_out_only_when_the_collector_says_so(
    browser: Browser, collector: Collector
) -> None:
    with viewer(browser, collector.port) as found:
        found.sign_in()
        found.expected.append("ERR_CONNECTION")
        found.page.route("**/auth/logout", lambda route: route.abort("connectionrefused"))
        found.page.get_by_title("Your account").click()
        found.page.get_by_role("button", name="Sign out", exact=True).click()
        found.wait_text("you may still be signed in")
        found.page.get_by_role("button", name="Sign out: try again").wait_for()
        found.page.keyboard.press("Escape")
        found.visit("account")
        found.page.get_by_role("button", name="Sign out", exact=True).click()
        found.wait_text("you may still be signed in")
        entered(found)
        found.page.unroute("**/auth/logout")
        found.page.get_by_role("button", name="Sign out: try again").first.click()
        found.page.locator("main.signin form").wait_for()
        found.page.reload()
        found.page.locator("main.signin form").wait_for()


def test_somebody_whose_refresh_was_not_answered_stays_signed_in(
    browser: Browser, collector: Collector
) -> None:
    with viewer(browser, collector.port) as found:
        found.sign_in()
        found.expected.append("ERR_")
        lost = []

        def lose(route: Route) -> None:
            # The collector carries it out; the connection ends before the answer is here.
            lost.append(route.fetch().status)
            found.page.context.add_cookies(cookies)
            route.abort("connectionreset")

        cookies: Any = found.page.context.cookies()
        found.page.route("**/auth/refresh", lose, times=1)
        found.page.reload()
        found.page.get_by_role("alert").wait_for()
        assert lost == [200]
        entered(found)


def test_a_prefix_that_is_another_host_is_not_asked(browser: Browser, collector: Collector) -> None:
    with viewer(browser, collector.port) as found:
        found.expected += ["401", "404", "expected one slash", "ERR_"]
        found.open()
        found.page.get_by_label("Password").wait_for()
        asked: list[str] = []
        found.page.on("request", lambda request: asked.append(request.url))
        page = found.page.context.request.get(found.base).body()
        there = f"{collector.url}//evil.example/performance/dashboard"
        found.page.route(there, lambda route: route.fulfill(body=page, content_type="text/html"))
        found.page.route(
            re.compile(r"//evil\.example/.*/assets/"),
            lambda route: route.continue_(url=route.request.url.replace("//evil.example/", "/")),
        )
        found.page.goto(there)
        found.page.wait_for_url(f"{collector.url}/evil.example/performance/dashboard")
        assert not [each for each in asked if each.startswith("http://evil.example")]


def named(found: Viewer) -> str:
    """Return the name of who is signed in, as the page shows it."""
    return found.page.get_by_title("Account").locator("bdi").inner_text()


def entered(found: Viewer) -> None:
    """Wait for the page of somebody who is signed in."""
    found.page.locator("nav").first.wait_for()
    assert "/performance/dashboard" in found.page.url


def test_a_link_pasted_into_an_open_tab_is_taken_from_the_address_and_offered(
    admin: Viewer, collector: Collector
) -> None:
    link = guest_link(collector.data, collector.url, "another-guest")
    admin.visit("services")
    admin.page.evaluate("hash => { location.hash = hash; }", link.partition("#")[2])
    admin.page.get_by_text("Use the sign-in link?").wait_for()
    assert "signin" not in admin.page.url
