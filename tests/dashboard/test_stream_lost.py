"""The live stream behind proxies that do not let it through."""

from playwright.sync_api import Browser, expect

from support.processes.browser import viewer
from support.processes.headproxy import HeadProxy
from support.processes.servers import Collector

_WAIT_MS = 20_000


def test_without_websockets_the_stream_comes_by_polling(
    browser: Browser, collector: Collector
) -> None:
    with (
        HeadProxy(collector.port, upgrades=False) as proxy,
        viewer(browser, proxy.port) as somebody,
    ):
        somebody.expected += ["WebSocket", "Failed to load resource"]
        somebody.sign_in()
        expect(somebody.page.locator("header .live.on")).to_be_visible(timeout=_WAIT_MS)


def test_a_proxy_that_names_itself_is_told_of_in_page_and_log(
    browser: Browser, collector: Collector
) -> None:
    with (
        HeadProxy(collector.port, host="collector:8620") as proxy,
        viewer(browser, proxy.port) as somebody,
    ):
        somebody.expected += ["WebSocket", "Failed to load resource"]
        somebody.sign_in()
        banner = somebody.page.get_by_text("refuses the live stream")
        expect(banner).to_be_visible(timeout=_WAIT_MS)
        expect(banner).to_contain_text("every 10 s")
        expect(somebody.page.get_by_text("collector was lost")).to_have_count(0)
    origin = f"http://127.0.0.1:{proxy.port}"
    told = [line for line in collector.output().splitlines() if "allowed_origins" in line]
    assert len(told) == 1
    assert origin in told[0]
    assert "'collector:8620'" in told[0]


def test_a_stream_that_is_gone_alone_is_no_lost_collector(
    browser: Browser, collector: Collector
) -> None:
    with (
        HeadProxy(collector.port, without="/socket.io/") as proxy,
        viewer(browser, proxy.port) as somebody,
    ):
        somebody.expected += ["WebSocket", "Failed to load resource"]
        somebody.sign_in()
        banner = somebody.page.get_by_text("The live stream has been away")
        expect(banner).to_be_visible(timeout=_WAIT_MS)
        expect(banner).to_contain_text("every 10 s")
