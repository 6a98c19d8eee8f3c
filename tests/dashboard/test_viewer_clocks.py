"""Viewers whose clock is off, or whose time zone is another than that of the page."""

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Route, expect

from support.processes.browser import Viewer, viewer
from support.processes.servers import Collector
from support.stores.shopworld import ENVIRONMENT

SHOP = {"environment": ENVIRONMENT, "service": "shop"}
#: How many pixels of each chart have a colour: lines and areas have, axes and labels are grey.
_COLOURED = """() => [...document.querySelectorAll("main .chart canvas")].map((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue] = data.subarray(at, at + 3);
    const span = Math.max(red, green, blue) - Math.min(red, green, blue);
    if (data[at + 3] > 40 && span > 40) found += 1;
  }
  return found;
})"""
_DIFFER = "clock of this device"


@pytest.fixture(scope="module")
def drawn(browser: Browser, collector: Collector) -> list[int]:
    """How much is drawn into each chart for a viewer whose clock is right."""
    with viewer(browser, collector.port) as somebody:
        somebody.sign_in()
        somebody.visit("service", **SHOP)
        expect(somebody.page.get_by_text(_DIFFER)).to_have_count(0)
        return [*somebody.page.evaluate(_COLOURED)]


@pytest.mark.parametrize("off_s", [3 * 3600, -3 * 3600])
def test_charts_are_full_for_a_viewer_whose_clock_is_off(
    browser: Browser, collector: Collector, drawn: list[int], off_s: int
) -> None:
    with viewer(browser, collector.port) as somebody:
        somebody.page.clock.install(time=time.time() + off_s)
        somebody.sign_in()
        somebody.visit("service", **SHOP)
        found = somebody.page.evaluate(_COLOURED)
        assert [each > some / 2 for each, some in zip(found, drawn, strict=True)] == [True] * len(
            drawn
        )
        expect(somebody.page.get_by_text(_DIFFER)).to_have_count(1)
        shown = somebody.page.locator("header").inner_text()
        assert any(
            datetime.fromtimestamp(time.time() - ago_s, ZoneInfo("UTC")).strftime("%H:%M") in shown
            for ago_s in (0, 30)
        ), shown


def test_times_typed_without_a_zone_are_of_the_zone_of_the_page(
    browser: Browser, collector: Collector
) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    to = datetime.fromtimestamp(time.time() - 300, zone)
    begin = datetime.fromtimestamp(time.time() - 3000, zone)
    typed = [f"{each:%Y-%m-%dT%H:%M}" for each in (begin, to)]
    with viewer(browser, collector.port, timezone_id="America/New_York") as somebody:
        somebody.sign_in()
        somebody.visit("service", **SHOP, tz="Asia/Kolkata", **{"from": typed[0], "to": typed[1]})
        expect(somebody.page.locator("header .range")).to_contain_text(f"{begin:%H:%M}")
        expect(somebody.page.locator("header .range")).to_contain_text(f"{to:%H:%M}")
        assert max(somebody.page.evaluate(_COLOURED)) > 1000


def test_a_zone_that_the_collector_does_not_know_becomes_utc_with_a_word(admin: Viewer) -> None:
    admin.expected.append("422")

    def refuse(route: Route) -> None:
        if "tz=UTC" in route.request.url or "tz=" not in route.request.url:
            return route.continue_()
        error = {
            "code": "bad_parameter",
            "message": "parameter 'tz': expected a time zone such as Europe/Berlin",
            "details": {"parameter": "tz"},
        }
        return route.fulfill(status=422, json={"success": False, "error": error})

    admin.page.route("**/api/performance/**", refuse)
    admin.visit("service", **SHOP, tz="Asia/Seoul")
    expect(admin.page.get_by_text("does not know the time zone Asia/Seoul")).to_be_visible()
    expect(admin.page.locator("main .failed")).to_have_count(0)
    expect(admin.page.locator("header")).to_contain_text("UTC")
    assert max(admin.page.evaluate(_COLOURED)) > 1000
