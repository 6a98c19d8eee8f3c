"""What an app's own clients notice while its agent is frozen, absent, killed or slow.

One app under a fixed load; calm and faulty windows take turns, and each round's faulty window is
compared with the calm one of the same round. Two calm windows a round show what noise there is.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from faults_stack import (
    RATE,
    App,
    Loaded,
    Sizes,
    Stack,
    Watch,
    asgi_app,
    at_most,
    flood,
    hurry,
    load,
    metrics,
    pause,
    stack,
    unaccounted,
    wait_for,
)
from harness import Row, Spread, differences, interleave, progress, ratios, spread

__all__ = ["latency", "memory"]

CALM: Final = "calm"
AGAIN: Final = "calm again"
RATIO: Final = 1.05
FLOOR_MS: Final = 0.2
GROWTH_MB: Final = 8.0
_FROZEN_S: Final = 30.0
_WINDOW_S: Final = 4.5
#: a slow agent runs this long of each cycle
_RUNS_S, _RESTS_S = 0.05, 0.2


class Faults:
    """The windows of each kind, on one stack and app."""

    def __init__(self, one: Stack, app: App, sizes: Sizes) -> None:
        self.one = one
        self.app = app
        # Before its first request, so that all its threads are the same.
        self.hurried = hurry(app.pid)
        self.window_s = sizes.s(_WINDOW_S)
        self.frozen_s = max(1.0, _FROZEN_S / sizes.rounds) if not sizes.quick else 1.0
        self.sent = 0
        self.grown_mb = 0.0

    def calm(self) -> Loaded:
        """Nothing happens."""
        return self._load(self.window_s)

    def frozen(self) -> Loaded:
        """The agent stands still for the whole window."""
        self.one.agent.freeze()
        try:
            with Watch(self.app.pid) as watch:
                loaded = self._load(self.frozen_s)
        finally:
            self.one.agent.thaw()
        self.grown_mb = max(self.grown_mb, watch.grown_mb)
        self._back()
        return loaded

    def absent(self) -> Loaded:
        """There is no agent, and no socket."""
        self.one.agent.stop()
        try:
            return self._load(self.window_s)
        finally:
            self.one.agent.start()
            self._back()

    def killed(self) -> Loaded:
        """The agent is killed in the first part of the window and started again in the second."""

        def restart() -> None:
            pause(self.window_s * 0.2)
            self.one.agent.kill9()
            pause(self.window_s * 0.2)
            self.one.agent.start()

        with _meanwhile(restart):
            loaded = self._load(self.window_s)
        self._back()
        return loaded

    def slow(self) -> Loaded:
        """The agent gets a fifth of the time, in pieces."""
        over = threading.Event()

        def crawl() -> None:
            while not over.is_set():
                self.one.agent.freeze()
                over.wait(_RESTS_S)
                self.one.agent.thaw()
                over.wait(_RUNS_S)

        with _meanwhile(crawl):
            try:
                return self._load(self.window_s)
            finally:
                over.set()

    def _load(self, seconds: float) -> Loaded:
        loaded = load(self.app.port, seconds, hurried=self.hurried)
        self.sent += loaded.sent
        return loaded

    def _back(self) -> None:
        wait_for(lambda: metrics(self.one.agent).get("apps") == 1, "the app to be connected", 20)
        pause(0.5)


def latency(sizes: Sizes) -> list[Row]:
    """Return the rows of latency, of failed requests, of memory and of the accounting."""
    with stack() as one, asgi_app(one.directory, "shop", one.agent.socket) as app:
        app.start()
        faults = Faults(one, app, sizes)
        faults.calm()
        variants: dict[str, Callable[[], Loaded]] = {
            CALM: faults.calm,
            AGAIN: faults.calm,
            "frozen": faults.frozen,
            "absent": faults.absent,
            "killed": faults.killed,
            "slow": faults.slow,
        }
        results = interleave(variants, sizes.rounds, said="latency")
        accounting = unaccounted(
            "accounting after all of that: sent - counted - dropped - lost",
            one,
            "shop",
            faults.sent,
        )
    calm = results[CALM]
    rows = [_noise(calm, results[AGAIN], hurried=faults.hurried)]
    rows += [
        _tail(name, loaded, calm) for name, loaded in results.items() if name not in (CALM, AGAIN)
    ]
    failed = {name: sum(each.failed for each in loaded) for name, loaded in results.items()}
    total = sum(failed.values())
    note = f"of {faults.sent}; " + ", ".join(f"{name} {count}" for name, count in failed.items())
    rows.append(
        Row("failed requests in all windows", total, "requests", "0", total == 0, note=note)
    )
    rows.append(
        at_most(
            f"agent frozen, {RATE} requests/s: app memory grown", faults.grown_mb, GROWTH_MB, "MB"
        )
    )
    return [*rows, accounting]


def memory(sizes: Sizes) -> list[Row]:
    """Return the rows of memory when the app is flooded, the agent frozen or never there."""
    progress("memory: two apps are flooded, one with a frozen agent, one that never had any")
    with (
        stack() as one,
        asgi_app(one.directory, "flooded", one.agent.socket) as frozen,
        asgi_app(one.directory, "lonely", f"unix://{one.directory}/none.sock") as never,
    ):
        apps = (frozen.start(), never.start())
        warm = flood([app.port for app in apps], sizes.s(2.0))
        wait_for(lambda: metrics(one.agent).get("apps") == 1, "the app to be connected", 20)
        pause(1.0)
        one.agent.freeze()
        with Watch(frozen.pid) as with_agent, Watch(never.pid) as without:
            loads = flood([app.port for app in apps], sizes.s(20.0))
        one.agent.thaw()
        sent = {app.service: 0 for app in apps}
        for part in (warm, loads):
            for app, loaded in zip(apps, part, strict=True):
                sent[app.service] += loaded.sent
        accounting = unaccounted(
            "accounting after a flood with a frozen agent", one, "flooded", sent["flooded"]
        )
    failed = sum(each.failed for each in (*warm, *loads))
    note = f"{sum(each.sent for each in loads)} requests in both, {failed} failed"
    return [
        at_most(
            "flooded, agent frozen: app memory grown", with_agent.grown_mb, GROWTH_MB, "MB", note
        ),
        at_most("flooded, agent never there: app memory grown", without.grown_mb, GROWTH_MB, "MB"),
        accounting,
    ]


def _noise(calm: list[Loaded], again: list[Loaded], *, hurried: bool) -> Row:
    ratio, _, text = _compared(again, calm)
    how = "app and client at real-time priority" if hurried else "no real-time priority here"
    return Row(
        "noise: p99 of calm windows against other calm windows",
        ratio.median,
        "x",
        spread=ratio,
        note=f"{text}; {RATE} requests/s, open loop; {how}",
    )


def _tail(name: str, loaded: list[Loaded], calm: list[Loaded]) -> Row:
    ratio, more_ms, text = _compared(loaded, calm)
    return Row(
        f"agent {name}: app p99 against calm",
        ratio.median,
        "x",
        f"<= {RATIO} or +{FLOOR_MS} ms",
        ratio.median <= RATIO or more_ms <= FLOOR_MS,
        spread=ratio,
        note=text,
    )


def _compared(loaded: list[Loaded], calm: list[Loaded]) -> tuple[Spread, float, str]:
    ratio = ratios([each.p99_ms for each in loaded], [each.p99_ms for each in calm])
    more = differences([each.p99_ms for each in loaded], [each.p99_ms for each in calm])
    middle = ratios([each.p50_ms for each in loaded], [each.p50_ms for each in calm])
    base = spread([each.p99_ms for each in calm])
    return ratio, more.median, f"p99 {more.median:+.2f} ms on {base.median:.2f}; p50 x {middle}"


@contextmanager
def _meanwhile(action: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread beside the block; what it raises is raised at the end."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if errors:
        raise errors[0]
