"""A collector and an agent that are fuzzed, honest traffic beside it, and what must hold of both.

`World.check` raises AssertionError as soon as something does not hold, with what was sent last.
"""

import http.client
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil

from support.fuzzing.bodies import BatchFuzz, Body
from support.fuzzing.frames import FrameFuzz, Stream
from support.fuzzing.queries import QueryFuzz, reads
from support.processes.servers import Agent, Collector, Proc, wait_for
from support.processes.stack import connected
from support.stores.batches import Sender, a_batch, accounting_of, key_of, point_of
from trimtab_core.frames import FrameReader, encode
from trimtab_core.messages import Gauges, Hello, Routes, Samples, Welcome, parse
from trimtab_core.records import Record, pack

_T = TypeVar("_T")

__all__ = ["PARTS", "HonestAgent", "HonestApp", "World", "world"]

MIB = 2**20
#: memory that a process may gain while it is fuzzed
GROWTH = 64 * MIB
#: CPU that a process may take for one case whatever its size, and for each MiB of it, in seconds
CASE_S = 0.02
MIB_S = 1.0
#: what is sent at once to a process, at most
_PIECE = 64 * 1024
#: what the honest service is asked for, by parameter
_ASKED = {
    "service": "honest",
    "environment": "prod",
    "name": "process.uptime",
    "q": "honest",
}
_CORRUPT = ("Traceback (most recent call last)", "exception was never retrieved", "Fatal Python")


class HonestApp:
    """An app that keeps to the protocol, on one connection from beginning to end."""

    def __init__(self, agent: Agent, service: str = "honest") -> None:
        self.service = service
        #: records sent
        self.sent = 0
        self._end = connected(agent)
        self._end.sendall(encode(Hello("prod", service, "1", "h", 1, os.urandom(8)).frame()))
        (frame,) = FrameReader().feed(self._end.recv(4096))
        assert isinstance(parse(frame), Welcome)
        self._end.sendall(encode(Routes({1: "/honest/{id}"}).frame()))

    def send(self, count: int) -> None:
        """Send so many records, and what else an app sends each second."""
        now_us, data = time.time_ns() // 1_000, pack(Record(1, 1, 0, 200, 2_000)) * count
        mono_us = time.monotonic_ns() // 1_000
        self._end.sendall(encode(Samples(now_us, mono_us, self.sent, {}, 48, data).frame()))
        self.sent += count
        self._end.sendall(encode(Gauges(now_us, self.sent, {}, {"process.uptime": 1.0}).frame()))

    def close(self) -> None:
        """Hang up."""
        self._end.close()


class HonestAgent:
    """An agent with a key of its own that keeps to the protocol."""

    def __init__(self, port: int, key: str, service: str = "direct") -> None:
        self.service = service
        #: requests sent
        self.sent = 0
        self._boot, self._seq = os.urandom(8), 0
        self.sender = Sender(port, key, timeout_s=60)

    def send(self, count: int) -> None:
        """Send a batch of so many requests, again and again until it is taken."""
        first, self.sent = self.sent, self.sent + count
        points = {key_of("/direct", self.service, environment="prod"): point_of([2_000] * count)}
        own = accounting_of([(first, count)], self.sent, {}, b"direct-1", self.service)
        self._seq += 1
        self.sender.insist(
            a_batch(
                self._seq,
                points,
                agent="direct",
                boot=self._boot,
                processes=[own._replace(environment="prod")],
            )
        )


