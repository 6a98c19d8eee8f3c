"""The rows of the dashboard's benchmark; see `dashboard`, whose command line this is."""

import argparse
import os
from typing import Final

from playwright.sync_api import Browser

import harness
from dashboard_asked import answer_rows, open_rows
from dashboard_heap import memory_rows
from dashboard_pages import (
    SERVICE,
    Asked,
    browser,
    first_asked,
    first_rows,
    recorded,
    task_rows,
)
from dashboard_world import World, world

__all__ = ["main"]

_PARTS: Final = ("first", "tasks", "answers", "memory", "open")
_OTHERS: Final = "service?environment=bench&service=service-{:03}"


def main(description: str | None) -> None:
    """Measure what the command line asks for and report it."""

    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--only", action="append", choices=_PARTS, metavar="PART")
        parser.add_argument("--fresh", action="store_true", help="fill the store again")

    options = harness.arguments(description, more)
    wanted = set(options.only or _PARTS)
    load = [os.getloadavg()[0]]
    with world(quick=options.quick, fresh=options.fresh) as found:
        rows = _measured(found, wanted, options.rounds, quick=options.quick)
    load.append(os.getloadavg()[0])
    rows.append(harness.Row(
        "load average of the machine", max(load), "", note=f"{load[0]:.1f} before, {load[1]:.1f} "
        "after: a figure by the clock means little where it exceeds the cores",
    ))  # fmt: skip
    harness.report("dashboard", rows, options.json, harness.packages("playwright", "uvicorn"))


def _measured(
    found: World, wanted: set[str], asked_rounds: int | None, *, quick: bool
) -> list[harness.Row]:
    rounds = asked_rounds or (2 if quick else 7)
    seconds = 20 if quick else 60
    rows: list[harness.Row] = []
    pages: dict[str, list[str]] = {}
    mixes: dict[str, list[list[Asked]]] = {}
    with browser() as window:
        if "first" in wanted:
            rows += first_rows(window, found, rounds)
        if "tasks" in wanted:
            rows += task_rows(window, found, seconds // 2)
        if "memory" in wanted:
            rows += memory_rows(window, found, quick=quick)
        if "answers" in wanted:
            for what, page in (
                (f"overview of {found.services} services, 24 h", "?from=-24h"),
                (f"service of {found.routes} routes, 24 h", f"{SERVICE}&from=-24h"),
            ):
                pages[what] = first_asked(window, found, page)
        if "open" in wanted:
            mixes = _recorded(window, found, seconds)
    # The browser is gone: only the collector, its agents and this process are left.
    rows += answer_rows(found, pages, rounds)
    if mixes:
        rows += open_rows(found, mixes, seconds, seconds)
    return rows


def _recorded(window: Browser, found: World, seconds: int) -> dict[str, list[list[Asked]]]:
    """Return what dashboards ask: all of them the overview, or half of them services."""
    harness.progress("recording what pages ask")
    addresses = ("", SERVICE, _OTHERS.format(1), _OTHERS.format(2))
    overview, *services = recorded(window, found, addresses, seconds)
    mixed = [each for service in services for each in (overview, service)]
    return {"the overview": [overview], "half of them pages of three services": mixed}
