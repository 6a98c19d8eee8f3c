"""What an app measures while its agent is away comes at its own time, exactly, and as no lump."""

import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.clock import Clock
from support.processes.servers import App, wait_for
from support.processes.stack import Stack, connected, stack, uvicorn
from trimtab.events import EventQueue
from trimtab.metrics.backlog import MeasureBacklog
from trimtab.metrics.measures import Measures
from trimtab.pending import Pending
from trimtab_core.frames import encode
from trimtab_core.measures import COUNTER, HISTOGRAM
from trimtab_core.messages import Hello

RATE = 20
SECONDS = 1200


def ask(app: App, path: str) -> str:
    with urllib.request.urlopen(f"{app.url}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def steps(system: Stack, name: str, from_s: float) -> dict[int, Any]:
    """Return the steps of a measure in which something was added, by their begin."""
    found = system.collector.api.get("/measures", name=name, step=10, from_=from_s)["measures"]
    return {
        int(datetime.fromisoformat(each["t"]).timestamp()): each
        for measure in found
        for each in measure["series"]
        if each["count"]
    }


def total(system: Stack, name: str, from_s: float) -> float:
    return sum(float(each["count"]) for each in steps(system, name, from_s).values())


def test_a_steady_rate_stays_one_over_an_outage_of_the_agent(tmp: Path) -> None:
    with stack(tmp) as system:
        app = system.app("steady", uvicorn(target="steady_target:app"))
        from_s = int(time.time()) // 10 * 10
        ask(app, "/start")
        wait_for(lambda: total(system, "steady.work", from_s), "the first ones", 20)
        assert system.agent.stop() == 0
        # More than ten windows of the agent, and a whole one of the collector.
        whole_s = int(time.time()) // 10 * 10 + 10
        wait_for(lambda: time.time() > whole_s + 11, "the outage to pass", 25)
        system.agent.start()
        counted = int(ask(app, "/stop"))
        for name in ("steady.work", "steady.times"):
            wait_for(
                lambda name=name: total(system, name, from_s) == counted,  # type: ignore[misc]
                f"all {counted} of {name}",
                20,
            )
            found = {t: each["count"] / 10 for t, each in steps(system, name, from_s).items()}
            assert 0.8 * RATE <= found[whole_s] <= 1.2 * RATE, found
            assert max(found.values()) <= 1.3 * RATE, found
        # Gauges are read when they are sent: nobody knows those of the outage.
        uptime = system.collector.api.get(
            "/gauges", name="process.uptime", service="steady", step=10, from_=from_s
        )["gauges"]
        assert uptime
        seen = {each["t"] for gauge in uptime for each in gauge["series"] if each["count"]}
        assert datetime.fromtimestamp(whole_s, UTC).strftime("%H:%M:%S") not in str(seen)


class Away:
    """The measures of an app whose clocks stand until the test moves them."""

    def __init__(self, begun_s: float, most_bytes: int = 4 * 2**20) -> None:
        self.clock = Clock(begun_s)
        self.measures = Measures(self.clock)
        self.measures.backlog = MeasureBacklog(most_bytes, lambda: (self.clock.ns, self.clock.ns))
        self.pending = Pending(self.measures, EventQueue())

    def count(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance_s(1)
            for _ in range(RATE):
                self.measures.family("away.work", COUNTER).at().add(1)
                self.measures.family("away.times", HISTOGRAM, "s").at().add(0.01)
            self.pending.gather(is_linked=False)

    def send(self, system: Stack, process: bytes) -> None:
        """Send all that waits to the agent, as on a new connection."""
        self.pending.connected()
        self.pending.gather()
        with connected(system.agent) as opened:
            opened.sendall(encode(Hello("test", "away", "", "host", 1, process).frame()))
            while (frame := self.pending.next_frame()) is not None:
                opened.sendall(encode(frame))
                self.pending.sent()
            opened.shutdown(1)
            while opened.recv(4096):
                pass


def test_a_long_outage_comes_as_it_was_and_one_over_the_bound_evenly(tmp: Path) -> None:
    from_s = int(time.time()) // 60 * 60 - SECONDS
    with stack(tmp, TRIMTAB_AGENT_WINDOW_S="10") as system:
        for process, most_bytes in (b"process1", 4 * 2**20), (b"process2", 20_000):
            before = total(system, "away.work", from_s)
            away = Away(from_s, most_bytes)
            away.count(SECONDS)
            assert away.measures.backlog.dropped == 0
            away.send(system, process)
            wait_for(
                lambda before=before: (  # type: ignore[misc]
                    total(system, "away.work", from_s) == before + SECONDS * RATE
                ),
                "all that was counted",
                30,
            )
        for name in ("away.work", "away.times"):
            wait_for(
                lambda name=name: total(system, name, from_s) == 2 * SECONDS * RATE,  # type: ignore[misc]
                "both times",
                10,
            )
            rates = [
                each["count"] / each["seconds"] for each in steps(system, name, from_s).values()
            ]
            assert max(rates) <= 1.1 * 2 * RATE, rates
