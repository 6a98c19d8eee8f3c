"""The link between agent and collector loses, doubles, hangs, crawls and tears: every record counts
once all the same.
"""

import itertools
import random
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from support.processes.linkproxy import LinkProxy
from support.processes.servers import Agent, Collector, wait_for
from trimtab_core.frames import encode
from trimtab_core.messages import Hello, Routes
from trimtab_core.records import RECORD_SIZE

MIB = 2**20
_process = itertools.count(1)


def record(route: int, duration_us: int) -> bytes:
    head = route.to_bytes(2, "little") + b"\1\0" + (200).to_bytes(2, "little") + b"\0\0"
    return (head + duration_us.to_bytes(4, "little")).ljust(RECORD_SIZE, b"\0")


class Source:
    """Speaks to the agent as an app does; a window of the past or of now at a time."""

    def __init__(self, agent: Agent, service: str, routes: int = 1) -> None:
        self.sent = 0
        self._opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._opened.settimeout(30)
        self._opened.connect(str(agent.socket_path))
        # Durations that differ, so that a batch of many routes does not pack to nothing.
        self._random = random.Random(routes)
        self._names = {n: f"/{service}/{self._random.randbytes(8).hex()}" for n in range(routes)}
        process = next(_process).to_bytes(8, "big")
        self._opened.sendall(encode(Hello("test", service, "", "host", 1, process).frame()))
        self._opened.sendall(encode(Routes({n + 1: r for n, r in self._names.items()}).frame()))

    def window(self, back_s: float = 0.0) -> None:
        """Send a record a route, of that many seconds ago; without a monotonic time when past."""
        wall_us = int((time.time() - back_s) * 1e6)
        records = b"".join(
            record(n + 1, self._random.randrange(1000, 1_000_000)) for n in self._names
        )
        frame = ["samples", wall_us, 0 if back_s else 1, self.sent, {}, RECORD_SIZE, records]
        self._opened.sendall(encode(frame))
        self.sent += len(self._names)

    def past(self, windows: int) -> None:
        """Send a record a route for each of the windows of 1 s before the latest few."""
        for back in range(windows + 3, 3, -1):
            self.window(back)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()


class Linked:
    """A collector and an agent that reaches it over a link."""

    def __init__(self, directory: Path, exits: ExitStack, **env: str) -> None:
        self.collector = exits.enter_context(Collector(directory).start())
        self.link = exits.enter_context(LinkProxy(self.collector.port))
        self.agent = Agent(directory, self.link.url, self.collector.new_key(), **env)
        exits.enter_context(self.agent.start())
        wait_for(lambda: self.link.connections > 0, "the agent's first connection", 10)

    def store(self) -> dict[str, Any]:
        """Return what the collector says of its store."""
        return dict(self.collector.api.get("/health")["store"])

    def exact(self, service: str, sent: int, timeout_s: float = 30) -> None:
        """Wait until all that was sent is counted: once, with nothing lost or dropped."""
        api = self.collector.api
        wait_for(lambda: api.counted(service) >= sent, f"{sent} records of {service}", timeout_s)
        wait_for(lambda: self.agent.held() == 0, "the spool to be empty", timeout_s)
        account = api.accounting(service)
        assert account["requests"] == account["counted"] == sent, account
        assert (account["agentLost"], sum(account["dropped"].values())) == (0, 0), account


@contextmanager
def linked(directory: Path, **env: str) -> Iterator[Linked]:
    with ExitStack() as exits:
        yield Linked(directory, exits, **env)


def test_answers_that_are_lost_twenty_times_double_nothing(tmp: Path) -> None:
    with linked(tmp) as system, Source(system.agent, "lost", 20) as source:
        # After a success the pauses start anew: without one they would soon be half a minute.
        system.link.spared = 1
        system.link.cut_answers = 20
        source.past(30)
        wait_for(lambda: system.link.answers_cut == 20, "twenty lost answers", 30)
        system.exact("lost", source.sent)
        assert system.store()["duplicates"] == 20


def test_batches_that_all_arrive_twice_count_once(tmp: Path) -> None:
    with linked(tmp) as system, Source(system.agent, "twice", 20) as source:
        system.link.replay = True
        source.past(30)
        source.window()
        system.exact("twice", source.sent)
        assert system.agent.stop() == 0
        assert system.link.replayed > 30
        wait_for(lambda: system.store()["duplicates"] == system.link.replayed, "all second ones")


