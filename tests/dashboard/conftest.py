"""A collector with an hour of a shop in it, and a browser to look at it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from support.lacking import lack
from support.processes.browser import Viewer, chromium, viewer
from support.processes.people import ADMIN, PASSWORD
from support.processes.servers import Collector, short_dir
from support.stores.shopworld import kept_up
from trimtab_collector.api.pages import STATIC

WITH_ADMIN = {
    "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
    "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
}


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for the tests of this folder.

    No longer: while Playwright is there its loop counts as the one that runs, and no test that is a
    coroutine could run in this process.
    """
    if not (STATIC / "index.html").exists():
        lack("the dashboard is not built: ./dev setup says why")
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with an admin and an hour of data; tests of a file share it."""
    with short_dir() as directory, Collector(directory, **WITH_ADMIN) as process:
        process.start()
        with kept_up(process.port, process.new_key()):
            yield process


@pytest.fixture
def admin(browser: Browser, collector: Collector) -> Iterator[Viewer]:
    """An admin who has signed in."""
    with viewer(browser, collector.port) as found:
        found.sign_in()
        yield found
