"""A service that is gone, and one of which nobody knows, on the first page."""

from playwright.sync_api import Browser, expect

from support.processes.browser import viewer
from support.processes.servers import Collector, short_dir
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from support.stores.shopworld import ENVIRONMENT
from trimtab_core.batches import Batch, GaugeRow

from .conftest import WITH_ADMIN


def test_the_first_page_says_since_when_a_service_is_gone_and_has_no_rate_for_one_unknown(
    browser: Browser,
) -> None:
    with short_dir() as directory, Collector(directory, **WITH_ADMIN) as collector:
        collector.start()
        with (
            viewer(browser, collector.port) as somebody,
            Sender(collector.port, collector.new_key()) as sender,
        ):
            for back in range(60, 0, -1):
                sender.insist(_window(back, "agent-1", *(["beta"] if back > 9 else []), "books"))
                if back > 8:
                    sender.insist(_window(back, "agent-2", "alpha"))
            somebody.sign_in()
            somebody.visit()
            table = somebody.page.get_by_role("table", name="Services")
            gone = table.get_by_role("row").filter(has_text="beta")
            expect(gone).to_contain_text("0/s")
            expect(gone).to_contain_text("since ")
            unknown = table.get_by_role("row").filter(has_text="alpha")
            expect(unknown.get_by_role("img", name="no data")).to_be_visible()
            expect(unknown).not_to_contain_text("/s")
            expect(unknown).not_to_contain_text("instance")
            expect(unknown.locator(".dot.none")).to_have_count(1)
            expect(table.get_by_role("row").filter(has_text="books")).not_to_contain_text("since")
            rate = somebody.page.locator(".tile").filter(has_text="Requests").first
            expect(rate).to_contain_text("since ")
            # On a slow machine an alert of it may have come, and stand above.
            events = somebody.page.locator(".event")
            expect(events.filter(has_text="The processes of beta are gone")).to_have_count(1)


def _window(back: int, agent: str, *services: str) -> Batch:
    host = f"host-of-{agent}"
    gauges = [GaugeRow("", "", host, "system.memory.usage", 1e9)]
    gauges += [
        GaugeRow(ENVIRONMENT, name, f"{host}#0", "process.uptime", 900.0) for name in services
    ]
    points = {
        key_of(service=name, environment=ENVIRONMENT, instance=f"{host}#0"): point_of([9000] * 40)
        for name in services
    }
    return a_batch(60 - back, points, agent=agent, window_s=window(back), gauges=gauges)
