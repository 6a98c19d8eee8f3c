"""What an app does without its agent: start, stay idle, keep quiet, and find it when it is back."""

import math
import time
from collections.abc import Callable
from typing import Final

from faults_stack import (
    App,
    Emitters,
    Proc,
    Sizes,
    Stack,
    asgi_app,
    at_most,
    load,
    metrics,
    pause,
    stack,
    unaccounted,
    wait_for,
)
from harness import Row, differences, interleave, progress
from processes import cpu_s
from support.processes.servers import accepts

__all__ = ["apps"]

START_MS: Final = 50.0
CPU_PERCENT: Final = 1.0
RECONNECT_S: Final = 2.0
_AWAY_S: Final = 5.0
_IDLE_S: Final = 10.0
_EMITTERS: Final = 20
_MINUTE_S: Final = 60.0
_BARE: Final = "without trimtab"
_PRESENT: Final = "agent there"
_ABSENT: Final = "agent absent"


def apps(sizes: Sizes) -> list[Row]:
    """Return the rows of start, idle CPU, log lines and reconnecting."""
    with stack() as one, _app(one, _ABSENT, "quiet") as quiet:
        begun = time.monotonic()
        quiet.start()
        load(quiet.port, 1.0)
        rows = [_starts(one, sizes), _idle(one, quiet, sizes), *_reconnects(one, sizes)]
        pause(max(0.0, sizes.s(_MINUTE_S + 3) - (time.monotonic() - begun)))
        lived_s = time.monotonic() - begun
        lines = quiet.output().count("no agent at")
        others = len(quiet.output().splitlines()) - lines
    minutes = math.ceil(lived_s / _MINUTE_S)
    note = f"{lines} lines in {lived_s:.0f} s, and {others} other lines"
    rows.insert(
        2, at_most("agent never there: log lines of the app", lines / minutes, 1, "1/min", note)
    )
    return rows


def _app(one: Stack, kind: str, service: str) -> App:
    agent = f"unix://{one.directory}/none.sock" if kind == _ABSENT else one.agent.socket
    return asgi_app(one.directory, service, agent, bare=kind == _BARE)


def _starts(one: Stack, sizes: Sizes) -> Row:
    def start(kind: str) -> Callable[[], float]:
        def started() -> float:
            with _app(one, kind, "starting") as app:
                begun = time.monotonic()
                # Not App.start, which looks at the port every 20 ms.
                Proc.start(app)
                while not accepts(app.port):
                    if not app.alive:
                        raise RuntimeError(f"expected an app that starts:\n{app.tail()}")
                    time.sleep(0.001)
                return (time.monotonic() - begun) * 1e3

        return started

    variants = {kind: start(kind) for kind in (_BARE, _PRESENT, _ABSENT)}
    results = interleave(variants, sizes.rounds + 2, said="start of an app")
    more = differences(results[_ABSENT], results[_PRESENT])
    over_bare = differences(results[_ABSENT], results[_BARE])
    return Row(
        "agent absent: start of an app, more than with one",
        more.median,
        "ms",
        f"<= {START_MS:g}",
        more.median <= START_MS,
        spread=more,
        note=f"{over_bare} ms more than without trimtab at all",
    )


def _idle(one: Stack, absent: App, sizes: Sizes) -> Row:
    progress("CPU of apps that wait")
    with _app(one, _BARE, "bare") as bare, _app(one, _PRESENT, "present") as present:
        waiting = {_BARE: bare.start(), _PRESENT: present.start(), _ABSENT: absent}
        for app in (bare, present):
            load(app.port, 1.0)
        pause(1.0)
        before = {kind: cpu_s(app.pid) for kind, app in waiting.items()}
        begun = time.monotonic()
        pause(sizes.s(_IDLE_S))
        lasted = time.monotonic() - begun
        percent = {
            kind: (cpu_s(app.pid) - before[kind]) / lasted * 100 for kind, app in waiting.items()
        }
    more = percent[_ABSENT] - percent[_BARE]
    return Row(
        "agent absent: CPU of an idle app, more than without trimtab",
        more,
        "% core",
        f"<= {CPU_PERCENT:g}",
        more <= CPU_PERCENT,
        {_PRESENT: percent[_PRESENT] - percent[_BARE]},
    )


def _reconnects(one: Stack, sizes: Sizes) -> list[Row]:
    took: list[float] = []
    rounds = max(2, sizes.rounds - 2)
    with (
        _app(one, _PRESENT, "back") as app,
        Emitters(one.agent.socket, "back", _EMITTERS, rate=5) as emitters,
    ):
        sent = load(app.start().port, 1.0).sent
        _all_there(one)
        for index in range(rounds):
            progress(f"agent killed, back after {_AWAY_S:g} s: round {index + 1} of {rounds}")
            one.agent.kill9()
            pause(sizes.s(_AWAY_S))
            one.agent.start()
            begun = time.monotonic()
            _all_there(one)
            took.append(time.monotonic() - begun)
        sent += emitters.stop()["recorded"]
        app.stop()
        accounting = unaccounted("agent killed: accounting of its apps", one, "back", sent)
    note = f"the last of {_EMITTERS + 1} apps in each of {rounds} rounds: " + ", ".join(
        f"{seconds:.2f}" for seconds in took
    )
    return [
        at_most("agent killed, back after 5 s: apps connected", max(took), RECONNECT_S, "s", note),
        accounting,
    ]


def _all_there(one: Stack) -> None:
    wait_for(
        lambda: metrics(one.agent).get("apps", 0) >= _EMITTERS + 1, "all apps to be connected", 30
    )
