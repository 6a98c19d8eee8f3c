"""Measures and events on their way to the agent: whole, once, bounded, and each process its own."""

import asyncio
import os
import threading
from itertools import count
from typing import Any

import pytest

from support.clock import Clock
from support.processes.drive import Measured, request
from support.processes.peer import Peer
from support.processes.servers import wait_for
from trimtab.events import SLOW_QUERY, EventQueue
from trimtab.metrics.counter import Counter
from trimtab.metrics.measures import MeasureFamily, Measures
from trimtab.metrics.metric import collect
from trimtab.pending import Pending
from trimtab.runtime import PROCESS, flush_all, runtime_for
from trimtab.settings import read_settings
from trimtab.sinks import AgentSink
from trimtab_core.deltas import MAX_EVENT, MeasureNames
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM, Delta, MeasureKey, quantile
from trimtab_core.messages import Deltas, parse

_names = count()


def heard_in_all(peer: Peer, family: MeasureFamily) -> float:
    return sum(each.sum for key, each in peer.measures().items() if key.name == family.name)


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(autouse=True)
def nothing_before() -> None:
    for _ in PROCESS.measures.changed():
        pass
    PROCESS.events.forget()
    PROCESS.measures.backlog.dropped = 0


def ask(app: Any) -> None:
    """Send a request: the first one starts the emitter."""
    asyncio.run(request(app))


def family(kind: str = COUNTER, cap: int = 1000) -> MeasureFamily:
    """Return a new one: measures live as long as the process."""
    return PROCESS.measures.family(f"tested.{next(_names)}", kind, "1", cap)


def heard(peer: Peer, family: MeasureFamily, **attributes: str) -> Delta:
    key = MeasureKey(family.name, family.kind, family.unit, tuple(sorted(attributes.items())))
    return peer.measures().get(key, Delta())


def test_what_is_added_by_many_threads_arrives_to_the_last_value(measured: Measured) -> None:
    counters, times = family(), family(HISTOGRAM)
    app = measured.asgi(ok)
    ask(app)

    def work(number: int) -> None:
        counter = counters.at((("thread", str(number % 2)),))
        for value in range(5_000):
            counter.add(1)
            times.at().add(value / 1000)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    flush_all()
    for number in ("0", "1"):
        measured.peer.wait(
            lambda number=number: heard(measured.peer, counters, thread=number).sum == 20_000,  # type: ignore[misc]
            "all of a counter",
        )
    found = heard(measured.peer, times)
    assert found.count == 40_000
    assert found.sum == pytest.approx(8 * sum(range(5_000)) / 1000)
    assert (found.min, found.max) == (0, 4.999)
    for q in (0.5, 0.95, 0.99):
        assert quantile(found.buckets, q, found.min, found.max) == pytest.approx(5 * q, rel=0.011)
    assert counters.at((("thread", "0"),)).read().sum == 20_000


def test_a_connection_that_is_cut_anywhere_sends_no_change_twice(measured: Measured) -> None:
    counters = family()
    peer = measured.peer
    app = measured.asgi(ok)
    ask(app)
    peer.cut_after = iter([*range(300, 1500, 7)])
    peer.cut()
    total = 0
    runtime = runtime_for(read_settings(**measured.settings()))
    for number in range(60):
        counters.at((("n", str(number % 20)),)).add(1)
        total += 1
        runtime.flush()
        found = sum(
            delta.sum for key, delta in peer.measures().items() if key.name == counters.name
        )
        assert found <= total
    peer.cut_after = None
    peer.cut()
    before = peer.connections
    wait_for(lambda: runtime.flush() and peer.connections > before, "a new connection")
    counters.at((("n", "last"),)).add(1)
    flush_all()
    peer.wait(lambda: heard(peer, counters, n="last").count, "the last one")
    assert total // 2 < heard_in_all(peer, counters) <= total + 1


def test_what_was_measured_while_the_agent_was_away_comes_when_it_is_back(
    measured: Measured,
) -> None:
    counters, gauge = family(), family(GAUGE)
    app = measured.asgi(ok)
    ask(app)
    peer = measured.peer
    peer.wait_records(1)
    peer.stop()
    for value in range(100_000):
        counters.at().add(1)
        gauge.at().add(value)
    assert len(counters.at()._pending) < 5_000
    peer.start()
    peer.wait(lambda: heard(peer, counters).sum == 100_000, "all of them", 10)
    assert heard(peer, gauge).last == 99_999


def test_a_child_of_a_fork_tells_its_own_and_not_its_parents(measured: Measured) -> None:
    counters = family()
    counters.at().add(7)
    app = measured.asgi(ok)
    ask(app)
    measured.peer.wait(lambda: heard(measured.peer, counters).sum == 7, "the parent's")
    counters.at().add(5)
    child = os.fork()
    if not child:
        try:
            counters.at().add(100)
            ask(app)
            flush_all()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    flush_all()
    measured.peer.wait(lambda: heard(measured.peer, counters).sum >= 112, "both")
    assert heard(measured.peer, counters).sum == 112


