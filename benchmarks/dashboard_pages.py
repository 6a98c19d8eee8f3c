"""The dashboard in a browser: how soon it is there, what it loads, whether it stutters or grows.

Chromium runs without a window. A script that runs before the page's own moves `Date` to the time of
the store, notes when the first chart was drawn and which tasks were long, and lets time that the
page waits pass faster: its timers only, so that every answer and every drawing is a real one.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from playwright.sync_api import (
    Browser,
    BrowserContext,
    CDPSession,
    Page,
    Request,
    sync_playwright,
)

import harness
from dashboard_world import ADMIN, BIG, PASSWORD, World
from trimtab_collector.api.pages import STATIC

__all__ = [
    "SERVICE",
    "Asked",
    "browser",
    "first_asked",
    "first_rows",
    "metrics",
    "opened",
    "recorded",
    "settled",
    "signed_in",
    "task_rows",
]

LOAD_KB: Final = 120
CHART_S: Final = 1.0
TASK_MS: Final = 50
_PROGRAMS: Final = (
    "chromium", "chromium-headless-shell", "chromium-browser", "google-chrome"
)  # fmt: skip
_FLAGS: Final = ["--no-sandbox", "--disable-dev-shm-usage", "--js-flags=--expose-gc"]
SERVICE: Final = f"service?environment=bench&service={BIG}"
_SCRIPT: Final = """
(() => {
  const ahead = %(ahead_ms)d, hurry = %(hurry)d, ticks = %(ticks)d;
  const Real = Date;
  class Shifted extends Real {
    constructor(...given) { if (given.length) super(...given); else super(Real.now() + ahead); }
    static now() { return Real.now() + ahead; }
  }
  window.Date = Shifted;
  // Pauses between two answers to one question, 10 or 30 s, and the second of the clock; not those
  // after which the live stream would believe that the collector is gone.
  const isHurried = (ms) =>
    (ms >= 8000 && ms <= 12000) || (ms >= 27000 && ms <= 33000) || (ticks && ms === 1000);
  if (hurry > 1) {
    for (const name of ["setTimeout", "setInterval"]) {
      const real = window[name];
      window[name] = (work, ms, ...more) => real(work, isHurried(ms) ? ms / hurry : ms, ...more);
    }
  }
  if (ticks) {
    // What comes each second comes as much oftener.
    const Socket = window.WebSocket;
    window.WebSocket = class extends Socket {
      set onmessage(heard) {
        super.onmessage = (event) => {
          heard(event);
          if (!String(event.data).startsWith('42["metrics:update"')) return;
          for (let at = 1; at < hurry; at++) setTimeout(() => heard(event), (at * 1000) / hurry);
        };
      }
    };
  }
  const bench = (window.bench = { long: [], chart: null });
  new PerformanceObserver((list) => {
    for (const each of list.getEntries()) bench.long.push([each.startTime, each.duration]);
  }).observe({ type: "longtask", buffered: true });
  const seen = new MutationObserver(() => {
    if (!document.querySelector(".uplot canvas")) return;
    seen.disconnect();
    // The frame after the one that draws it: it has been painted.
    requestAnimationFrame(() => requestAnimationFrame(() => (bench.chart = performance.now())));
  });
  seen.observe(document, { childList: true, subtree: true });
})();
"""


class Asked(NamedTuple):
    """A question that the page asked: when, in seconds, its path, how old an answer may be."""

    at_s: float
    target: str
    #: the header Cache-Control
    control: str


@contextmanager
def browser() -> Iterator[Browser]:
    """Run Chromium without a window; raises SystemExit when there is none."""
    if not (STATIC / "index.html").exists():
        raise SystemExit("dashboard: expected a built page, found none: ./dev setup builds it")
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise SystemExit("dashboard: expected Chromium, found none: apt install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        try:
            yield found
        finally:
            found.close()


@contextmanager
def signed_in(
    found: Browser, world: World, *, hurry: int = 1, ticks: bool = False
) -> Iterator[BrowserContext]:
    context = found.new_context(viewport={"width": 1440, "height": 1000}, locale="en-US")
    try:
        script = _SCRIPT % {
            "ahead_ms": world.ahead_s * 1000, "hurry": hurry, "ticks": ticks,
        }  # fmt: skip
        context.add_init_script(script)
        answer = context.request.post(
            f"{world.base}/api/performance/auth/login",
            data={"name": ADMIN, "password": PASSWORD, "cookie": True},
            headers={"X-Trimtab-Request": "1"},
        )
        if not answer.ok:
            raise SystemExit(f"dashboard: signing in answered {answer.status}: {answer.text()}")
        yield context
    finally:
        context.close()


def opened(page: Page, world: World, address: str) -> None:
    page.goto(f"{world.base}/performance/dashboard/{address}", timeout=60_000)
    _wait(page, "window.bench.chart !== null")


def settled(page: Page) -> None:
    _wait(page, "!document.querySelector('.loading, .answer.changing')")


def _wait(page: Page, expression: str) -> None:
    """Wait until an expression is true; Playwright's own way needs eval, which the page forbids."""
    deadline_s = time.monotonic() + 60
    while not page.evaluate(expression):
        if time.monotonic() > deadline_s:
            shown = page.locator("body").inner_text()[:300]
            raise SystemExit(f"dashboard: expected {expression} within a minute, got {shown!r}")
        page.wait_for_timeout(20)


