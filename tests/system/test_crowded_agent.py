"""An agent with few open files among connections that say nothing, at each of its doors."""

import socket
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from support.processes.servers import Agent, Collector, free_port, wait_for
from support.processes.stack import connected
from trimtab_core.frames import encode
from trimtab_core.messages import Hello, Routes
from trimtab_core.records import RECORD_SIZE

#: Runs the command of its arguments with at most 256 open files.
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
os.execvp(sys.argv[1], sys.argv[1:])
"""
RECORD = b"\1\0\1\0" + (200).to_bytes(2, "little") + b"\0\0" + b"\1\1\0\0"


def test_silent_connections_at_every_door_keep_neither_apps_nor_health_checks_out(
    tmp: Path,
) -> None:
    port = free_port()
    with Collector(tmp).start() as collector, ExitStack() as exits:
        tcp = f"tcp://127.0.0.1:{port}"
        agent = Agent(tmp, collector.url, collector.new_key(), TRIMTAB_AGENT_TCP=tcp)
        agent.command = [sys.executable, "-c", LIMITED, *agent.command]
        exits.enter_context(agent.start())
        for _ in range(100):
            for door in (port, agent.http_port):
                silent = socket.create_connection(("127.0.0.1", door), timeout=5)
                exits.enter_context(silent)
            exits.enter_context(connected(agent))
        # Places that time out after some seconds must not be waited for.
        with urllib.request.urlopen(f"{agent.http}/healthz", timeout=3) as answer:
            assert answer.status == 200
        app = exits.enter_context(connected(agent))
        app.settimeout(3)
        app.sendall(encode(Hello("test", "shop", "", "host", 1, b"process1").frame()))
        assert app.recv(100)
        records = RECORD.ljust(RECORD_SIZE, b"\0") * 5
        now_us = int(time.time() * 1e6)
        app.sendall(encode(Routes({1: "/a"}).frame()))
        app.sendall(encode(["samples", now_us, 1, 0, {}, RECORD_SIZE, records]))
        wait_for(lambda: collector.api.booked("shop") == 5, "the app's records", 20)
        assert "out of system resource" not in agent.output()