def test_two_services_of_a_process_send_each_change_once(measured: Measured) -> None:
    counters = family()
    apps = [measured.asgi(ok, service=name) for name in ("one", "two")]
    for app in apps * 5:
        ask(app)
        counters.at().add(1)
    flush_all()
    measured.peer.wait(lambda: heard(measured.peer, counters).sum >= 10, "all")
    assert heard(measured.peer, counters).sum == 10


def test_values_that_are_none_and_texts_that_are_none_cost_only_themselves(
    measured: Measured,
) -> None:
    times = family(HISTOGRAM)
    strange: list[Any] = [float("nan"), float("inf"), "1", None, 1e308, 10**400, True, 2]
    for value in strange:
        times.at((("text", "\ud800" + "x" * 5_000),)).add(value)
    huge = family(HISTOGRAM)
    for number in range(500):
        huge.at(tuple((f"{n}", "\U0001f600" * 2000 + str(number)) for n in range(20))).add(1)
    PROCESS.events.add(SLOW_QUERY, "", {"query": "x" * (MAX_EVENT + 1)})
    PROCESS.events.add(SLOW_QUERY, "", {"query": object()})
    PROCESS.events.add(SLOW_QUERY, "", {"query": "fine"})
    ask(measured.asgi(ok))
    flush_all()
    measured.peer.wait(lambda: measured.peer.events(SLOW_QUERY), "the event that fits")
    assert [each["query"] for each in measured.peer.events(SLOW_QUERY)] == ["fine"]
    deltas = measured.peer.measures()
    (found,) = [delta for key, delta in deltas.items() if key.name == times.name]
    assert (found.count, found.sum) == (2, 3)
    assert sum(delta.count for key, delta in deltas.items() if key.name == huge.name) == 500
    assert measured.peer.errors == []


def test_over_its_cap_a_family_is_one_measure_more(measured: Measured) -> None:
    counters = family(cap=3)
    for number in range(10):
        counters.at((("n", str(number)),)).add(1)
    assert counters.over_cap == 7
    ask(measured.asgi(ok))
    flush_all()
    measured.peer.wait(lambda: heard(measured.peer, counters, n="other").sum == 7, "the others")
    assert len([key for key in measured.peer.measures() if key.name == counters.name]) == 4


def test_a_storm_of_events_is_thinned_and_counted(measured: Measured) -> None:
    for number in range(2_000):
        PROCESS.events.add(SLOW_QUERY, str(number % 3), {"query": str(number % 3)})
        PROCESS.events.add(SLOW_QUERY, str(number), {"query": "all different"})
    ask(measured.asgi(ok))
    flush_all()
    measured.peer.wait(lambda: len(measured.peer.events(SLOW_QUERY)) >= 200, "some of them")
    assert PROCESS.events.dropped >= 4_000 - 500 - 200
    assert measured.peer.messages(Deltas) == []


def test_the_sink_of_the_agent_says_whether_it_is_there(measured: Measured) -> None:
    counter = Counter(f"sunk.c{next(_names)}")
    counter.inc(3)
    row = next(row for row in collect([counter]))
    ask(measured.asgi(ok))
    wait_for(lambda: AgentSink().store([row]) == (1, ""), "the agent to be connected")
    measured.peer.stop()
    wait_for(lambda: AgentSink().store([row]).stored == 0, "the agent to be gone")
    assert "trimtab agent" in AgentSink().store([row]).failed


def test_a_name_keeps_its_kind(measured: Measured) -> None:
    counters = family()
    assert PROCESS.measures.family(counters.name, COUNTER, "1") is counters
    with pytest.raises(ValueError, match="choose another name"):
        PROCESS.measures.family(counters.name, GAUGE, "1")


def drained(pending: Pending) -> dict[MeasureKey, float]:
    """Take all frames, as an agent that reads again; return what is added up in them."""
    names: dict[int, MeasureKey] = {}
    found: dict[MeasureKey, float] = {}
    while (frame := pending.next_frame()) is not None:
        message = parse(frame)
        if isinstance(message, MeasureNames):
            names.update(message.keys)
        elif isinstance(message, Deltas):
            for number, delta in message.deltas:
                found[names[number]] = found.get(names[number], 0) + delta.sum
        pending.sent()
    return found


def test_an_agent_that_does_not_read_makes_nothing_grow() -> None:
    clock = Clock()
    measures = Measures(clock)
    pending = Pending(measures, EventQueue())
    pending.connected()
    names = measures.family("names", COUNTER)
    made = count()
    for _ in range(1_000):
        for _ in range(20):
            names.at((("name", str(next(made))),)).add(1)
        clock.advance_s(10)
        pending.gather()
        assert measures.backlog.size_bytes < 5 * 2**20
    found = drained(pending)
    assert len(found) < 5 * 2**20 / 500
    assert sum(found.values()) == 20_000
    assert pending.is_empty
    pending.gather()
    assert pending.next_frame() is None


def test_all_that_was_added_is_sent_at_the_end_however_much_it_is() -> None:
    measures = Measures()
    pending = Pending(measures, EventQueue())
    pending.connected()
    for number in range(9):
        for name in range(1_000):
            measures.family(f"many.{number}", COUNTER).at((("name", str(name)),)).add(1)
    pending.gather()
    assert not pending.is_empty
    assert len(drained(pending)) == 9_000
    assert pending.is_empty
