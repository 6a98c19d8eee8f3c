"""Every page of the dashboard, with an address that shows something on it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from support.processes.browser import Viewer
from support.processes.servers import Collector
from support.stores.shopworld import ENVIRONMENT, Names

__all__ = ["ALL_PAGES", "addresses", "faults_of"]

_SOURCES: Final = Path(__file__).resolve().parents[3] / "collector" / "dashboard" / "src"
#: names of pages as the dashboard has them; "" is the overview
ALL_PAGES: Final = re.findall(r'\{ name: "(\w*)"', (_SOURCES / "shell/pages.js").read_text("utf-8"))
#: pages with tabs, and the tabs that they do not open with
_TABS: Final = {"alerts": ("ended", "silences"), "people": ("keys", "tokens", "audit")}

# What only a mistake shows: values of the language, places of texts, a page that is wider than the
# window, something that failed. Paths of apps may have {id}.
_FAULTS: Final = r"""() => {
  const mistakes = /\b(undefined|NaN|Infinity|Invalid Date)\b|\[object \w+\]|\{(?!id\})\w+\}/g;
  const text = document.querySelector("main").innerText;
  const found = [...text.matchAll(mistakes)].map((each) => `says ${each[0]}`);
  const beyond = (each) => each.getBoundingClientRect().right > innerWidth + 1;
  if (document.scrollingElement.scrollWidth > innerWidth) {
    const wide = [...document.querySelectorAll("body *")]
      .filter((each) => beyond(each) && !each.closest(".table, .u-wrap, pre, nav"))
      .map((each) => each.outerHTML.slice(0, 160));
    found.push(`wider than the window: ${wide.slice(0, 3).join(" | ")}`);
  }
  for (const each of document.querySelectorAll(".failed")) found.push(`failed: ${each.innerText}`);
  return found;
}"""


def addresses(
    collector: Collector, names: Names | None = None
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (page, parameters) of every page, and of its tabs."""
    names = names or Names()
    service = {"environment": ENVIRONMENT, "service": names.service}
    asked = collector.api.get
    first = {
        "service": service,
        "route": {**service, "route": names.route},
        "request": _id(asked("/slow-requests", service=names.service, limit=1)["requests"]),
        "alert": _id(asked("/alerts", state="all", limit=1)["alerts"]),
        "rule": _id(asked("/alert-configs")["configs"]),
    }
    for page in ALL_PAGES:
        yield page, first.get(page, {})
        for tab in _TABS.get(page, ()):
            yield page, {"tab": tab}


def _id(rows: list[dict[str, str]]) -> dict[str, str]:
    return {"id": rows[0]["id"]} if rows else {}


def faults_of(viewer: Viewer) -> list[str]:
    """Return what is wrong with the page that is shown, and what its console said since."""
    found: list[str] = viewer.page.evaluate(_FAULTS)
    return [*found, *viewer.errors()]
