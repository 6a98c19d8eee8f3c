"""The live stream: what clients cost that never read, and how soon an alert reaches others."""

import base64
import json
import os
import secrets
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import quantiles
from typing import Final

import harness
from processes import ROOT, rss_mb

sys.path.append(str(ROOT / "tests"))
from support.alerts import an_alert
from support.processes.api import TOKEN
from support.processes.livestream import live_server
from support.processes.nodeclient import node_client
from support.processes.servers import Collector, short_dir
from support.stores.batches import Sender, a_batch, key_of, point_of
from trimtab_collector.api.live.sessions import LiveLimits
from trimtab_core.batches import GaugeRow

__all__ = ["alert_rows", "deaf_rows"]

DEAF_MB: Final = 50.0
ALERT_S: Final = 1.0
_CLIENTS: Final = 50
_HOSTS: Final = 40
_GAUGES: Final = 30


class Deaf:
    """A WebSocket that subscribes to metrics and reads nothing of what comes."""

    def __init__(self, port: int, chosen: str) -> None:
        self._socket = socket.socket()
        # Small, so that what is sent waits in the collector and not here.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect(("127.0.0.1", port))
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self._socket.sendall(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self._socket.recv(64)
        self._say("40" + json.dumps({"token": TOKEN}))
        for event in ("subscribe:metrics", "subscribe:alerts"):
            self._say("42" + json.dumps([event, {"service": chosen} if chosen else {}]))

    def _say(self, text: str) -> None:
        data, mask = text.encode(), os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self._socket.sendall(bytes([0x81, 0x80 | len(data)]) + mask + masked)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def deaf_rows(*, quick: bool = False) -> list[harness.Row]:
    """Return what 50 clients that never read cost the collector in memory at most."""
    with short_dir() as directory, Collector(directory) as collector, ExitStack() as exits:
        collector.start()
        sender = exits.enter_context(Sender(collector.port, collector.new_key()))
        _feed(sender, 0)
        reader = exits.enter_context(node_client())
        reader.connect(collector.url, TOKEN, "websocket")
        reader.emit("subscribe:metrics")
        size = len(json.dumps(reader.wait("metrics:update", 5)["data"]))
        before = rss_mb(collector.pid)
        harness.progress(f"{_CLIENTS} clients that never read, {size / 1000:.0f} kB each second")
        for number in range(_CLIENTS):
            # Half of them share a filter, the others have one each: texts are not all shared.
            chosen = f"service-{number}" if number % 2 else ""
            exits.callback(Deaf(collector.port, chosen).close)
        most, dropped, begun = before, 0, time.monotonic()
        rounds = 0
        while dropped < _CLIENTS and time.monotonic() - begun < (15 if quick else 90):
            rounds += 1
            _feed(sender, rounds)
            most = max(most, rss_mb(collector.pid))
            dropped = _CLIENTS + 1 - collector.api.get("/health")["live"]["connections"]
            time.sleep(0.2)
        took_s = time.monotonic() - begun
        heard = len(reader.all("metrics:update"))
        note = (
            f"{dropped} of them were cut off after {took_s:.0f} s; the one that reads got {heard} "
            f"updates of {size / 1000:.0f} kB"
        )
        cost = most - before
        goal = f"<= {DEAF_MB:g}"
        what = f"{_CLIENTS} clients that never read"
        return [harness.Row(what, cost, "MB", goal, cost <= DEAF_MB, note=note)]


def alert_rows(*, quick: bool = False) -> list[harness.Row]:
    """Return how long an alert takes from its transition to npm clients."""
    count = 40 if quick else 400
    with live_server(LiveLimits()) as server, ExitStack() as exits:
        readers = [exits.enter_context(node_client()) for _ in range(4)]
        for each in readers:
            each.connect(server.url, "planner", "websocket")
            each.emit("subscribe:alerts")
            each.emit("subscribe:metrics")
        took_s = []
        for number in range(count):
            sent_s = time.time()
            server.live.alerts([an_alert(str(number))])
            for each in readers:
                told = each.wait("alert:new", number + 1)
                took_s.append(max(0.0, told["at"] / 1000 - sent_s))
        p99 = quantiles(took_s, n=100)[98]
        note = (
            f"{count} alerts to {len(readers)} npm clients; the longest {max(took_s) * 1000:.0f} ms"
        )
        what = "transition to Socket.IO client, p99"
        return [harness.Row(what, p99, "s", f"<= {ALERT_S:g}", p99 <= ALERT_S, note=note)]


def _feed(sender: Sender, number: int) -> None:
    """Send what makes updates large: many hosts and processes with many gauges."""
    gauges = [
        GaugeRow("test", "shop", f"host-{host}#0", f"gauge.number.{name}", number + host / 7)
        for host in range(_HOSTS)
        for name in range(_GAUGES)
    ]
    points = {key_of("/"): point_of([1_000 + number])}
    sender.insist(a_batch(number, points, gauges=gauges, agent=f"agent-{Path(__file__).stem}"))
