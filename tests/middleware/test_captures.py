"""Slow and failed requests are kept whole, with their notes, and nothing of them that is secret."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from support.clock import Clock
from support.processes.drive import Measured, call_wsgi, request
from trimtab import current_context
from trimtab.captures import NEVER, Captures, trace_of
from trimtab.events import N_PLUS_ONE, REQUEST, EventQueue
from trimtab.runtime import PROCESS, flush_all

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
SECRET = "hunter2-secret"


@pytest.fixture(autouse=True)
def nothing_before() -> None:
    PROCESS.events.forget()


def events(measured: Measured, kind: str, n: int = 1) -> list[Mapping[str, Any]]:
    """End the measuring and return the events of a kind, of which there must be n."""
    flush_all()
    if n:
        measured.peer.wait(lambda: len(measured.peer.events(kind)) >= n, f"{n} events")
    found = measured.peer.events(kind)
    assert len(found) == n, found
    return found


def app_of(clock: Clock, ms: float, status: int = 200, error: Exception | None = None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        context = current_context()
        if context is not None:
            context.add_db(3_000_000, 2)
            context.add_span("db", clock.ns + 1_000_000, 3_000_000, "SELECT ?")
            context.add_cache(500_000, hits=1, misses=2)
            context.note({"kind": N_PLUS_ONE, "alike": "SELECT ?", "count": 7})
        clock.advance_ms(ms)
        if error is not None:
            raise error
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    return app


async def _ask(app: Any, path: str = "/secret-path") -> None:
    headers = [(b"traceparent", PARENT.encode()), (b"authorization", SECRET.encode())]
    try:
        await request(app, path, scope={"query_string": SECRET.encode()}, headers=headers)
    except ValueError:
        pass


@pytest.mark.asyncio
async def test_a_slow_request_has_its_timeline_and_its_trace(
    measured: Measured, clock: Clock
) -> None:
    app = measured.asgi(app_of(clock, 1_500), context=True, capture_share=0)
    await _ask(app)
    (found,) = events(measured, REQUEST)
    assert found["reason"] == "slow"
    assert (found["status"], found["duration_us"], found["method"]) == (200, 1_500_000, "GET")
    assert (found["trace"], found["span"], found["error"]) == (TRACE, SPAN, "")
    assert (found["db_us"], found["db_calls"]) == (3_000, 2)
    assert (found["cache_us"], found["cache_hits"], found["cache_misses"]) == (500, 1, 2)
    assert found["spans"] == [["db", 1_000, 3_000, "SELECT ?"]]
    (note,) = measured.peer.events(N_PLUS_ONE)
    assert (note["route"], note["method"], note["count"]) == ("unmatched", "GET", 7)
    assert note["trace"] == TRACE


@pytest.mark.asyncio
async def test_a_failed_request_has_the_type_of_its_exception_alone(
    measured: Measured, clock: Clock
) -> None:
    await _ask(measured.asgi(app_of(clock, 1, error=ValueError(SECRET)), capture_share=0))
    await _ask(measured.asgi(app_of(clock, 1, status=503), capture_share=0))
    one, other = events(measured, REQUEST, 2)
    assert [one["reason"], one["status"], one["error"]] == ["failed", 500, "ValueError"]
    assert [other["reason"], other["status"], other["error"]] == ["failed", 503, ""]
    said = json.dumps([dict(each) for each in (one, other)])
    assert SECRET not in said
    assert "secret-path" not in said


@pytest.mark.asyncio
async def test_a_fast_request_is_not_kept_but_its_notes_are(
    measured: Measured, clock: Clock
) -> None:
    app = measured.asgi(app_of(clock, 1), context=True, capture_share=0)
    await _ask(app)
    events(measured, N_PLUS_ONE)
    assert measured.peer.events(REQUEST) == []


@pytest.mark.asyncio
async def test_the_threshold_is_a_setting_and_a_share_of_the_others_is_kept(
    measured: Measured, clock: Clock
) -> None:
    app = measured.asgi(app_of(clock, 5), slow_request_ms=5, capture_share=0)
    await _ask(app)
    every = measured.asgi(app_of(clock, 5), service="other", capture_share=1.0)
    await _ask(every)
    slow, sample = events(measured, REQUEST, 2)
    assert (slow["reason"], sample["reason"]) == ("slow", "sample")


def test_a_share_is_met_on_average() -> None:
    captures = Captures(1000, 0.01, EventQueue())
    steps = [captures.next_sample() for _ in range(4_000)]
    assert 90 < sum(steps) / len(steps) < 112
    assert min(steps) >= 1
    assert Captures(1000, 0, EventQueue()).next_sample() == NEVER


@pytest.mark.parametrize("body", [list, iter], ids=["list", "iterator"])
def test_wsgi_requests_are_kept_too(measured: Measured, clock: Clock, body: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        context = current_context()
        assert context is not None
        context.add_external(2_000_000)
        clock.advance_ms(2_000)
        if environ["PATH_INFO"] == "/raises":
            raise ValueError(SECRET)
        start_response("200 OK", [])
        return body([b"ok"])

    wrapped = measured.wsgi(app, context=True, capture_share=0)
    call_wsgi(wrapped, "/", environ={"HTTP_TRACEPARENT": PARENT, "HTTP_COOKIE": SECRET})
    with pytest.raises(ValueError, match=SECRET):
        call_wsgi(wrapped, "/raises")
    slow, failed = events(measured, REQUEST, 2)
    assert (slow["reason"], slow["external_us"], slow["trace"]) == ("slow", 2_000, TRACE)
    assert (failed["reason"], failed["status"], failed["error"]) == ("failed", 500, "ValueError")
    assert SECRET not in json.dumps([dict(slow), dict(failed)])


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        SECRET,
    ],
)
def test_what_is_no_trace_is_none(header: str) -> None:
    assert trace_of(header) == ("", "")


def test_a_later_version_of_a_trace_is_read() -> None:
    assert trace_of(f"cc-{TRACE}-{SPAN}-01-more") == (TRACE, SPAN)


@pytest.mark.asyncio
async def test_server_timing_tells_what_was_measured(measured: Measured, clock: Clock) -> None:
    app = measured.asgi(app_of(clock, 12), context=True, server_timing=True)

    async def work() -> list[bytes]:
        return (await request(app)).header(b"server-timing")

    assert await work() == [
        b'total;dur=12.00, db;dur=3.00;desc="2 queries", cache;dur=0.50;desc="1 of 3 hit"'
    ]