def first_rows(found: Browser, world: World, rounds: int) -> list[harness.Row]:
    """Return what a browser that has nothing yet loads, and how soon it shows a chart."""
    loads = []
    for _ in range(rounds):
        with signed_in(found, world) as context:
            loads.append(_first(context, world))
    last = loads[-1]
    size_kb = statistics.median(sum(each.sizes.values()) for each in loads) / 1000
    answers_kb = sum(size for url, size in last.sizes.items() if "/api/" in url) / 1000
    most = sorted(last.sizes.items(), key=lambda each: -each[1])[:4]
    largest = ", ".join(f"{url.rpartition('/')[2][:40]} {size / 1000:.1f}" for url, size in most)
    chart = harness.spread([each.chart_s for each in loads])
    cpu = statistics.median(each.cpu_s for each in loads)
    return [
        harness.Row(
            "first load of the overview, nothing cached", size_kb, "kB", f"<= {LOAD_KB}",
            size_kb <= LOAD_KB,
            note=f"{answers_kb:.1f} kB of them are answers of the API about {world.services} "
            f"services; {len(last.sizes)} requests; the largest: {largest}",
        ),
        harness.Row(
            "first chart on screen, nothing cached", chart.median, "s", f"<= {CHART_S:g}",
            chart.median <= CHART_S, spread=chart,
            note=f"the page's thread worked {cpu:.2f} s of it",
        ),
    ]  # fmt: skip


class _Load(NamedTuple):
    sizes: dict[str, float]
    chart_s: float
    cpu_s: float


def _first(context: BrowserContext, world: World) -> _Load:
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    urls: dict[str, str] = {}
    sizes: dict[str, float] = {}
    session.on(
        "Network.requestWillBeSent",
        lambda event: urls.__setitem__(event["requestId"], event["request"]["url"]),
    )
    session.on(
        "Network.loadingFinished",
        lambda event: sizes.__setitem__(
            urls.get(event["requestId"], "?"), event["encodedDataLength"]
        ),
    )
    opened(page, world, "")
    cpu_s = metrics(session)["TaskDuration"]
    settled(page)
    return _Load(dict(sizes), page.evaluate("window.bench.chart") / 1000, cpu_s)


def metrics(session: CDPSession) -> dict[str, float]:
    return {
        each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]
    }


