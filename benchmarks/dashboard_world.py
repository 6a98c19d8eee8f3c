"""What the dashboard is measured on: a collector with a day of 200 services, and agents that write.

The store is filled once and kept; each run has a copy, whose collector has its clock set back to
the store's own time. Browsers get the same time, see `dashboard_pages`.
"""

import http.client
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import processes
import storage_stores
import storage_traffic
from storage_collector import Collector, collector
from storage_stores import Job, Made
from storage_traffic import Host, Service

__all__ = ["ADMIN", "BIG", "PASSWORD", "World", "world"]

ADMIN: Final = "ada"
PASSWORD: Final = "correct horse battery"
#: the service with many routes
BIG: Final = "shop"
_HOUR_S: Final = 3600
_STEP_S: Final = 10


@dataclass(frozen=True, slots=True)
class World:
    """A collector that runs; its time is the present one plus ahead_s."""

    collector: Collector
    ahead_s: float
    services: int
    routes: int

    @property
    def base(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.collector.port}"


@contextmanager
def world(*, quick: bool = False, fresh: bool = False) -> Iterator[World]:
    """Run a collector on a filled store while agents go on writing each ten seconds."""
    services, routes, hours = (20, 20, 2) if quick else (200, 200, 25)
    hosts = _hosts(services, routes)
    name = "dashboard-quick" if quick else "dashboard"
    made = storage_stores.kept(name, lambda now_s: _slices(hosts, now_s, hours), fresh=fresh)
    place = Path(tempfile.mkdtemp(prefix="dashboard-", dir=processes.CACHE))
    os.environ["TRIMTAB_COLLECTOR_ADMIN_NAME"] = ADMIN
    os.environ["TRIMTAB_COLLECTOR_ADMIN_PASSWORD"] = PASSWORD
    try:
        shutil.copytree(made.directory, place / "data")
        ahead_s = made.now_s - time.time()
        with (
            collector(place, place / "data", ahead_s=ahead_s) as server,
            _agents(server, hosts, made, ahead_s),
        ):
            yield World(server, ahead_s, services, routes)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _hosts(services: int, routes: int) -> list[Host]:
    others = tuple(Service(f"service-{place:03}", 2, 0.1) for place in range(1, services))
    big = Service(BIG, routes, 0.1, dependencies=True)
    return [Host("rack-a", others), Host("rack-b", others)] + [
        Host(f"shop-{place}", (big,)) for place in range(4)
    ]


def _slices(hosts: list[Host], now_s: int, hours: int) -> list[list[Job]]:
    end_s = now_s - now_s % _HOUR_S
    edges = [*range(end_s - hours * _HOUR_S, end_s, _HOUR_S), end_s, now_s]
    return [
        [Job(host, start_s, to_s, _STEP_S if start_s >= end_s - _HOUR_S else 60) for host in hosts]
        for start_s, to_s in pairwise(edges)
        if start_s < to_s
    ]


@contextmanager
def _agents(server: Collector, hosts: list[Host], made: Made, ahead_s: float) -> Iterator[None]:
    """Send a window of each host each ten seconds, two seconds after it has closed."""
    done = threading.Event()
    sending = threading.Thread(
        target=_send, args=(server, hosts, made.now_s, ahead_s, done), daemon=True
    )
    sending.start()
    try:
        yield
    finally:
        done.set()
        sending.join(20)


def _send(
    server: Collector, hosts: list[Host], from_s: int, ahead_s: float, done: threading.Event
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    window_s = from_s
    while True:
        due_s = window_s + _STEP_S + 2
        if done.wait(max(0.0, due_s - time.time() - ahead_s)):
            connection.close()
            return
        for host in hosts:
            for body in storage_traffic.batches(host, window_s, window_s + _STEP_S, _STEP_S):
                connection.request(
                    "POST", "/agent/v1/batches", body, {"Authorization": f"Bearer {server.key}"}
                )
                with connection.getresponse() as answer:
                    answer.read()
        window_s += _STEP_S
