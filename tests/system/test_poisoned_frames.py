"""What one app says costs another nothing: real agent and collector, two apps on its socket."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.processes.servers import wait_for
from support.processes.stack import Stack, connected, stack
from trimtab_core.deltas import Deltas, MeasureNames
from trimtab_core.errors import FrameError
from trimtab_core.frames import FrameReader, encode
from trimtab_core.measures import COUNTER, Delta, MeasureKey
from trimtab_core.messages import Bye, Gauges, Hello, Samples, Welcome, parse
from trimtab_core.names import STOPPING
from trimtab_core.records import FLAG_KIB, Record, pack

KEY = MeasureKey("orders", COUNTER)
LONG = "\N{HANGUL SYLLABLE GA}" * 125


class Peer:
    """An app on the socket of an agent."""

    def __init__(self, system: Stack, service: str, host: str = "host") -> None:
        self._socket = connected(system.agent)
        self._sent = 0
        self.send(Hello("test", service, "1", host, 1, os.urandom(8)).frame())
        reader = FrameReader()
        while not (frames := list(reader.feed(self._socket.recv(4096)))):
            pass
        assert isinstance(parse(frames[0]), Welcome)

    def send(self, *frames: Sequence[Any]) -> None:
        self._socket.sendall(b"".join(encode(list(frame)) for frame in frames))

    def requests(self, count: int, wall_us: int = 0, **fields: Any) -> None:
        data = pack(Record(0, 1, fields.pop("flags", 0), 200, 1000, **fields)) * count
        self.send(Samples(wall_us or now_us(), 0, self._sent, {}, 48, data).frame())
        self._sent += count

    def orders(self, count: int, wall_us: int = 0) -> None:
        delta = Delta(count, float(count), 1.0, 1.0, 1.0)
        self.send(MeasureNames({1: KEY}).frame())
        self.send(Deltas([(1, delta)], wall_us or now_us(), 0, 1_000_000).frame())

    def refused(self) -> bool:
        """Tell whether the agent closes the connection."""
        try:
            return self._socket.recv(4096) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._socket.close()


def now_us() -> int:
    return time.time_ns() // 1000


def event(route: str, **more: Any) -> dict[Any, Any]:
    return {"kind": "request", "at_us": now_us(), "reason": "failed", "status": 500,
            "route": route, "method": "GET", **more}  # fmt: skip


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with stack(Path(tmp_path_factory.mktemp("poisoned"))) as system:
        yield system


def test_what_one_app_says_at_worst_costs_another_none_of_its_numbers(system: Stack) -> None:
    bad, good = Peer(system, "bad"), Peer(system, "good")
    bad.requests(1, wall_us=1)
    bad.orders(1, wall_us=1)
    bad.requests(3000, flags=FLAG_KIB, bytes=2**32 - 1)
    odd: list[dict[Any, Any]] = [
        event("/bad", status=float("nan")),
        {**event("/bad"), 1: "int"},
        {**event("/bad"), b"bytes": 1},
        event("/bad", spans=[["db", None, 1, 2]]),
        event("/bad", lists=[[]] * 30_000),
    ]
    bad.send(["events", [*odd, event("/well")], 0])
    bad.send(["deltas", [[1, 2**60, 1.0, 1.0, 1.0, 1.0, []]], now_us(), 0, 1_000_000, 0])
    crowd = [Peer(system, "crowd" + LONG[:100], LONG) for _ in range(20)]
    for number, peer in enumerate(crowd):
        names = {f"{name:03}" + LONG: 1.0 for name in range(80)}
        peer.send(Gauges(now_us(), 0, {}, names).frame())
        peer.requests(1, wall_us=now_us() - 1_000_000 * (400 + 20 * number))
    for _ in range(7):
        good.requests(10)
        good.orders(10)
    good.send(["events", [event("/good")], 0])
    good.send(Gauges(now_us(), 70, {}, {"process.memory.usage": 7.0}).frame())
    good.send(Bye(70, {}).frame())
    api = system.collector.api
    wait_for(lambda: api.booked("good") >= 70, "the records of the good app", 40)
    wait_for(lambda: system.agent.held() == 0, "the spool to be empty", 20)
    account = api.accounting("good")
    assert (account["requests"], account["agentLost"]) == (70, 0)

    def orders() -> list[float]:
        return [each["sum"] for each in api.get("/custom", from_="-5m", service="good")["metrics"]]

    def slow() -> list[tuple[str, str]]:
        found = api.get("/slow-requests", from_="-5m")["requests"]
        return sorted((each["service"], each["route"]) for each in found)

    # What is dated a moment ago may be of the window before, and events go with the next one.
    wait_for(lambda: orders() == [70], "all that the good app has counted", 20)
    wait_for(lambda: slow() == [("bad", "/well"), ("good", "/good")], "both good events", 20)
    wait_for(lambda: api.booked("bad") >= 3001, "the records of the bad app", 20)
    assert api.accounting("bad")["requests"] == 3001
    assert system.agent.metric("trimtab_agent_events_dropped_total") >= 5
    assert system.agent.metric("trimtab_agent_batches_quarantined_total") == 0
    health = api.get("/health")["store"]
    assert (health["rowsRefused"], health["refused"]) == (0, {})
    for peer in (bad, good, *crowd):
        peer.close()


def test_a_gauge_of_an_app_says_nothing_of_its_agent_or_its_host(system: Stack) -> None:
    peer, api = Peer(system, "liar"), system.collector.api
    told = {STOPPING: 1.0, "system.cpu.utilization": 9.0, "trimtab.agent.spool.size": 9.0}
    before = system.agent.metric("trimtab_agent_gauges_dropped_total")
    peer.send(Gauges(now_us(), 0, {}, {**told, "process.memory.usage": 7.0}).frame())

    def gauges() -> list[dict[str, float]]:
        found = api.get("/memory", service="liar")["processes"]
        return [each["gauges"] for each in found]

    wait_for(lambda: gauges() == [{"process.memory.usage": 7}], "the gauge of the app", 20)
    assert system.agent.metric("trimtab_agent_gauges_dropped_total") == before + 3
    (agent,) = api.get("/agents")["agents"]
    assert agent["state"] == "sending"
    peer.close()


@pytest.mark.parametrize("first", [2**63 - 1, 2**53])
def test_record_numbers_that_no_collector_takes_close_their_connection(
    system: Stack, first: int
) -> None:
    peer = Peer(system, "numbers")
    data = pack(Record(0, 1, 0, 200, 1000))
    with pytest.raises(FrameError):
        parse(Samples(now_us(), 0, first, {}, 48, data).frame())
    peer.send(Samples(now_us(), 0, first, {}, 48, data).frame())
    assert peer.refused()
    peer.close()
