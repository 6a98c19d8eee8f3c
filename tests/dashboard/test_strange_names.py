"""Names of apps are text: no script runs, nothing is drawn wrong, files are safe."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from playwright.sync_api import Browser, Locator, expect
from playwright.sync_api import TimeoutError as NotInTimeError

from support.processes.browser import Viewer, viewer
from support.processes.servers import Collector, short_dir
from support.processes.visiting import addresses, faults_of
from support.stores.batches import Sender
from support.stores.strangenames import FORMULAS, MARKUP, STRANGE, strange_batches

from .conftest import WITH_ADMIN

#: what is heard of a script or an element that should not be
_LISTEN: Final = """
window.heard = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, sample }) => {
  heard.push(`${violatedDirective} ${sample}`);
});
"""
_HARM: Final = r"""() => {
  const found = [...heard.splice(0)];
  if (window.harmed !== undefined) found.push(`a script ran: ${window.harmed}`);
  const bad = (each) => found.push(each.outerHTML.slice(0, 200));
  const own = `${location.origin}/performance/dashboard/assets/`;
  for (const each of document.querySelectorAll("img, iframe, object, embed, base, style, script"))
    if (!each.src?.startsWith(own)) bad(each);
  for (const each of document.querySelectorAll("[href], [src], [action]"))
    if (/^\s*(javascript|data|vbscript):/i.test(each.href ?? each.src)) bad(each);
  for (const each of document.querySelectorAll("*"))
    if ([...each.attributes].some(({ name }) => /^on|^srcdoc/.test(name))) bad(each);
  // A text that turns the direction must not turn what stands beside it.
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement } = texts.currentNode;
    const isolated = parentElement.closest("bdi, option, title, input, textarea");
    if (/[\u202a-\u202e\u2066-\u2069\u200f]/.test(data) && !isolated)
      found.push(`turns the text around it: ${parentElement.outerHTML.slice(0, 200)}`);
  }
  return found;
}"""
_NUMBER: Final = re.compile(r"-?[\d.]+(e[+-]?\d+)?")
# What a long name has made so tall that nothing else is on the screen, which has 1000 px.
_TALL: Final = """() => [...document.querySelectorAll("main :is(h1, tr, dd, .tile, .note, .event)")]
  .filter((each) => each.getBoundingClientRect().height > 700)
  .map((each) => `${each.offsetHeight} px tall: ${each.outerHTML.slice(0, 200)}`)"""
_SEEN: Final = """(name) => document.querySelector("main").textContent.includes(name)"""
#: pages on which no name of an app stands, or not before an alert fires
_PLAIN: Final = {
    "rules",
    "rule",
    "reports",
    "thresholds",
    "objectives",
    "channels",
    "people",
    "account",
    "alert",
    "alerts",
}
_PHONE: Final = (380, 800)
_WIDE: Final = (1440, 1000)


@pytest.fixture(scope="module")
def town() -> Iterator[Collector]:
    """A collector to which apps with all the names have sent."""
    with short_dir() as directory, Collector(directory, **WITH_ADMIN) as collector:
        collector.start()
        with Sender(collector.port, collector.new_key()) as sender:
            for batch in strange_batches():
                sender.insist(batch)
        yield collector


@pytest.fixture(scope="module")
def somebody(browser: Browser, town: Collector) -> Iterator[Viewer]:
    with viewer(browser, town.port, accept_downloads=True) as found:
        found.page.add_init_script(_LISTEN)
        found.sign_in()
        yield found


class Seen(NamedTuple):
    """What was found on one page."""

    where: str
    harms: list[str]
    faults: list[str]
    on_a_phone: list[str]
    is_about_markup: bool
    shows_markup: bool


@pytest.fixture(scope="module")
def seen(somebody: Viewer, town: Collector) -> list[Seen]:
    """What was found on every page, and on those of each service and route."""
    pages = [*addresses(town, MARKUP)]
    for names in STRANGE[1:]:
        pages += [each for each in addresses(town, names) if each[0] in ("service", "route")]
    return [_look(somebody, page, parameters) for page, parameters in pages]


def _look(somebody: Viewer, page: str, parameters: dict[str, str]) -> Seen:
    somebody.visit(page, **parameters)
    harms = _harms(somebody)
    faults = [*faults_of(somebody), *somebody.page.evaluate(_TALL)]
    shows: bool = somebody.page.evaluate(_SEEN, "<img src=x onerror=")
    somebody.resize(*_PHONE)
    narrow = faults_of(somebody)
    somebody.resize(*_WIDE)
    somebody.forget()
    about = page not in _PLAIN and parameters.get("service", MARKUP.service) == MARKUP.service
    where = f"{page or 'overview'} {parameters}"[:120]
    return Seen(where, harms, faults, narrow, about, shows)


def _harms(somebody: Viewer) -> list[str]:
    found: list[str] = somebody.page.evaluate(_HARM)
    return found


def test_no_script_runs_and_names_are_text(seen: list[Seen]) -> None:
    found = [f"{each.where}: {harm}" for each in seen for harm in each.harms]
    assert not found, "\n".join(found)


def test_names_of_any_length_leave_pages_as_they_are(seen: list[Seen]) -> None:
    found = [f"{each.where}: {fault}" for each in seen for fault in each.faults]
    assert not found, "\n".join(found)


def test_names_of_any_length_fit_a_phone(seen: list[Seen]) -> None:
    found = [f"{each.where}: {fault}" for each in seen for fault in each.on_a_phone]
    assert not found, "\n".join(found)


def test_every_page_that_is_about_apps_shows_their_names_as_they_are(seen: list[Seen]) -> None:
    silent = [each.where for each in seen if each.is_about_markup and not each.shows_markup]
    assert not silent, "\n".join(silent)


def test_search_finds_names_as_text(somebody: Viewer) -> None:
    somebody.visit()
    somebody.page.keyboard.press("/")
    somebody.page.keyboard.type("<img")
    found = somebody.page.get_by_role("listbox").get_by_role("option")
    expect(found.filter(has_text="<img src=x").first).to_be_visible()
    assert _harms(somebody) == []
    somebody.page.keyboard.press("Escape")


def test_names_are_no_formulas_in_files(somebody: Viewer, town: Collector) -> None:
    files, unsafe = 0, []
    for page, parameters in addresses(town, FORMULAS):
        if page in _PLAIN:
            continue
        somebody.visit(page, **parameters)
        for button in somebody.page.locator("main button", has_text="CSV").all():
            files += 1
            text = _saved_by(somebody, button).read_text("utf-8-sig")
            rows = list(csv.reader(text.splitlines(keepends=True), strict=True))
            unsafe += [(page, cell) for row in rows for cell in row if _is_formula(cell)]
            assert {len(row) for row in rows} == {len(rows[0])}
    assert files > 20
    assert unsafe == []


def _saved_by(somebody: Viewer, button: Locator) -> Path:
    """Return the file that a button saves; a click right after a page came was lost before."""
    for tries in range(3):
        try:
            with somebody.page.expect_download(timeout=4000) as saved:
                button.click()
            return Path(saved.value.path())
        except NotInTimeError:
            assert tries < 2, "three clicks saved no file"
    raise AssertionError


def _is_formula(cell: str) -> bool:
    """Tell whether a spreadsheet would compute a cell."""
    return cell.lstrip(" \u3000")[:1] in set(
        "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
    ) and not _NUMBER.fullmatch(cell)
