"""Everybody can use the dashboard: axe-core finds nothing serious on any page, light or dark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser

from support.lacking import lack
from support.processes.browser import Viewer, viewer
from support.processes.servers import Collector
from support.processes.visiting import addresses

_AXE: Final = (
    Path(__file__).resolve().parents[2] / "collector/dashboard/node_modules/axe-core/axe.min.js"
)
_RUN: Final = """async ([where, options]) => {
  const spared = { resultTypes: ["violations"], selectors: false };
  const { violations } = await axe.run(where, { ...spared, ...options });
  const said = ({ html, any }) =>
    `${html.slice(0, 200)} ${any.map((each) => each.message).join("; ").slice(0, 200)}`;
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.slice(0, 3).map((node) => `${id}: ${said(node)}`));
}"""
_ALL: Final[dict[str, Any]] = {}
#: what a theme can change
_COLOURS: Final = {"runOnly": ["color-contrast", "link-in-text-block"]}


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    try:
        return _AXE.read_text(encoding="utf-8")
    except FileNotFoundError:
        lack("axe-core is not installed: ./dev setup installs it where Node.js is")


class Issues:
    """What is serious, and on which pages: the same thing is told once."""

    def __init__(self, axe: str) -> None:
        self._axe = axe
        #: what of the page is looked at: of later pages only what differs
        self.part = "body"
        self._found: dict[str, list[str]] = {}

    def look(self, somebody: Viewer, where: str, options: Mapping[str, Any] = _ALL) -> None:
        """Look at the page as it is."""
        if not somebody.page.evaluate("'axe' in window"):
            somebody.page.evaluate(self._axe)
        for each in somebody.page.evaluate(_RUN, [self.part, options]):
            self._found.setdefault(each, []).append(where)

    def look_in_both_themes(self, somebody: Viewer, where: str) -> None:
        """Look at the page, light and dark."""
        self.look(somebody, where)
        root = "document.documentElement.dataset.theme"
        # As the button does, without drawing charts again.
        somebody.page.evaluate(f"{root} = 'dark'")
        self.look(somebody, f"{where} (dark)", _COLOURS)
        somebody.page.evaluate(f"{root} = 'light'")

    def check(self) -> None:
        """Fail with what was found."""
        told = (f"{issue}\n    on {', '.join(on[:6])}" for issue, on in self._found.items())
        assert not self._found, "\n".join(told)


def test_no_page_has_a_serious_issue_in_either_theme(
    admin: Viewer, collector: Collector, axe: str
) -> None:
    found = Issues(axe)
    for page, parameters in addresses(collector):
        admin.visit(page, **parameters)
        found.look_in_both_themes(
            admin, f"{page or 'overview'} {parameters.get('tab', '')}".strip()
        )
        found.part = "main"
    found.check()


def test_what_opens_over_a_page_has_no_serious_issue(admin: Viewer, axe: str) -> None:
    found = Issues(axe)
    page = admin.page
    admin.visit("rules")
    for key, name in (("/", "Search"), ("?", "Keys")):
        page.keyboard.press(key)
        page.get_by_role("dialog").wait_for()
        found.look_in_both_themes(admin, name)
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
    for button in page.locator("header [aria-haspopup]").all():
        button.click()
        found.look_in_both_themes(admin, button.inner_text())
        page.keyboard.press("Escape")
    for where, name in (
        ("alerts", "Silence"),
        ("channels", "New channel"),
        ("people", "Add somebody"),
    ):
        admin.visit(where)
        page.get_by_role("button", name=name, exact=True).click()
        page.get_by_role("dialog").wait_for()
        found.look_in_both_themes(admin, f"{where}: {name}")
        page.keyboard.press("Escape")
    found.check()


def test_signing_in_and_the_menu_of_a_phone_have_no_serious_issue(
    browser: Browser, collector: Collector, axe: str
) -> None:
    found = Issues(axe)
    with viewer(browser, collector.port, viewport={"width": 380, "height": 800}) as somebody:
        somebody.expected.append("401")
        somebody.open()
        somebody.page.get_by_label("Password").wait_for()
        found.look_in_both_themes(somebody, "sign in")
        somebody.sign_in()
        somebody.settled()
        somebody.page.locator("header .menu").click()
        found.look_in_both_themes(somebody, "menu")
    found.check()


def test_on_a_phone_rows_with_actions_are_whole_and_wide_tables_show_that_they_go_on(
    browser: Browser, collector: Collector, axe: str
) -> None:
    found = Issues(axe)
    hidden = "[...document.querySelectorAll('.stack')].some(e => e.scrollWidth > e.clientWidth)"
    with viewer(browser, collector.port, viewport={"width": 380, "height": 800}) as somebody:
        somebody.sign_in()
        for page in ("alerts", "thresholds", "channels", "rules", "people"):
            somebody.visit(page)
            assert not somebody.page.evaluate(hidden), page
            found.look_in_both_themes(somebody, page)
        somebody.visit("thresholds")
        critical = somebody.page.locator(".stack input").nth(1).bounding_box()
        assert critical is not None
        assert critical["x"] + critical["width"] <= 380
        somebody.visit("services")
        table = somebody.page.locator(".table").first
        assert "gradient" in table.evaluate("e => getComputedStyle(e).backgroundImage")
        assert table.get_attribute("tabindex") == "0"
        found.look_in_both_themes(somebody, "services")
    found.check()
