"""Every page, with much to show, with nothing, with one point, and with a collector that fails."""

import time

from playwright.sync_api import Browser, Page, Route, expect

from support.processes.browser import Viewer, viewer
from support.processes.servers import Collector, short_dir
from support.processes.visiting import addresses, faults_of
from support.stores.batches import Sender, a_batch, key_of, point_of
from support.stores.shopworld import ENVIRONMENT, Names, shop_hour

from .conftest import WITH_ADMIN

# Cards that neither say that they failed nor hold something that was not asked for.
_SILENT = """() => [...document.querySelectorAll("main .card")]
  .filter((card) => !card.querySelector(".failed, form"))
  .map((card) => card.innerText.slice(0, 80))"""


def walked(somebody: Viewer, collector: Collector, what: str) -> list[str]:
    """Return what is wrong on all pages."""
    found = []
    for page, parameters in addresses(collector):
        somebody.visit(page, **parameters)
        found += [f"{page or 'overview'} {what}: {each}" for each in faults_of(somebody)]
        somebody.forget()
    return found


def test_every_page_shows_the_shop(admin: Viewer, collector: Collector) -> None:
    assert walked(admin, collector, "with the shop") == []


def test_a_page_whose_questions_fail_says_what_to_do_and_comes_back(
    admin: Viewer, collector: Collector
) -> None:
    admin.expected.append("500")
    wrong = []
    # What is shown already would stay.
    admin.visit("account")
    for page, parameters in addresses(collector):
        admin.page.route("**/api/performance/**", _fails)
        admin.visit(page, **parameters)
        failed = admin.page.locator("main .failed")
        silent = admin.page.evaluate(_SILENT)
        wrong += [f"{page} {parameters} does not say that it failed: {each}" for each in silent]
        wrong += [
            f"{page} {parameters} says {each}"
            for each in failed.all_inner_texts()
            if "Try again" not in each or "internal" not in each
        ]
        admin.page.unroute("**/api/performance/**")
        _try_again(admin.page)
        wrong += [f"{page} {parameters} afterwards: {each}" for each in faults_of(admin)]
    assert wrong == []


def test_a_page_that_failed_comes_back_by_itself(admin: Viewer) -> None:
    admin.expected.append("500")
    admin.page.route("**/api/performance/**", _fails)
    admin.visit("services")
    expect(admin.page.locator("main .failed").first).to_be_visible()
    admin.page.unroute("**/api/performance/**")
    expect(admin.page.get_by_role("table", name="Services")).to_contain_text("library")


def _fails(route: Route) -> None:
    if "/auth/" in route.request.url:
        return route.continue_()
    error = {"code": "internal", "message": "something went wrong", "details": {}}
    return route.fulfill(status=500, json={"success": False, "data": None, "error": error})


def _try_again(page: Page) -> None:
    """Press every button of what failed, until nothing has."""
    page.evaluate(
        "document.querySelectorAll('main .failed button').forEach((each) => each.click())"
    )
    expect(page.locator("main :is(.failed, .loading)")).to_have_count(0)


def test_a_collector_begins_empty_and_shows_its_first_point_and_200_routes(
    browser: Browser,
) -> None:
    with short_dir() as directory, Collector(directory, **WITH_ADMIN) as collector:
        collector.start()
        with (
            viewer(browser, collector.port) as somebody,
            Sender(collector.port, collector.new_key()) as sender,
        ):
            somebody.sign_in()
            assert walked(somebody, collector, "with nothing") == []
            somebody.visit()
            expect(somebody.page.locator(".firstrun")).to_contain_text("trimtab run")
            point = {key_of("/first", service="shop", environment=ENVIRONMENT): point_of([1000])}
            sender.insist(a_batch(0, point))
            expect(somebody.page.get_by_role("table", name="Services")).to_contain_text("shop")
            expect(somebody.page.locator(".firstrun")).to_have_count(0)
            assert walked(somebody, collector, "with one point") == []
            for batch in shop_hour(time.time(), Names(), routes=200, length_s=120):
                sender.insist(batch)
            assert walked(somebody, collector, "with 200 routes") == []
            somebody.visit("service", environment=ENVIRONMENT, service="shop")
            routes = somebody.page.get_by_role("table", name="Routes", exact=True)
            somebody.page.get_by_role("button", name="Show all 200").click()
            expect(routes.get_by_role("row")).to_have_count(201)
