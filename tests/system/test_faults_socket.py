"""Faults between apps and their agent: frames in pieces, apps without number, a frozen agent."""

import itertools
import os
import re
import select
import socket
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.processes.drive import Measured, call_wsgi
from support.processes.servers import Agent, Collector, wait_for
from support.processes.stack import stack
from trimtab import WSGIMiddleware
from trimtab.connection import Connections
from trimtab.emitter import Emitter
from trimtab.events import EventQueue
from trimtab.metrics.measures import Measures
from trimtab.pending import Pending
from trimtab.recorder import Recorder
from trimtab.routes import RouteTable
from trimtab.runtime import runtime_for
from trimtab.settings import read_settings
from trimtab_core.config import parse_address
from trimtab_core.frames import FrameReader, encode
from trimtab_core.messages import Hello, Routes, Samples, Welcome, parse
from trimtab_core.records import Record, pack

_numbers = itertools.count(1)


def answer(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"ok"]


def new_hello(service: str) -> Hello:
    return Hello("test", service, "", "host", 1, os.urandom(8))


def samples(first: int, count: int, route: int = 0) -> list[object]:
    data = pack(Record(route, 1, 0, 200, 1000)) * count
    return Samples(time.time_ns() // 1000, 0, first, {}, 48, data).frame()


class Raw:
    """An app's end of a connection, made by hand: hello is said, the welcome awaited."""

    def __init__(self, agent: Agent, service: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(10)
        self.socket.connect(str(agent.socket_path))
        self.socket.sendall(encode(new_hello(service).frame()))
        (frame,) = FrameReader().feed(self.socket.recv(4096))
        assert isinstance(parse(frame), Welcome)

    def send(self, message: list[object]) -> None:
        self.socket.sendall(encode(message))

    def close(self) -> None:
        self.socket.close()


def new_emitter(address: str, service: str) -> tuple[Recorder, Emitter]:
    recorder = Recorder(1 << 20, RouteTable())
    hello = new_hello(service)
    emitter = Emitter(
        recorder,
        parse_address(address),
        lambda sent, worker: Hello(
            hello.environment, hello.service, "", hello.host, 1, hello.process, sent, worker
        ),
        None,
        connections=Connections(),
        pending=Pending(Measures(), EventQueue()),
        interval_s=0.02,
        backlog_bytes=1 << 20,
        peer_uids=frozenset({os.getuid()}),
    )
    return recorder, emitter


def record(recorder: Recorder, count: int) -> None:
    for _ in range(count):
        recorder.append(recorder.routes.id_of("/cut"), 1, 0, 200, 1000, 1000, 0, 10, None)


def metrics(agent: Agent) -> str:
    with urllib.request.urlopen(f"{agent.http}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def refused(agent: Agent) -> dict[str, int]:
    found = re.findall(r'frames_refused_total\{reason="(\w+)"\} (\d+)', metrics(agent))
    return {reason: int(count) for reason, count in found}


# ---------------------------------------------------------------- frames in pieces


class Proxy:
    """Stands between apps and an agent; the next connection is cut after `cut` bytes, if any."""

    def __init__(self, folder: Path, agent: Path) -> None:
        path = folder / f"p{next(_numbers)}.sock"
        self.address = f"unix://{path}"
        self.cut: int | None = None
        #: bytes that apps have sent, and connections that were cut, both ends of which are closed
        self.passed = self.cuts = 0
        self._agent = agent
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._stop.close()
        self._thread.join(10)
        self._listener.close()
        self._stopped.close()

    def _run(self) -> None:
        while True:
            if self._stopped in select.select([self._listener, self._stopped], [], [])[0]:
                return
            app, _ = self._listener.accept()
            left, self.cut = self.cut, None
            with app, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
                agent.connect(str(self._agent))
                with suppress(OSError):
                    self._pass(app, agent, left)
            if left is not None:
                self.cuts += 1

    def _pass(self, app: socket.socket, agent: socket.socket, left: int | None) -> None:
        while left is None or left > 0:
            ready, _, _ = select.select([app, agent, self._stopped], [], [])
            for end in ready:
                data = end.recv(65536 if left is None or end is agent else left)
                if not data:
                    return
                if end is agent:
                    app.sendall(data)
                    continue
                agent.sendall(data)
                self.passed += len(data)
                left = None if left is None else left - len(data)


def cut_at(proxy: Proxy, offset: int | None, service: str) -> int:
    """Send 2 records over a connection that is cut, then 1 more; return the bytes of the first."""
    recorder, emitter = new_emitter(proxy.address, service)
    proxy.cut, proxy.passed, proxy.cuts = offset, 0, 0
    record(recorder, 2)
    emitter.start()
    if offset is not None:
        # What is written before both ends are closed would be lost with the farewell, unbooked.
        wait_for(lambda: proxy.cuts == 1, "the cut", 20)
    else:
        wait_for(lambda: proxy.passed > 200, "the first frames", 20)
    whole = proxy.passed
    record(recorder, 1)
    wait_for(lambda: emitter.accounting == {"sent": 3, "held": 0, "dropped": 0}, "all sent", 20)
    emitter.stop(20)
    return whole


def test_a_connection_cut_at_any_byte_loses_one_frame_at_most_and_all_is_booked(tmp: Path) -> None:
    with stack(tmp) as system, ExitStack() as exits:
        proxies = [
            exits.enter_context(closing(Proxy(tmp, system.agent.socket_path))) for _ in range(24)
        ]
        whole = cut_at(proxies[0], None, "cut")
        assert whole > 200
        agent = psutil.Process(system.agent.pid)
        wait_for(lambda: "apps 0" in metrics(system.agent), "the first app to leave")
        files = agent.num_fds()
        offsets = iter(range(whole))
        guard = threading.Lock()

        def work(proxy: Proxy) -> None:
            while True:
                with guard:
                    offset = next(offsets, None)
                if offset is None:
                    return
                cut_at(proxy, offset, "cut")

        with ThreadPoolExecutor(len(proxies)) as threads:
            list(threads.map(work, proxies))
        sent = 3 * (whole + 1)
        system.wait_booked("cut", sent)
        account = system.collector.api.accounting("cut")
        assert account["requests"] + account["agentLost"] == sent, account
        assert account["dropped"] == {}
        # Of a connection that was cut, the two records of its only frame at most.
        assert account["agentLost"] <= 2 * whole
        assert refused(system.agent) == {}
        # A file of the spool and a connection to the collector may have come meanwhile.
        wait_for(lambda: agent.num_fds() <= files + 4, "the agent's descriptors to be closed")


def test_frames_that_come_byte_by_byte_are_all_counted(tmp: Path) -> None:
    with stack(tmp) as system, closing(Raw(system.agent, "bytes")) as raw:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        frames = [Routes({1: "/bytes"}).frame()] + [samples(10 * n, 10, 1) for n in range(6)]
        for byte in b"".join(map(encode, frames)):
            raw.socket.send(bytes([byte]))
        system.wait_booked("bytes", 60)
        account = system.collector.api.accounting("bytes")
        assert (account["requests"], account["agentLost"]) == (60, 0)


# ---------------------------------------------------------------- too many of something

#: Runs the command of its arguments with at most 64 open files.
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Client:
    """A client that connects, says hello, sends a record, and connects again when it is closed."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._hello = encode(new_hello("storm").frame())
        self.socket: socket.socket | None = None

    def turn(self) -> None:
        try:
            if self.socket is None:
                self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self.socket.settimeout(0.2)
                self.socket.connect(str(self._agent.socket_path))
                self.socket.sendall(self._hello + encode(samples(0, 1)))
                self.socket.setblocking(False)
            elif not self.socket.recv(4096):
                self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


@pytest.mark.alone
def test_three_hundred_apps_at_an_agent_with_64_files_neither_stop_nor_heat_it(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        agent = Agent(tmp, collector.url, collector.new_key())
        agent.command = [sys.executable, "-c", LIMITED, *agent.command]
        with agent.start(), ExitStack() as exits:
            clients = [exits.enter_context(closing(Client(agent))) for _ in range(300)]
            process = psutil.Process(agent.pid)
            began, cpu = time.monotonic(), sum(process.cpu_times()[:2])
            never = threading.Event()
            while time.monotonic() < began + 2:
                for client in clients:
                    client.turn()
                never.wait(0.25)
            # The scrape is answered in the middle of it.
            wait_for(lambda: refused(agent).get("too_many", 0) > 200, "200 to be refused")
            assert sum(process.cpu_times()[:2]) - cpu < (time.monotonic() - began) / 2
            for client in clients:
                client.close()
            with closing(Raw(agent, "after")) as raw:
                raw.send(samples(0, 5))
                wait_for(lambda: collector.api.booked("after") == 5, "records afterwards", 20)
            said = [line for line in agent.output().splitlines() if " INFO " not in line]
            assert len([line for line in said if "may open 64 files" in line]) == 1
            assert len(said) < 10, said


def test_the_app_that_is_one_too_many_waits_and_the_others_go_on(tmp: Path) -> None:
    with (
        stack(tmp, TRIMTAB_AGENT_MAX_APPS="2") as system,
        closing(Raw(system.agent, "first")) as first,
        closing(Raw(system.agent, "second")) as second,
    ):
        recorder, emitter = new_emitter(system.agent.socket, "third")
        record(recorder, 10)
        emitter.start()
        wait_for(lambda: refused(system.agent).get("too_many", 0) >= 2, "it to be refused", 10)
        assert emitter.accounting == {"sent": 0, "held": 10, "dropped": 0}
        first.send(samples(0, 3))
        second.send(samples(0, 4))
        system.wait_booked("first", 3)
        system.wait_booked("second", 4)
        first.close()
        wait_for(lambda: emitter.accounting["sent"] == 10, "its turn", 10)
        emitter.stop(5)
        system.wait_booked("third", 10)
        account = system.collector.api.accounting("third")
        assert (account["requests"], account["agentLost"]) == (10, 0)
        assert set(refused(system.agent)) == {"too_many"}
        assert system.agent.output().count("reason=too_many") == 1


def test_an_agent_frozen_for_longer_than_the_backlog_lasts_books_what_was_dropped(
    tmp: Path, measured: Measured
) -> None:
    with stack(tmp) as system:
        settings = measured.settings(
            agent=system.agent.socket, service="shop", backlog_kib=64, buffer_kib=64
        )
        # WSGI: no work after a request, whose records would be among those that are dropped.
        app = WSGIMiddleware(answer, **settings)
        recorder = runtime_for(read_settings(**settings)).recorder

        def serve(count: int) -> None:
            for _ in range(count):
                call_wsgi(app)
            wait_for(lambda: not recorder.buffer, "the emitter to take them", 20)

        serve(200)
        system.wait_booked("shop", 200)
        system.agent.freeze()
        for _ in range(14):
            serve(1000)
        system.agent.thaw()
        serve(50)
        system.wait_booked("shop", 14_250, 30)
        account = system.collector.api.accounting("shop")
        assert account["agentLost"] == 0
        assert set(account["dropped"]) == {"agent_away"}
        assert account["requests"] + account["dropped"]["agent_away"] == 14_250
