"""A collector that is away for long costs resolution and no record, while the spool can merge."""

import socket
import time
import urllib.request
from pathlib import Path

from support.processes.servers import Agent, Collector, wait_for
from trimtab_core.frames import encode
from trimtab_core.messages import Hello, Routes
from trimtab_core.records import RECORD_SIZE

WINDOWS = 800
ROUTES = 120


def record(route: int, duration_us: int) -> bytes:
    head = route.to_bytes(2, "little") + b"\1\0" + (200).to_bytes(2, "little") + b"\0\0"
    return (head + duration_us.to_bytes(4, "little")).ljust(RECORD_SIZE, b"\0")


def feed(agent: Agent, first_s: int, number: int) -> int:
    """Send a record a route for each of many past windows, as an app that was cut off."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened:
        opened.settimeout(30)
        opened.connect(str(agent.socket_path))
        hello = Hello("test", "long", "", "host", 1, number.to_bytes(8, "big"))
        opened.sendall(encode(hello.frame()))
        routes = {n: f"/orders/{n}/of/{number}" for n in range(1, ROUTES + 1)}
        opened.sendall(encode(Routes(routes).frame()))
        sent = 0
        for window in range(WINDOWS):
            wall_us = (first_s + window * 10) * 1_000_000
            records = b"".join(record(n, 1000 + window * n) for n in routes)
            opened.sendall(encode(["samples", wall_us, 1, sent, {}, RECORD_SIZE, records]))
            sent += ROUTES
        opened.sendall(encode(["bye", sent, {}]))
        opened.shutdown(socket.SHUT_WR)
        while opened.recv(65536):
            pass
    return sent


def figure(agent: Agent, name: str) -> float:
    with urllib.request.urlopen(f"{agent.http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_hours_without_a_collector_cost_resolution_and_no_record(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        env = {"TRIMTAB_AGENT_SPOOL_MIB": "1", "TRIMTAB_AGENT_WINDOW_S": "10"}
        agent = Agent(tmp, collector.url, collector.new_key(), **env)
        collector.kill9()
        with agent.start():
            sent = 0
            start_s = int(time.time()) // 3600 * 3600 - 6 * 3600
            for part in range(2):
                sent += feed(agent, start_s + part * WINDOWS * 10, part)
                wait_for(
                    lambda sent=sent: (  # type: ignore[misc]
                        figure(agent, "trimtab_agent_samples_total") == sent
                        and figure(agent, "trimtab_agent_series ") == 0
                    ),
                    "all windows to be in the spool",
                    60,
                )
            assert figure(agent, "trimtab_agent_dropped_total") == 0
            assert agent.held() < WINDOWS
            collector.start()
            wait_for(lambda: agent.held() == 0, "the spool to be empty", 60)
            account = collector.api.accounting("long")
            assert (account["requests"], account["agentLost"]) == (sent, 0)
