"""What becomes of a request when it ends: the same over ASGI, WSGI lists and WSGI iterators."""

import threading
from typing import Any

import pytest

from support.apps.interfaces import INTERFACES, Interface, Step
from support.clock import Clock
from support.processes.drive import Measured
from trimtab import current_context
from trimtab.events import REQUEST
from trimtab.runtime import PROCESS, flush_all, runtime_for
from trimtab.settings import read_settings
from trimtab_core.records import (
    FLAG_BACKGROUND,
    FLAG_CONTEXT,
    FLAG_FAILED,
    FLAG_QUEUED,
    FLAG_STREAMED,
    KIND_EVENT_STREAM,
)


@pytest.fixture(params=INTERFACES, ids=lambda each: each.name)
def interface(request: pytest.FixtureRequest) -> Interface:
    found: Interface = request.param
    return found


@pytest.fixture(autouse=True)
def nothing_before() -> None:
    PROCESS.events.forget()


def captured(measured: Measured, n: int) -> list[Any]:
    """End the measuring and return the requests that were kept whole, of which there must be n."""
    flush_all()
    measured.peer.wait(lambda: len(measured.peer.events(REQUEST)) >= n, f"{n} requests")
    found = measured.peer.events(REQUEST)
    assert len(found) == n, found
    return found


def test_a_request_is_one_record_with_all_its_figures(
    interface: Interface, measured: Measured, clock: Clock
) -> None:
    app = interface.app(measured, lambda: clock.advance_ms(5), b"x" * 1234, status="201 Created")
    assert app.call(method="POST") is None
    seen = measured.one()
    assert (seen.template, seen.method) == ("unmatched", "POST")
    record = seen.record
    assert (record.status, record.bytes, record.flags & ~FLAG_STREAMED) == (201, 1234, 0)
    assert record.duration_us == 5000


@pytest.mark.parametrize("status", ["200 OK", "304 Not Modified", "404 Not Found", "503 Busy"])
def test_the_status_that_was_sent_is_the_one_that_is_booked(
    interface: Interface, measured: Measured, status: str
) -> None:
    assert interface.app(measured, b"x", status=status).call() is None
    assert measured.one().record.status == int(status[:3])


def test_an_exception_before_the_response_is_a_500_of_its_type(
    interface: Interface, measured: Measured
) -> None:
    app = interface.app(measured, ValueError("secret"), b"x", capture_share=0)
    assert isinstance(app.call(), ValueError)
    (kept,) = captured(measured, 1)
    assert (kept["reason"], kept["status"], kept["error"]) == ("failed", 500, "ValueError")
    record = measured.peer.records()[0].record
    assert (record.status, record.flags) == (500, 0)


def test_an_exception_between_two_parts_keeps_the_status_and_is_flagged(
    interface: Interface, measured: Measured
) -> None:
    app = interface.app(measured, b"x", KeyError("late"), b"y")
    assert isinstance(app.call(), KeyError)
    record = measured.one().record
    # A list leaves as a whole: nothing of it had left when the exception came.
    expected = (500, 0) if interface.name == "wsgi-list" else (200, FLAG_FAILED)
    assert (record.status, record.flags & ~FLAG_STREAMED) == expected


def test_unknown_methods_are_one(interface: Interface, measured: Measured) -> None:
    app = interface.app(measured, b"x")
    for method in ("BREW", "get", "PATCH"):
        app.call(method=method)
    assert [seen.method for seen in measured.records(3)] == ["_OTHER", "_OTHER", "PATCH"]


