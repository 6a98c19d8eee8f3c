"""What people do with the dashboard when they look: all of it in a real browser."""

import re

from playwright.sync_api import Browser, expect

from support.processes.browser import Viewer, viewer
from support.processes.servers import Collector
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from support.stores.shopworld import ENVIRONMENT


def test_somebody_signs_in_by_the_form(browser: Browser, collector: Collector) -> None:
    with viewer(browser, collector.port) as somebody:
        somebody.sign_in()
        expect(somebody.page.get_by_role("link", name="Overview")).to_have_attribute(
            "aria-current", "page"
        )


def test_a_wrong_password_is_told_and_the_right_one_still_works(
    browser: Browser, collector: Collector
) -> None:
    with viewer(browser, collector.port) as somebody:
        somebody.expected += ["401"]
        somebody.open()
        somebody.page.get_by_label("Name").fill("ada")
        somebody.page.get_by_label("Password").fill("not this one")
        somebody.page.get_by_role("button", name="Sign in").click()
        somebody.wait_text("is wrong")
        somebody.page.get_by_label("Password").fill("correct horse battery")
        somebody.page.get_by_role("button", name="Sign in").click()
        somebody.page.locator("nav").wait_for()


def test_the_overview_names_the_service_that_became_slow(admin: Viewer) -> None:
    admin.open()
    admin.settled()
    expect(admin.page.locator("main h1")).to_contain_text("shop")
    # Version 2, and not the 2 of a time that stands before it.
    version = admin.page.locator(".lede a").filter(has_text=re.compile("^2$"))
    assert version.evaluate("link => link.previousSibling.textContent").endswith("ersion ")
    expect(admin.page.get_by_role("table", name="Services")).to_contain_text("library")


def test_numbers_change_by_themselves_when_something_arrives(
    admin: Viewer, collector: Collector
) -> None:
    admin.open("services", **{"from": "-15m"})
    admin.settled()
    row = admin.page.get_by_role("row").filter(has_text="newcomer")
    expect(row).to_have_count(0)
    with Sender(collector.port, collector.new_key()) as sender:
        points = {key_of("/", service="newcomer", environment=ENVIRONMENT): point_of([1000] * 9)}
        sender.insist(a_batch(0, points, agent="agent-of-newcomer", window_s=window(2)))
    expect(row).to_have_count(1, timeout=25_000)


def test_a_drag_in_a_chart_zooms_and_back_returns(admin: Viewer) -> None:
    admin.open("service", environment=ENVIRONMENT, service="shop")
    admin.settled()
    plot = admin.page.locator(".plot .u-over").first
    box = plot.bounding_box()
    assert box is not None
    admin.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    admin.page.mouse.down()
    admin.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 40, steps=5)
    admin.page.mouse.up()
    expect(admin.page).to_have_url(re.compile(r"from=20.*&to=20"))
    expect(admin.page.get_by_role("button", name="not live")).to_be_visible()
    admin.page.go_back()
    expect(admin.page).not_to_have_url(re.compile("to=20"))


def test_a_cell_of_the_heatmap_opens_the_slow_requests_in_it_and_one_has_its_timeline(
    admin: Viewer,
) -> None:
    admin.open("service", environment=ENVIRONMENT, service="shop", **{"from": "-1h"})
    admin.settled()
    heatmap, caption = admin.page.locator(".heat .plot"), admin.page.locator(".heat figcaption")
    heatmap.focus()
    # From the lowest cell of the latest minute up to the first with requests over 300 ms.
    slow = re.compile(r"[1-9]\d* requests? of [3-9]\d\d")
    heatmap.press("ArrowLeft")
    for _ in range(28):
        heatmap.press("ArrowUp")
        if slow.search(caption.inner_text()):
            break
    expect(caption).to_have_text(slow)
    heatmap.press("Enter")
    expect(admin.page).to_have_url(re.compile("minDuration="))
    admin.open("requests")
    admin.settled()
    admin.page.get_by_role("link", name="GET /reports/daily").first.click()
    timeline = admin.page.get_by_role("table", name="What took the time")
    expect(timeline).to_contain_text("SELECT day")
    expect(timeline.locator(".lane i.database")).to_have_count(1)
    expect(timeline.locator(".lane i.cache")).to_have_count(1)


