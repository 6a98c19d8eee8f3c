"""Many emitters of the app side in one process: to an agent, each is an app process of its own.

    python emitters.py SOCKET SERVICE COUNT ROUTES RATE

Each records RATE requests a second, spread over ROUTES routes, and sends them as any app does, with
the same reconnecting. Says {} when all have started; then answers each line on stdin with a line of
JSON: `accounting` and `quiet` with the sums of records {"recorded", "sent", "held", "dropped"} and
the number of emitters "linked" now; `stop` with the same, after all have sent what they had.
"""

import json
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Mapping

from trimtab.connection import Connections
from trimtab.emitter import Emitter
from trimtab.events import EventQueue
from trimtab.metrics.measures import Measures
from trimtab.pending import Pending
from trimtab.recorder import Recorder
from trimtab.routes import RouteTable
from trimtab_core.config import parse_address
from trimtab_core.messages import Hello


class One:
    """One emitter and its recorder."""

    def __init__(self, address: str, service: str) -> None:
        self.recorder = Recorder(2 << 20, RouteTable())
        self.process = os.urandom(8)
        self.service = service
        self.recorded = 0
        self.emitter = Emitter(
            self.recorder,
            parse_address(address),
            self.hello,
            self.gauges,
            connections=Connections(),
            pending=Pending(Measures(), EventQueue()),
            interval_s=0.25,
            backlog_bytes=4 << 20,
            peer_uids=frozenset({0, os.getuid()}),
        )

    def hello(self, sent: int, worker: int) -> Hello:
        host = socket.gethostname()
        return Hello("bench", self.service, "1", host, os.getpid(), self.process, sent, worker)

    def gauges(self) -> Mapping[str, float]:
        return {"http.server.active_requests": 0.0}

    def record(self, routes: list[int], count: int) -> None:
        for _ in range(count):
            duration_ns = int(random.lognormvariate(9.2, 1.0)) * 1000
            route = random.choice(routes)
            self.recorder.append(route, 1, 0, 200, duration_ns, duration_ns, -1, 100, None)
        self.recorded += count


def record(ones: list[One], routes: list[int], rate: float, quiet: threading.Event) -> None:
    """Record in twentieths of a second, so that no emitter waits for a whole one."""
    parts, turn, told = 20, 0, 0.0
    begin = time.monotonic()
    while not quiet.is_set():
        told += rate / parts * len(ones)
        for _ in range(int(told)):
            ones[turn % len(ones)].record(routes, 1)
            turn += 1
        told -= int(told)
        begin += 1 / parts
        quiet.wait(max(0.0, begin - time.monotonic()))


def accounting(ones: list[One]) -> dict[str, int]:
    """Return the sums."""
    sums = {"recorded": sum(one.recorded for one in ones), "sent": 0, "held": 0, "dropped": 0}
    for one in ones:
        for name, value in one.emitter.accounts.items():
            sums[name] += value
    # A look that any thread may take: whether there is a connection.
    sums["linked"] = sum(one.emitter._link is not None for one in ones)
    return sums


def main() -> None:
    """Run until stop, or until stdin ends."""
    address, service, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    ones = [One(address, service) for _ in range(count)]
    table = ones[0].recorder.routes
    routes = [table.id_of(f"/route{number}/{{id}}") for number in range(int(sys.argv[4]))]
    for one in ones:
        one.emitter.start()
    quiet = threading.Event()
    recording = threading.Thread(
        target=record, args=(ones, routes, float(sys.argv[5]), quiet), daemon=True
    )
    recording.start()
    print("{}", flush=True)
    for line in sys.stdin:
        word = line.strip()
        if word in ("quiet", "stop"):
            quiet.set()
            recording.join()
        if word == "stop":
            # One deadline for all: those that have no connection would each wait their own.
            deadline = time.monotonic() + 5.0
            for one in ones:
                one.emitter.flush(max(0.0, deadline - time.monotonic()))
            for one in ones:
                one.emitter.stop(max(0.0, deadline + 1.0 - time.monotonic()))
        print(json.dumps(accounting(ones)), flush=True)
        if word == "stop":
            return


if __name__ == "__main__":
    main()