def test_a_queue_time_is_booked_and_only_once_a_request(
    interface: Interface, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.queueing.time", lambda: 1_700_000_000.5)
    app = interface.app(measured, b"x")
    app.call(headers={"X-Request-Start": "t=1700000000.25"})
    app.call()
    queued, other = (seen.record for seen in measured.records(2))
    assert (queued.queue_us, queued.flags & FLAG_QUEUED) == (250_000, FLAG_QUEUED)
    assert other.flags & FLAG_QUEUED == 0


def test_what_the_app_measures_is_in_the_record_and_the_context_is_gone_after_it(
    interface: Interface, measured: Measured
) -> None:
    def query() -> None:
        context = current_context()
        assert context is not None
        context.add_db(3_000_000, 2)

    interface.app(measured, query, b"x", context=True).call()
    assert current_context() is None
    record = measured.one().record
    assert (record.db_us, record.db_calls) == (3_000, 2)
    assert record.flags & FLAG_CONTEXT


def test_requests_are_in_flight_until_they_end(interface: Interface, measured: Measured) -> None:
    recorder = runtime_for(read_settings(**measured.settings())).recorder
    inside: list[int] = []

    def look() -> None:
        inside.append(recorder.in_flight())

    app = interface.app(measured, look, b"x")
    app.call()
    interface.app(measured, look, RuntimeError("out"), b"x").call()
    app.call()
    assert inside == [1, 1, 1]
    assert recorder.in_flight() == 0
    measured.records(3)


def test_a_share_of_all_is_every_request(interface: Interface, measured: Measured) -> None:
    app = interface.app(measured, b"x", capture_share=1.0)
    for number in range(40):
        # Ten alike are kept in ten seconds: a storm of equal ones says nothing new.
        app.call(method=("GET", "POST", "PUT", "DELETE")[number % 4])
    assert [each["reason"] for each in captured(measured, 40)] == ["sample"] * 40


def test_a_drawn_request_is_kept_and_the_plain_ones_between_are_counted(
    interface: Interface, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = iter([3, 1, 5, 2, 1 << 60])
    monkeypatch.setattr("trimtab.captures.Captures.next_sample", lambda self: next(draws))
    app = interface.app(measured, b"x")
    for _ in range(20):
        app.call()
    assert len(captured(measured, 4)) == 4
    assert next(draws, None) is None
    assert len(measured.peer.wait_records(20)) == 20


def test_a_drawn_request_is_the_one_that_was_drawn_also_among_plain_ones(
    interface: Interface, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = iter([101, 1 << 60])
    monkeypatch.setattr("trimtab.captures.Captures.next_sample", lambda self: next(draws))
    app = interface.app(measured, b"x")
    recorder = runtime_for(read_settings(**measured.settings())).recorder
    app.call()
    measured.peer.wait_records(1)
    # The emitter has been there: from here on there is room, and the requests are plain.
    measured.peer.wait(lambda: any(g.room > 0 for g in recorder._gates.values()), "room")  # type: ignore[attr-defined]
    for number in range(150):
        app.call(method="DELETE" if number == 99 else "GET")
    (kept,) = captured(measured, 1)
    assert (kept["reason"], kept["method"]) == ("sample", "DELETE")


def test_a_slow_request_is_kept_whole_with_its_trace(
    interface: Interface, measured: Measured, clock: Clock
) -> None:
    app = interface.app(measured, lambda: clock.advance_ms(1500), b"x", capture_share=0)
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    app.call(headers={"traceparent": f"00-{trace}-{span}-01"})
    (kept,) = captured(measured, 1)
    assert (kept["reason"], kept["duration_us"]) == ("slow", 1_500_000)
    assert (kept["trace"], kept["span"]) == (trace, span)


def test_a_note_is_sent_with_the_route_of_a_fast_request(
    interface: Interface, measured: Measured
) -> None:
    def note() -> None:
        context = current_context()
        assert context is not None
        context.note({"kind": "n_plus_one", "alike": "SELECT ?", "count": 7})

    interface.app(measured, note, b"x", context=True, capture_share=0).call()
    flush_all()
    measured.peer.wait(lambda: measured.peer.events("n_plus_one"), "the note")
    (found,) = measured.peer.events("n_plus_one")
    assert (found["count"], found["route"]) == (7, "unmatched")


SSE = [("Content-Type", "text/event-stream; charset=utf-8")]


def test_an_event_stream_is_open_until_it_ends_and_is_no_request(
    interface: Interface, measured: Measured, clock: Clock
) -> None:
    recorder = runtime_for(read_settings(**measured.settings())).recorder
    open_streams: list[int] = []

    def look() -> None:
        clock.advance_ms(2000)
        open_streams.append(recorder.event_streams)

    interface.app(measured, b"data: 1\n\n", look, b"data: 2\n\n", headers=SSE).call()
    streams = interface.name != "wsgi-list"
    assert open_streams == [1 if streams else 0]
    assert recorder.event_streams == 0
    record = measured.one().record
    # A list is a whole response, whatever its type says.
    assert record.kind == (KIND_EVENT_STREAM if streams else 0)
    assert (record.status, record.duration_us) == (200, 2_000_000)


@pytest.mark.parametrize("failed", [False, True], ids=["that is done", "that fails"])
def test_work_after_the_last_byte_is_booked_apart(
    interface: Interface, measured: Measured, clock: Clock, failed: bool
) -> None:
    if not interface.goes_on:
        pytest.skip("a list leaves when the app has returned")
    after: tuple[Step, ...] = (lambda: clock.advance_ms(50),)
    if failed:
        after += (RuntimeError("late"),)
    app = interface.app(measured, lambda: clock.advance_ms(4), b"x", after=after)
    assert isinstance(app.call(), RuntimeError) == failed
    request, background = (seen.record for seen in measured.records(2))
    assert (request.duration_us, request.status, request.flags & FLAG_FAILED) == (4000, 200, 0)
    flags = FLAG_BACKGROUND | (FLAG_FAILED if failed else 0)
    assert (background.duration_us, background.status, background.flags) == (50_000, 200, flags)


def test_eight_threads_lose_no_record(interface: Interface, measured: Measured) -> None:
    if interface.name == "asgi":
        pytest.skip("a loop runs in one thread")
    app = interface.app(measured, b"x", buffer_kib=4096, capture_share=0.01)
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait(5)
        for _ in range(250):
            app.call()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    measured.records(2000)