class World:
    """Fuzzes by parts, `PARTS`; the number of cases by kind and of answers by status are kept."""

    def __init__(self, collector: Collector, agent: Agent, seed: int, exits: ExitStack) -> None:
        self.collector, self.agent = collector, agent
        self.kinds: Counter[str] = Counter()
        self.answers: Counter[int] = Counter()
        #: bytes sent by cases
        self.sent_bytes = 0
        #: the most that a burst took of its bound of CPU, by process
        self.cpu_share: dict[str, float] = {}
        #: memory that processes have gained, in bytes
        self.grown: dict[str, int] = {}
        #: batches of the agent that the collector has refused for good
        self.quarantined = 0.0
        self._frames = FrameFuzz(seed)
        self._queries = QueryFuzz(seed)
        #: length of what each process had said at the last check
        self._heard: dict[str, int] = {}
        self._last: deque[str] = deque(maxlen=12)
        self._app = HonestApp(agent)
        exits.callback(self._app.close)
        self._direct = HonestAgent(collector.port, collector.new_key(services=["direct"]))
        keys = (collector.new_key(), collector.new_key(services=["fuzz-0", "fuzz-1"]))
        self._senders = [Sender(collector.port, key, timeout_s=60) for key in keys]
        self._bodies = [BatchFuzz(seed, name) for name in ("free", "scoped")]
        self._reader = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=60)
        exits.callback(self._reader.close)
        for each in (self._direct.sender, *self._senders):
            exits.callback(each.close)
        self._processes: Mapping[str, Proc] = {"collector": collector, "agent": agent}
        self._honest(20)
        self.settle()
        self._before = {name: _rss(each.pid) for name, each in self._processes.items()}

    # ------------------------------------------------------------ what is sent

    def frames(self, cases: int) -> None:
        """Send the agent so many streams, and wait until it has read and closed each."""
        waiting: list[socket.socket] = []
        try:
            for _ in range(cases):
                stream = self._frames.stream()
                self._note(stream.kind)
                waiting.append(self._sent(stream))
            for end in waiting:
                _drain(end)
        finally:
            for end in waiting:
                end.close()

    def batches(self, cases: int) -> None:
        """Send the collector so many bodies; each is answered as it may be."""
        for number in range(cases):
            body = self._bodies[number % 2].body()
            self._note(body.kind)
            self._post(self._senders[number % 2], body)

    def api(self, cases: int) -> None:
        """Ask the collector so many questions; each is answered as it may be."""
        for _ in range(cases):
            path = self._queries.path()
            self._note(f"GET {path:.300}")
            self.sent_bytes += len(path)
            status, found = again(partial(self._ask, path))
            self._judge(status, found, path)

    def _sent(self, stream: Stream) -> socket.socket:
        end = connected(self.agent)
        self.sent_bytes += len(stream.data)
        size = max(1, len(stream.data) // stream.pieces)
        try:
            for begin in range(0, len(stream.data), size):
                end.sendall(stream.data[begin : begin + size])
            end.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the agent has seen enough, and closed it
        return end

    def _post(self, sender: Sender, body: Body) -> None:
        sender.more = dict(body.headers)
        self.sent_bytes += len(body.data)
        try:
            status, answer = again(lambda: sender.post(body.data))
        except ValueError:
            return  # a header that the client itself refuses
        self.kinds[f"{body.kind} {status}"] += 1
        self._judge(status, sender.headers, f"{body.kind}: {answer!r:.300}")

    def _ask(self, path: str) -> tuple[int, Mapping[str, str]]:
        headers = {"Authorization": f"Bearer {self.collector.api.token}"}
        try:
            self._reader.request("GET", f"/api/performance{path}", headers=headers)
            with self._reader.getresponse() as answer:
                answer.read()
                return answer.status, {name.lower(): text for name, text in answer.getheaders()}
        except BaseException:
            self._reader.close()
            raise

    def _judge(self, status: int, headers: Mapping[str, str], what: str) -> None:
        self.answers[status] += 1
        later = status == 503 and "retry-after" in headers
        assert 200 <= status < 500 or later, f"answered {status}: {what}"

    def _note(self, kind: str) -> None:
        self.kinds[kind.partition(" /")[0]] += 1
        self._last.append(kind)

    # ------------------------------------------------------------ what must hold

    def burst(self, part: str, cases: int) -> None:
        """Fuzz a part and check that all holds; the AssertionError of what does not names cases.

        CPU is what the processes take for it, the honest traffic included.
        """
        used = {name: _cpu_s(each.pid) for name, each in self._processes.items()}
        sent = self.sent_bytes
        try:
            PARTS[part](self, cases)
            self.check()
        except (AssertionError, OSError, http.client.HTTPException) as error:
            last = "\n  ".join(self._last)
            raise AssertionError(f"{error}\nlast cases of {part}:\n  {last}") from error
        bound_s = 1 + cases * CASE_S + (self.sent_bytes - sent) / MIB * MIB_S
        for name, each in self._processes.items():
            spent = _cpu_s(each.pid) - used[name]
            self.cpu_share[name] = max(self.cpu_share.get(name, 0.0), spent / bound_s)
            assert spent <= bound_s, f"{name} took {spent:.1f} s of CPU for {cases} cases of {part}"

    def check(self) -> None:
        """Check that both processes are well, and take honest traffic as before."""
        for name, process in self._processes.items():
            assert process.alive, f"{name} has ended:\n{process.tail()}"
            grown = self.grown[name] = _rss(process.pid) - self._before[name]
            assert grown <= GROWTH, f"{name} has gained {grown / MIB:.0f} MiB"
            output = process.output()
            said, self._heard[name] = output[self._heard.get(name, 0) :], len(output)
            found = [text for text in _CORRUPT if text in said]
            assert not found, f"{name} says {found}:\n{_warnings(process)}"
        self._honest(3)
        status, body = self.collector.api.request("/health")
        assert status == 200, f"/health answered {status}: {body}"
        assert body["data"]["status"] == "healthy", _troubles(body["data"])
        quarantined = self.agent.metric("trimtab_agent_batches_quarantined_total")
        before, self.quarantined = self.quarantined, quarantined
        assert quarantined == before, f"the collector refuses batches:\n{_warnings(self.agent)}"

    def settle(self) -> None:
        """Check that honest traffic was counted exactly, and that every read answers."""
        api = self.collector.api
        for service, sent in (
            (self._app.service, self._app.sent),
            (self._direct.service, self._direct.sent),
        ):
            wait_for(lambda s=service, n=sent: api.booked(s) >= n, f"{sent} of {service}", 30)  # type: ignore[misc]
            account = api.accounting(service)
            figures = {name: account[name] for name in ("requests", "sent", "agentLost", "dropped")}
            wanted = {"requests": sent, "sent": sent, "agentLost": 0, "dropped": {}}
            assert figures == wanted, f"{service}: expected {wanted}, got {figures}"

    def restart(self) -> None:
        """Stop the collector, and start it on what it has stored; the agent goes on meanwhile."""
        code = self.collector.stop()
        assert code == 0, f"collector ended with {code}:\n{_warnings(self.collector)}"
        self.collector.start()
        self._heard.pop("collector", None)
        self._before["collector"] = _rss(self.collector.pid)
        self.check()
        self.settle()

    def read_all(self) -> None:
        """Check that every read endpoint still answers, about the honest service and about all."""
        failed = []
        for path, names in reads():
            asked = {name: text for name, text in _ASKED.items() if name in names}
            without = {name: text for name, text in asked.items() if name in ("name", "q")}
            for each in (asked, without):
                status, body = self.collector.api.request(path, **each)
                if status != 200:
                    failed.append(f"GET {path} {each} answered {status}: {body!r:.300}")
        assert not failed, "\n".join(failed)

    def _honest(self, count: int) -> None:
        self._app.send(count)
        self._direct.send(count)


#: name of a part -> sends so many cases
PARTS: dict[str, Callable[[World, int], None]] = {
    "frames": World.frames,
    "batches": World.batches,
    "api": World.api,
}


@contextmanager
def world(directory: Path, seed: int, **agent_env: str) -> Iterator[World]:
    """Yield a running world; all processes are gone afterwards."""
    with ExitStack() as exits:
        collector = exits.enter_context(Collector(directory).start())
        agent = Agent(directory, collector.url, collector.new_key(), **agent_env)
        exits.enter_context(agent.start())
        yield World(collector, agent, seed, exits)


def again(ask: Callable[[], _T]) -> _T:
    """Return an answer; a connection that was closed because it was idle is opened again once."""
    try:
        return ask()
    except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
        return ask()


def _drain(end: socket.socket) -> None:
    try:
        while end.recv(_PIECE):
            pass
    except ConnectionResetError:
        pass


def _rss(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def _cpu_s(pid: int) -> float:
    # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel's posix-timers.h
    return time.clock_gettime(~pid << 3 | 2)


def _troubles(body: Any, where: str = "") -> str:
    """Return what a degraded health says of its trouble."""
    if isinstance(body, dict):
        parts = [_troubles(value, f"{where}.{name}") for name, value in body.items()]
        return " ".join(filter(None, parts))
    troubled = where.endswith((".trouble", ".failures", ".unreadable")) and body
    return f"{where[1:]}={body!r}" if troubled or ".damage." in where else ""


def _warnings(process: Proc) -> str:
    """Return the last lines that are more than information."""
    lines = [line for line in process.output().splitlines() if " INFO " not in line]
    return "\n".join(lines[-20:])
