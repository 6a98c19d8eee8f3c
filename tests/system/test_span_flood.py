"""An app that has kept a lot, or says so, keeps windows of others neither open nor incomplete."""

import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from support.processes.servers import wait_for
from support.processes.stack import Stack, connected, stack
from trimtab_core.deltas import Deltas, MeasureNames
from trimtab_core.frames import encode
from trimtab_core.measures import COUNTER, Delta, MeasureKey
from trimtab_core.messages import Hello

#: Each is to be shared among 60 windows: three million rows in all.
SPANS = 10
MEASURES = 5000
SPAN_US = 3_600_000_000


class Peer:
    """An app on the socket of an agent that measures, and reads nothing."""

    def __init__(self, exits: ExitStack, system: Stack, service: str, names: Sequence[str]) -> None:
        self._socket = exits.enter_context(connected(system.agent))
        self._socket.settimeout(60)
        self.send(Hello("test", service, "1", "host", 1, os.urandom(8)).frame())
        for first in range(0, len(names), 2500):
            some = enumerate(names[first : first + 2500], first + 1)
            self.send(MeasureNames({n: MeasureKey(name, COUNTER) for n, name in some}).frame())

    def send(self, frame: list[Any]) -> None:
        self._socket.sendall(encode(frame))

    def hang_up(self) -> None:
        """Wait until the agent has read all."""
        self._socket.shutdown(socket.SHUT_WR)
        while self._socket.recv(4096):
            pass

    def count(self, numbers: range, end_us: int, span_us: int) -> None:
        deltas = [(number, Delta(60, 60.0, 1.0, 1.0, 1.0)) for number in numbers]
        self.send(Deltas(deltas, end_us, 0, span_us).frame())


def orders(system: Stack) -> float:
    """Return what the collector knows of the orders of the good app."""
    metrics = system.collector.api.get("/custom", from_="-2h", service="good")["metrics"]
    return float(sum(each["sum"] for each in metrics))


def now_us() -> int:
    return time.time_ns() // 1000


def test_a_flood_of_spans_keeps_no_window_of_others_open_and_costs_them_no_number(
    tmp: Path,
) -> None:
    with stack(tmp) as system, ExitStack() as exits:
        good = Peer(exits, system, "good", ["orders"])
        flood = Peer(exits, system, "flood", [f"m{number}" for number in range(MEASURES)])
        for back in range(SPANS):
            for first in range(1, MEASURES, 2500):
                end_us = now_us() - back * 11_000_000
                flood.count(range(first, first + 2500), end_us, SPAN_US)
        # A backlog of the other app, behind those; and what it counts now.
        good.count(range(1, 2), now_us() - 60_000_000, SPAN_US // 60)

        wait_for(lambda: orders(system) == 60, "what the other app has kept", 20)
        for turn in range(2, 5):
            good.count(range(1, 2), now_us(), 1_000_000)
            wait_for(lambda turn=turn: orders(system) == 60 * turn, "what it counts", 20)  # type: ignore[misc]
        assert system.agent.metric("trimtab_agent_measures_dropped_total") == 0
        system.agent.kill9()


def test_what_waits_to_be_shared_when_the_agent_ends_is_counted_by_the_next(tmp: Path) -> None:
    with stack(tmp) as system:
        with ExitStack() as exits:
            good = Peer(exits, system, "good", ["orders"])
            for back in range(60):
                good.count(range(1, 2), now_us() - back * 11_000_000, SPAN_US // 2)
            good.hang_up()
        assert system.agent.stop() == 0
        system.agent.start()
        wait_for(lambda: orders(system) == 60 * 60, "all that was counted", 60)
