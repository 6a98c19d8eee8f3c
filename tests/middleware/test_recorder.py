"""The recorder and its table of routes: bounded, exact, and never in the way of a request."""

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.context import RequestContext
from trimtab.recorder import UNKNOWN_SIZE, Recorder
from trimtab.routes import RouteTable
from trimtab_core.frames import FrameReader, encode
from trimtab_core.messages import MAX_TEMPLATE, Routes, parse
from trimtab_core.records import (
    FLAG_BACKGROUND,
    FLAG_CLAMPED,
    FLAG_STREAMED,
    FLAG_UNKNOWN_BYTES,
    RECORD_SIZE,
    Record,
    unpack,
)


def table(most: int) -> RouteTable:
    return RouteTable(most)


def append(recorder: Recorder, **changes: object) -> None:
    plain: dict[str, object] = {
        "route": 1, "method": 1, "flags": 0, "status": 200, "duration_ns": 5_000_000,
        "ttfb_ns": 5_000_000, "queue_us": 0, "size": 7, "context": None,
    }  # fmt: skip
    recorder.append(*{**plain, **changes}.values())  # type: ignore[arg-type]


def taken(recorder: Recorder) -> list[Record]:
    data = recorder.take()
    return [unpack(data, at) for at in range(0, len(data), RECORD_SIZE)]


# ---------------------------------------------------------------- routes


def test_a_route_keeps_its_id() -> None:
    routes = table(10)
    assert [routes.id_of(t) for t in ("/a", "/b", "/a", "/c", "/b")] == [1, 2, 1, 3, 2]
    assert routes.after(0, 10)[1] == {1: "/a", 2: "/b", 3: "/c"}
    assert routes.after(1, 1)[1] == {2: "/b"}


def test_routes_over_the_cap_are_other() -> None:
    routes = table(3)
    ids = [routes.id_of(f"/{n}") for n in range(100)]
    assert ids == [1, 2, 3] + [4] * 97
    assert routes.after(0, 100)[1] == {1: "/0", 2: "/1", 3: "/2", 4: "other"}
    assert [routes.id_of(f"/{n}") for n in range(3)] == [1, 2, 3]


def test_a_long_template_is_cut_and_keeps_its_id_over_the_cap() -> None:
    routes = table(1)
    long = "/" + "x" * 500
    assert [routes.id_of(long), routes.id_of("/other"), routes.id_of(long)] == [1, 2, 1]
    assert len(routes.after(0, 1)[1][1]) == MAX_TEMPLATE


@given(st.lists(st.text(st.characters(), max_size=300), max_size=30))
def test_any_template_becomes_one_that_the_agent_takes(templates: list[str]) -> None:
    routes = table(1000)
    ids = {template: routes.id_of(template) for template in templates}
    (frame,) = FrameReader().feed(encode(Routes(routes.after(0, 1000)[1]).frame()))
    message = parse(frame)
    assert isinstance(message, Routes)
    assert set(ids.values()) == set(message.routes)


def test_threads_agree_on_the_ids() -> None:
    routes = table(1000)
    found: list[list[int]] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait(5)
        found.append([routes.id_of(f"/{n}") for n in range(500)])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert all(ids == found[0] for ids in found)
    assert sorted(found[0]) == list(range(1, 501))


# ---------------------------------------------------------------- records


def test_a_record_is_taken_once() -> None:
    recorder = Recorder(1 << 16, RouteTable())
    append(recorder)
    assert taken(recorder) == [Record(1, 1, 0, 200, 5000, bytes=7)]
    assert taken(recorder) == []
    append(recorder, ttfb_ns=2_000_000)
    assert taken(recorder) == [Record(1, 1, FLAG_STREAMED, 200, 5000, bytes=7, ttfb_us=2000)]


def test_over_the_limit_records_are_dropped_and_counted() -> None:
    recorder = Recorder(10 * RECORD_SIZE, RouteTable())
    for _ in range(25):
        append(recorder)
    assert (len(taken(recorder)), recorder.dropped_full) == (10, 15)
    append(recorder)
    assert (len(taken(recorder)), recorder.dropped_full) == (1, 15)


def test_background_work_and_unknown_sizes_are_flagged() -> None:
    recorder = Recorder(1 << 16, RouteTable())
    append(recorder, size=UNKNOWN_SIZE + 5000)
    recorder.append_background(3, 1, 0, 200, 9_000_000)
    unknown, background = taken(recorder)
    assert (unknown.flags, unknown.bytes) == (FLAG_UNKNOWN_BYTES, 0)
    assert background == Record(3, 1, FLAG_BACKGROUND, 200, 9000)