def test_a_minute_without_a_collector_costs_little_memory_and_no_record(tmp: Path) -> None:
    with linked(tmp) as system, Source(system.agent, "away", 50) as source:
        source.past(1)
        system.exact("away", source.sent)
        before = system.agent.rss_bytes()
        system.link.refuse()
        system.collector.kill9()
        source.past(60)
        wait_for(lambda: system.agent.held() >= 60, "sixty windows on disk", 20)
        wait_for(lambda: "cause=unreachable" in system.agent.output(), "a warning", 10)
        assert system.agent.rss_bytes() - before <= 10 * MIB
        system.collector.start()
        system.link.listen()
        begun = time.monotonic()
        system.exact("away", source.sent, 45)
        assert time.monotonic() - begun < 45


def test_a_link_that_swallows_everything_for_long_is_left_and_found_again(tmp: Path) -> None:
    with linked(tmp) as system, Source(system.agent, "hole", 20) as source:
        source.past(3)
        system.exact("hole", source.sent)
        system.link.blackhole = True
        source.past(5)
        # The sender's time for an answer is ten seconds; it must notice by itself.
        system.agent.wait_line("cause=unreachable", 14)
        source.past(8)
        system.link.blackhole = False
        system.exact("hole", source.sent, 40)


def test_the_newest_window_overtakes_the_backlog_on_a_slow_link(tmp: Path) -> None:
    with linked(tmp) as system, Source(system.agent, "live") as live:
        live.window()
        system.exact("live", live.sent)
        system.link.refuse()
        with Source(system.agent, "backlog", 300) as backlog:
            backlog.past(40)
            wait_for(lambda: system.agent.held() >= 40, "the backlog on disk", 20)
            link, api = system.link, system.collector.api
            link.up.rate = link.down.rate = 8000.0
            link.up.chunk = 400
            link.listen()
            ages = []
            wait_for(lambda: api.counted("backlog") > 0, "the backlog to move", 60)
            for _ in range(3):
                live.window()
                sent, closed_at = live.sent, time.monotonic() + 2
                wait_for(lambda: api.counted("live") >= sent, "the newest window", 30)  # noqa: B023
                ages.append(time.monotonic() - closed_at)
            assert api.counted("backlog") < backlog.sent, "the link was not slow enough"
            assert max(ages) < 10, ages
            link.up.rate = link.down.rate = None
            system.exact("backlog", backlog.sent)
            system.exact("live", live.sent)


def test_a_collector_whose_disk_is_full_answers_reads_and_gets_all_later(tmp: Path) -> None:
    with linked(tmp) as system, Source(system.agent, "full", 200) as source:
        source.past(2)
        system.exact("full", source.sent)
        pid = system.collector.pid
        # No file may grow from here on, as on a disk without space; SIGXFSZ is ignored by Python.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        source.past(20)
        line = system.agent.wait_line("cause=", 20)
        assert "cause=503" in line, line
        status, body = system.collector.api.request("/services")
        assert (status, len(body["data"]["services"])) == (200, 1)
        assert system.store()["trouble"]
        assert system.agent.held() > 0
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        system.exact("full", source.sent, 45)
        assert system.store()["trouble"] is None


def test_requests_that_tear_in_their_body_are_sent_again_whole(tmp: Path) -> None:
    with linked(tmp) as system, Source(system.agent, "torn", 100) as source:
        for tears in range(1, 4):
            system.link.cut_requests = 1
            source.past(3)
            wait_for(lambda: system.link.requests_cut >= tears, "a torn request", 20)  # noqa: B023
            wait_for(lambda: system.agent.held() == 0, "a success", 20)
        system.exact("torn", source.sent)
        assert system.link.requests_cut == 3


def test_answers_that_come_byte_by_byte_are_understood(tmp: Path) -> None:
    with linked(tmp) as system, Source(system.agent, "bytes", 20) as source:
        system.link.up.chunk = 100
        system.link.down.chunk = 1
        source.past(10)
        system.exact("bytes", source.sent)
        assert system.store()["duplicates"] == 0
        assert "cause=" not in system.agent.output()