def task_rows(found: Browser, world: World, seconds: int) -> list[harness.Row]:
    """Return the longest task while the charts of a service's page update each second."""
    # What is asked every ten seconds is asked every second.
    with signed_in(found, world, hurry=10) as context:
        page = context.new_page()
        asked = 0

        def count(_request: object) -> None:
            nonlocal asked
            asked += 1

        page.on("request", count)
        opened(page, world, f"{SERVICE}&from=-5m")
        settled(page)
        page.wait_for_timeout(3000)
        charts = page.locator(".uplot").count()
        page.evaluate("window.bench.long = []")
        before, path = asked, Path(tempfile.mkdtemp()) / "trace.json"
        found.start_tracing(page=page, path=path, categories=["toplevel", "devtools.timeline"])
        page.wait_for_timeout(seconds * 1000)
        found.stop_tracing()
        long = [each[1] for each in page.evaluate("window.bench.long")]
    tasks, cpu_ms = _tasks(path)
    shutil.rmtree(path.parent)
    note = (
        f"{charts} charts, {(asked - before) / seconds:.1f} questions per second, {seconds} s; "
        f"{len(tasks)} tasks, the longest by CPU {', '.join(f'{each:.0f}' for each in tasks[:5])}; "
        f"the page's thread is busy {cpu_ms / 10 / seconds:.0f} % of a core"
    )
    goal = f"<= {TASK_MS}"
    wall = max(long, default=0.0)
    return [
        harness.Row("longest task, charts update each second, CPU", tasks[0], "ms", goal,
                    tasks[0] <= TASK_MS, note=note),
        harness.Row("longest task of the same, by the clock", wall, "ms", goal, wall <= TASK_MS,
                    note=f"{len(long)} longer than {TASK_MS} ms"),
    ]  # fmt: skip


def _tasks(path: Path) -> tuple[list[float], float]:
    """Return the CPU times (ms) of tasks of the page's thread, longest first; their sum."""
    events = json.loads(path.read_text())["traceEvents"]
    mains = {
        (each["pid"], each["tid"])
        for each in events
        if each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    found = [
        each["tdur"] / 1000
        for each in events
        if each["ph"] == "X" and "tdur" in each and each["name"].endswith("RunTask")
        and (each["pid"], each["tid"]) in mains
    ]  # fmt: skip
    if not found:
        raise SystemExit("dashboard: expected tasks of the page's main thread, the trace has none")
    return sorted(found, reverse=True), sum(found)


def recorded(
    found: Browser, world: World, addresses: Sequence[str], seconds: int
) -> list[list[Asked]]:
    """Return what open pages ask the API, after they have loaded, each by itself."""
    with ExitStack() as exits:
        pages = []
        for address in addresses:
            page = exits.enter_context(signed_in(found, world)).new_page()
            opened(page, world, address)
            settled(page)
            pages.append(page)
        begun_s = time.monotonic()
        noted = [_noted(page, world, begun_s) for page in pages]
        pages[0].wait_for_timeout(seconds * 1000)
        return [list(asked) for asked in noted]


def _noted(page: Page, world: World, begun_s: float) -> list[Asked]:
    """Return what a page asks from now on."""
    asked: list[Asked] = []

    def note(request: Request) -> None:
        target = request.url.removeprefix(world.base)
        if target.startswith("/api/") and "/auth/" not in target:
            control = request.headers.get("cache-control", "no-cache")
            asked.append(Asked(time.monotonic() - begun_s, target, control))

    page.on("request", note)
    return asked


def first_asked(found: Browser, world: World, address: str) -> list[str]:
    """Return what a page asks the API to be shown whole."""
    asked: list[str] = []
    with signed_in(found, world) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url.removeprefix(world.base)))
        opened(page, world, address)
        settled(page)
    return [
        each for each in dict.fromkeys(asked)
        if each.startswith("/api/performance/") and "/auth/" not in each
    ]  # fmt: skip