def test_a_context_over_its_fields_is_clamped() -> None:
    recorder = Recorder(1 << 16, RouteTable())
    context = RequestContext()
    context.add_db(10**18, calls=10**6)
    append(recorder, context=context)
    (record,) = taken(recorder)
    assert record.flags & FLAG_CLAMPED
    assert (record.db_us, record.db_calls) == (2**32 - 1, 65535)


@given(
    st.dictionaries(
        st.sampled_from(["route", "method", "flags", "status", "duration_ns", "ttfb_ns", "size"]),
        st.integers(-(2**80), 2**80) | st.none() | st.text(max_size=3) | st.floats(),
    )
)
def test_nothing_that_an_app_says_raises_or_is_lost_uncounted(changes: dict[str, object]) -> None:
    recorder = Recorder(1 << 16, RouteTable())
    numbers = {
        name: value
        for name, value in changes.items()
        # Times and sizes are our own arithmetic; ids, flags and status may be anything.
        if name in ("route", "method", "status") or isinstance(value, int)
    }
    append(recorder, **numbers)
    assert len(taken(recorder)) + recorder.dropped_full == 1


class Counts:
    """The counts of a wrapper with two requests in flight; notes what the recorder does to them."""

    def __init__(self, name: str, grants: list[tuple[str, int]]) -> None:
        self.name, self.grants = name, grants
        self.active = 2

    def grant(self, records: int) -> None:
        self.grants.append((self.name, records))

    def in_flight(self) -> int:
        return self.active

    def forget(self) -> None:
        self.active = 0


def test_gates_share_the_room_and_get_none_from_a_recorder_that_sleeps() -> None:
    recorder = Recorder(100 * RECORD_SIZE, RouteTable())
    grants: list[tuple[str, int]] = []
    closures = {name: lambda: None for name in ("a", "b", "gone")}
    for name, closure in closures.items():
        recorder.attach(
            closure,
            Counts(name, grants),
        )
    # Whose app nobody has any more takes no share.
    del closures["gone"], closure
    recorder.take()
    assert grants == [("a", 0), ("b", 0)]
    recorder.asleep = False
    recorder.take()
    assert grants[2:] == [("a", 50), ("b", 50)]
    recorder.fall_asleep()
    assert grants[4:] == [("a", 0), ("b", 0)]
    recorder.active = 3
    assert recorder.in_flight() == 7


def test_in_the_child_of_a_fork_everything_begins_again() -> None:
    recorder = Recorder(RECORD_SIZE, RouteTable())
    gate = Counts("a", [])
    recorder.attach(test_in_the_child_of_a_fork_everything_begins_again, gate)
    append(recorder)
    append(recorder)
    recorder.active, recorder.websockets, recorder.asleep = 2, 3, False
    recorder.after_fork()
    assert (taken(recorder), recorder.dropped_full) == ([], 0)
    assert (recorder.in_flight(), recorder.websockets, recorder.asleep) == (0, 0, True)
    assert gate.active == 0


def test_what_is_appended_while_it_is_taken_is_there_the_next_time() -> None:
    recorder = Recorder(1 << 22, RouteTable())
    done = threading.Event()
    found: list[Record] = []

    def take() -> None:
        while not done.is_set():
            found.extend(taken(recorder))
        found.extend(taken(recorder))

    taker = threading.Thread(target=take)
    taker.start()
    for n in range(20_000):
        append(recorder, size=n)
    done.set()
    taker.join(10)
    assert [record.bytes for record in found] == list(range(20_000))
    assert recorder.dropped_full == 0


def test_two_emitters_take_each_record_once() -> None:
    # One was told to stop, but its agent stands still; the next request has started another.
    recorder = Recorder(1 << 23, RouteTable())
    done = threading.Event()
    counts = [0, 0]

    def take(emitter: int) -> None:
        while not done.is_set() or recorder.buffer:
            counts[emitter] += len(recorder.take()) // RECORD_SIZE

    takers = [threading.Thread(target=take, args=(emitter,)) for emitter in (0, 1)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for taker in takers:
            taker.start()
        for n in range(50_000):
            append(recorder, size=n)
    finally:
        done.set()
        sys.setswitchinterval(interval)
        for taker in takers:
            taker.join(10)
    assert sum(counts) == 50_000


@pytest.mark.parametrize("queue_us", [-1, 0])
def test_no_queue_time_is_no_flag(queue_us: int) -> None:
    recorder = Recorder(1 << 16, RouteTable())
    append(recorder, queue_us=queue_us)
    (record,) = taken(recorder)
    assert (record.queue_us, record.flags) == (0, 0)
