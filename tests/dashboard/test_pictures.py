"""The pictures in docs/: taken here, of what the pages really show.

    UPDATE_DOCS=1 ./dev test tests/dashboard/test_pictures.py

takes them anew. Without it none is taken, since fonts differ between machines and nothing could be
compared: that pages show what they should is asked in the other files of this folder.
"""

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from support.processes.browser import Viewer, viewer
from support.processes.servers import Collector
from support.stores.shopworld import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "pictures"
UPDATE = os.environ.get("UPDATE_DOCS") == "1"
ROUTE = {
    "environment": ENVIRONMENT,
    "service": "shop",
    "route": "/reports/daily",
    "method": "GET",
}
#: name -> page, parameters, width, height, theme
PICTURES = {
    "overview": ("", {"environment": ENVIRONMENT}, 1320, 860, "light"),
    "overview-dark": ("", {"environment": ENVIRONMENT}, 1320, 860, "dark"),
    "route": ("route", ROUTE, 1320, 1100, "light"),
    "rule": ("rule", {"metric": "errorRate", "service": "shop"}, 1320, 700, "light"),
    "phone": ("", {"environment": ENVIRONMENT}, 390, 844, "light"),
}


@pytest.fixture(scope="module")
def windows(browser: Browser, collector: Collector) -> Iterator[dict[str, Viewer]]:
    """Somebody signed in with each theme."""
    with (
        viewer(browser, collector.port, color_scheme="light") as light,
        viewer(browser, collector.port, color_scheme="dark") as dark,
    ):
        for each in (light, dark):
            each.sign_in()
        yield {"light": light, "dark": dark}


def test_the_pictures_that_pages_of_the_docs_show_are_those_that_are_taken_here() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {
        name
        for page in pages
        for name in re.findall(r"!\[[^\]]+\]\((?:docs/)?pictures/([\w-]+)\.png\)", page.read_text())
    }
    sizes = {path.stem: size_of(path.read_bytes()) for path in FOLDER.iterdir()}
    assert sizes == {name: picture[2:4] for name, picture in PICTURES.items()}
    assert shown == set(PICTURES)


@pytest.mark.skipif(not UPDATE, reason="UPDATE_DOCS=1 takes pictures anew")
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_docs_is_of_what_the_page_shows(
    name: str, windows: dict[str, Viewer]
) -> None:
    page, parameters, width, height, theme = PICTURES[name]
    looking = windows[theme]
    looking.page.set_viewport_size({"width": width, "height": height})
    looking.open(page, **parameters)
    looking.settled()
    if page == "rule":
        looking.page.get_by_label("warning %").fill("2")
        looking.wait_text("It would have fired")
    taken = looking.page.screenshot(animations="disabled")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.png").write_bytes(taken)


def size_of(png: bytes) -> tuple[int, int]:
    """Return width and height of a PNG."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height
