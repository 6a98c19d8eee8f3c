"""What no frame can hold costs itself: it is left out, counted and said; all else arrives."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from support.processes.drive import Measured, request
from support.processes.peer import Peer
from support.processes.servers import wait_for
from trimtab.metrics.counter import Counter
from trimtab.metrics.gauge import Gauge
from trimtab.metrics.histogram import Histogram
from trimtab.metrics.measures import MeasureFamily
from trimtab.metrics.summary import Summary
from trimtab.runtime import PROCESS, flush_all
from trimtab.vitals import Vitals
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM, Delta, MeasureKey
from trimtab_core.messages import Bye, Deltas, Events, Gauges, Samples

_names = count()


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def ask(app: Any) -> None:
    """Send a request: the first one starts the emitter."""
    asyncio.run(request(app))


def name() -> str:
    """Return a new one: metrics live as long as the process."""
    return f"unsendable.n{next(_names)}"


@pytest.fixture(autouse=True)
def nothing_before() -> Iterator[None]:
    for _ in PROCESS.measures.changed():
        pass
    PROCESS.events.forget()
    PROCESS.measures.backlog.dropped = 0
    yield
    flush_all()


def heard(peer: Peer, wanted: str) -> Delta:
    found = [each for key, each in peer.measures().items() if key.name == wanted]
    return found[0] if found else Delta()


def added(peer: Peer, families: list[MeasureFamily]) -> float:
    """Return the sum over these alone: what other tests left running adds measures of its own."""
    names = {each.name for each in families}
    return sum(each.sum for key, each in peer.measures().items() if key.name in names)


def dropped(peer: Peer) -> int:
    return max((each.dropped for each in peer.messages(Deltas)), default=0)


class Odd:
    """A number of a foreign kind, as an array of several ones."""

    def __float__(self) -> float:
        raise RuntimeError("more than one number")

    def __lt__(self, _: object) -> bool:
        return False

    __gt__ = __lt__


def many(add: Callable[[float], None]) -> None:
    """Add whole numbers that fit, and whose sum does not."""
    for _ in range(16):
        add(2**62)


HUGE: dict[str, tuple[Callable[[str], Any], str, float]] = {
    "counter": (lambda name: Counter(name).inc(2**64), COUNTER, 2.0**64),
    "counter far beyond": (lambda name: Counter(name).inc(10**299), COUNTER, 1e299),
    "gauge": (lambda name: Gauge(name).set(2**70), GAUGE, 2.0**70),
    "gauge down": (lambda name: Gauge(name).dec(2**70), GAUGE, -(2.0**70)),
    "histogram": (lambda name: Histogram(name).observe(2**70), HISTOGRAM, 2.0**70),
    "summary": (lambda name: Summary(name).observe(2**70), HISTOGRAM, 2.0**70),
    "sum": (
        lambda name: many(Counter(name).inc), COUNTER, 2.0**66,
    ),
    "sum of a histogram": (
        lambda name: many(Histogram(name).observe), HISTOGRAM, 2.0**66,
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", HUGE)
def test_a_whole_number_beyond_64_bits_arrives_as_a_float_and_so_does_all_else(
    measured: Measured, way: str
) -> None:
    add, kind, expected = HUGE[way]
    huge, other = name(), Counter(name())
    add(huge)
    other.inc(7)
    ask(measured.asgi(ok))
    peer = measured.peer
    peer.wait(lambda: heard(peer, huge).count and heard(peer, other.name).count, "both")
    found = heard(peer, huge)
    assert (found.last if kind == GAUGE else found.sum) == expected
    assert (heard(peer, other.name).sum, dropped(peer), peer.connections) == (7, 0, 1)


def test_what_is_no_finite_number_is_left_out_and_counted(measured: Measured) -> None:
    other, odd = Counter(name()), Counter(name())
    moved, seen, kept = Gauge(name()), Histogram(name(), buckets=[1, 2]), Summary(name())
    for value in (math.nan, math.inf, 10**400):
        moved.set(value)
        moved.inc(value)
        seen.observe(value)
        kept.observe(value)
        odd.inc(value)
    odd.inc(Odd())  # type: ignore[arg-type]
    other.inc(7)
    ask(measured.asgi(ok))
    peer = measured.peer
    peer.wait(lambda: dropped(peer) == 16, "all that was left out to be counted")
    peer.wait(lambda: heard(peer, other.name).sum == 7, "the other counter")
    assert [each.statistics().count for each in (seen, kept)] == [0, 0]
    assert (moved.value(), seen.rows()[0].value.count) == (0, 0)  # type: ignore[union-attr]
    assert peer.connections == 1


def test_values_that_were_left_out_are_told_where_nothing_else_is_added(
    measured: Measured,
) -> None:
    Gauge(name()).set(math.nan)
    ask(measured.asgi(ok))
    measured.peer.wait(lambda: dropped(measured.peer) == 1, "the count")


def _warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


def test_a_measure_that_no_frame_can_hold_costs_itself_alone(
    measured: Measured, caplog: pytest.LogCaptureFixture
) -> None:
    families = [PROCESS.measures.family(name(), COUNTER) for _ in range(150)]
    for each in families:
        each.at().add(1)
    spoiled = families[70]
    spoiled.at().settle()
    spoiled.at().delta.last = 2**70
    peer = measured.peer
    with caplog.at_level(logging.WARNING, "trimtab"):
        ask(measured.asgi(ok))
        peer.wait(lambda: added(peer, families) == 149, "the others")
        peer.wait(lambda: dropped(peer) == 1, "the drop to be told")
        spoiled.at().add(5)
        peer.wait(lambda: heard(peer, spoiled.name).sum == 5, "what is added afterwards")
    assert peer.connections == 1
    (said,) = _warned(caplog)
    assert "some measures could not be sent to the agent (OverflowError" in said


def test_a_name_that_no_frame_can_hold_costs_its_own_measure(measured: Measured) -> None:
    families = [PROCESS.measures.family(name(), COUNTER) for _ in range(20)]
    for each in families:
        each.at().add(1)
    spoiled = families[7].at()
    spoiled.key = MeasureKey(spoiled.key.name, COUNTER, "1", (("text", "\ud800"),))
    peer = measured.peer
    ask(measured.asgi(ok))
    peer.wait(lambda: added(peer, families) == 19, "the others")
    peer.wait(lambda: dropped(peer) == 1, "the drop to be told")
    for each in families:
        each.at().add(1)
    peer.wait(lambda: added(peer, families) == 38, "more of them")
    peer.wait(lambda: dropped(peer) == 2, "the second drop to be told")
    assert (peer.connections, peer.errors) == (1, [])


def test_an_event_that_no_frame_can_hold_costs_itself_alone(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.pending.fitting", lambda event: event)
    for number in range(12):
        PROCESS.events.add("told", str(number), {"count": 2**70 if number == 3 else number})
    peer = measured.peer
    ask(measured.asgi(ok))
    peer.wait(lambda: len(peer.events("told")) == 11, "the others")
    assert [each["count"] for each in peer.events("told")] == [0, 1, 2, *range(4, 12)]
    peer.wait(lambda: peer.messages(Events)[-1].dropped == 1, "the drop to be told")
    assert peer.connections == 1


def test_a_route_that_no_frame_can_hold_goes_without_its_name(measured: Measured) -> None:
    routes = PROCESS.routes
    bad = routes._give("/\ud800")
    try:
        routes.of("/before")
        routes.of("/behind")
        ask(measured.asgi(ok))
        assert len(measured.records(1)) == 1
        assert measured.peer.connections == 1
    finally:
        routes._given.pop(bad.id)


def test_records_that_no_frame_can_hold_are_dropped_by_reason(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Samples] = []

    def frame(samples: Samples) -> list[Any]:
        made.append(samples)
        return [2**70] if len(made) == 1 else right(samples)

    right = Samples.frame
    monkeypatch.setattr(Samples, "frame", frame)
    app = measured.asgi(ok)
    ask(app)
    wait_for(lambda: made, "the first records")
    ask(app)
    measured.peer.wait_records(1)
    flush_all()
    (bye,) = measured.peer.wait_for(Bye)
    assert (bye.sent, bye.dropped) == (1, {"unsendable": 1})
    assert measured.peer.connections == 1


def test_gauges_that_cannot_be_read_stop_nothing_else(
    measured: Measured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    is_broken, right = [True], Vitals.read

    def read(vitals: Vitals) -> dict[str, float]:
        if is_broken:
            raise ValueError("broken on purpose")
        return right(vitals)

    monkeypatch.setattr(Vitals, "read", read)
    peer = measured.peer
    with caplog.at_level(logging.WARNING, "trimtab"):
        other = Counter(name())
        other.inc(7)
        ask(measured.asgi(ok, gauges=True))
        peer.wait_records(1)
        peer.wait(lambda: heard(peer, other.name).sum == 7, "the counter")
        is_broken.clear()
        peer.wait_for(Gauges)
    assert peer.connections == 1
    assert len([each for each in _warned(caplog) if "broken on purpose" in each]) == 1
    assert peer.messages(Gauges)[0].values["process.uptime"] >= 0