def test_a_red_figure_leads_to_the_line_of_code_in_three_clicks(admin: Viewer) -> None:
    admin.open()
    admin.settled()
    admin.page.get_by_role("table", name="Services").get_by_role("link", name="shop").click()
    admin.settled()
    routes = admin.page.get_by_role("table", name="Routes", exact=True)
    routes.get_by_role("link", name="GET /reports/daily").click()
    expect(admin.page.get_by_text("shop/reports.py:41 in daily").first).to_be_visible()


def test_language_and_theme_change_and_stay(admin: Viewer) -> None:
    admin.open("services")
    admin.settled()
    admin.page.get_by_role("button", name="한국어").click()
    expect(admin.page.locator("main h1")).to_have_text("서비스")
    admin.page.get_by_role("button", name="어두운 테마").click()
    expect(admin.page.locator("html")).to_have_attribute("data-theme", "dark")
    admin.page.reload()
    expect(admin.page.locator("main h1")).to_have_text("서비스")
    expect(admin.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_keys_alone_find_a_route(admin: Viewer) -> None:
    admin.open()
    admin.settled()
    admin.page.keyboard.press("?")
    expect(admin.page.get_by_role("dialog")).to_contain_text("Search services")
    admin.page.keyboard.press("Escape")
    admin.page.keyboard.press("/")
    admin.page.keyboard.type("reports")
    found = admin.page.get_by_role("option").filter(has_text="/reports/daily")
    expect(found.first).to_be_visible()
    for _ in range(admin.page.get_by_role("option").count()):
        if found.first.get_attribute("aria-selected") == "true":
            break
        admin.page.keyboard.press("ArrowDown")
    expect(found.first).to_have_attribute("aria-selected", "true")
    admin.page.keyboard.press("Enter")
    expect(admin.page.locator("main h1")).to_have_text("/reports/daily")


def test_the_page_comes_back_by_itself_after_the_collector_restarts(
    admin: Viewer, collector: Collector
) -> None:
    admin.expected += ["ERR_CONNECTION_REFUSED", "WebSocket", "Failed to load resource"]
    admin.open("services")
    admin.settled()
    expect(admin.page.get_by_text("live", exact=True)).to_be_visible()
    collector.stop()
    expect(admin.page.get_by_text("connection lost")).to_be_visible(timeout=30_000)
    expect(admin.page.get_by_role("table", name="Services")).to_contain_text("shop")
    collector.start()
    expect(admin.page.get_by_text("live", exact=True)).to_be_visible(timeout=60_000)


def test_the_navigation_takes_a_fixed_range_to_pages_of_figures_alone(admin: Viewer) -> None:
    admin.visit("services", **{"from": "-2h", "to": "-1h"})
    links = admin.page.get_by_role("navigation")
    leads = {
        name: links.get_by_role("link", name=name, exact=True).get_attribute("href") or ""
        for name in ("Databases", "Channels")
    }
    assert "from=-2h" in leads["Databases"]
    assert "from=" not in leads["Channels"]


def test_shipped_key_figures_and_thresholds_have_words_in_korean(admin: Viewer) -> None:
    admin.visit("objectives")
    admin.page.get_by_role("button", name="한국어").click()
    admin.page.get_by_text("상태 확인").first.wait_for()
    assert admin.page.get_by_text("Health check").count() == 0


def test_key_figures_of_a_report_are_whole_and_no_sentence_is_cut(admin: Viewer) -> None:
    admin.visit("reports")
    table = admin.page.get_by_role("table", name="Key figures")
    for width in (1440, 380):
        admin.resize(width, 900)
        row = table.get_by_role("row").last
        cells = row.get_by_role("cell")
        assert cells.count() == 4
        for place in range(4):
            box = cells.nth(place).bounding_box()
            outer = table.locator("xpath=..").bounding_box()
            assert box is not None
            assert outer is not None
            assert box["x"] + box["width"] <= outer["x"] + outer["width"] + 1
    admin.visit()
    heading = admin.page.locator(".sentence h1")
    heading.evaluate("(each) => each.append(' and another word'.repeat(20))")
    assert heading.evaluate("(each) => each.scrollHeight <= each.clientHeight")
