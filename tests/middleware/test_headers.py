"""Headers: Server-Timing, X-Request-ID and X-Request-Start, and none at all when they are off."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import Clock
from support.processes.drive import Measured, call, call_wsgi
from trimtab import current_context
from trimtab.headers import server_timing, valid_request_id
from trimtab.queueing import queue_time_us
from trimtab_core.records import FLAG_CONTEXT, FLAG_QUEUED

#: Constant messages, as frameworks have them: whoever adds to them in place makes them grow.
START: dict[str, Any] = {
    "type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")],
}  # fmt: skip
BODY = {"type": "http.response.body", "body": b"ok"}


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    await send(BODY)


def test_nothing_is_added_when_the_features_are_off(measured: Measured) -> None:
    answer = call(measured.asgi(ok))
    assert answer.messages[0] is START
    assert answer.messages[1] is BODY


def test_constant_messages_do_not_grow(measured: Measured) -> None:
    app = measured.asgi(ok, server_timing=True, request_id=True)
    answers = [call(app) for _ in range(3)]
    assert [len(answer.headers) for answer in answers] == [3, 3, 3]
    assert START["headers"] == [(b"content-type", b"text/plain")]


def test_server_timing_tells_the_time_until_the_response_started(
    measured: Measured, clock: Clock
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        clock.advance_ms(12.34)
        await send(START)
        clock.advance_ms(50)
        await send(BODY)

    answer = call(measured.asgi(app, server_timing=True))
    assert answer.header(b"server-timing") == [b"total;dur=12.34"]
    assert measured.one().record.duration_us == 62_340


def test_server_timing_has_the_queue_when_a_proxy_says_so(measured: Measured) -> None:
    app = measured.asgi(ok, server_timing=True)
    answer = call(app, headers=[(b"x-request-start", b"t=%.3f" % (time.time() - 2))])
    (value,) = answer.header(b"server-timing")
    assert value.startswith(b"total;dur=0.")
    name, _, milliseconds = value.split(b", ")[1].partition(b";dur=")
    assert name == b"queue"
    assert 1990 < float(milliseconds) < 12_000


@given(st.integers(0, 10**11), st.integers(0, 10**9))
def test_server_timing_is_in_ms_with_two_digits(elapsed_ns: int, queue_us: int) -> None:
    value = server_timing(elapsed_ns, queue_us)
    parts = dict(part.split(b";dur=") for part in value.split(b", "))
    assert parts[b"total"] == b"%d.%02d" % divmod(elapsed_ns // 10_000, 100)
    assert (b"queue" in parts) == (queue_us > 0)
    if queue_us:
        assert parts[b"queue"] == b"%d.%02d" % divmod(queue_us // 10, 100)


# ---------------------------------------------------------------- X-Request-ID


def test_a_valid_request_id_comes_back(measured: Measured) -> None:
    app = measured.asgi(ok, request_id=True)
    answer = call(app, headers=[(b"x-request-id", b"a-1.B:2/3_=+@")])
    assert answer.header(b"x-request-id") == [b"a-1.B:2/3_=+@"]


@pytest.mark.parametrize(
    "given_id", [b"", b"two words", b"a\r\nset-cookie: x", b"a\n", b"x" * 129, "ü".encode(), b'"']
)
def test_an_invalid_request_id_is_replaced(measured: Measured, given_id: bytes) -> None:
    app = measured.asgi(ok, request_id=True)
    (own,) = call(app, headers=[(b"x-request-id", given_id)]).header(b"x-request-id")
    assert own != given_id
    assert len(own) == 32
    assert valid_request_id(own)


def test_request_ids_differ(measured: Measured) -> None:
    app = measured.asgi(ok, request_id=True)
    assert len({call(app).header(b"x-request-id")[0] for _ in range(20)}) == 20


def test_the_apps_own_request_id_gives_way(measured: Measured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({**START, "headers": [(b"x-request-id", b"own"), (b"a", b"b")]})
        await send(BODY)

    answer = call(measured.asgi(app, request_id=True), headers=[(b"x-request-id", b"callers")])
    assert answer.headers == [(b"a", b"b"), (b"x-request-id", b"callers")]


def test_wsgi_has_the_same_headers(measured: Measured, clock: Clock) -> None:
    headers = [("Content-Type", "text/plain"), ("X-Request-ID", "own")]

    def app(environ: Any, start_response: Any) -> list[bytes]:
        clock.advance_ms(1.5)
        start_response("200 OK", headers)
        return [b"ok"]

    wrapped = measured.wsgi(app, server_timing=True, request_id=True)
    for _ in range(2):
        started = call_wsgi(wrapped, environ={"HTTP_X_REQUEST_ID": "callers"})
        assert started.headers == [
            ("Content-Type", "text/plain"),
            ("X-Request-ID", "callers"),
            ("Server-Timing", "total;dur=1.50"),
        ]
    assert len(headers) == 2
    replaced = dict(call_wsgi(wrapped, environ={"HTTP_X_REQUEST_ID": "a b"}).headers)[
        "X-Request-ID"
    ]
    assert len(replaced) == 32


@pytest.mark.parametrize("headers", [[None], [()], [(None, "x")], None, 7], ids=repr)
def test_malformed_headers_reach_the_wsgi_server_as_they_are(
    measured: Measured, headers: Any
) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return [b"ok"]

    wrapped = measured.wsgi(app, server_timing=True, request_id=True)
    assert call_wsgi(wrapped).headers is headers


# ---------------------------------------------------------------- X-Request-Start


@pytest.mark.parametrize("scale", [1, 1e3, 1e6, 1e9], ids=["s", "ms", "us", "ns"])
@pytest.mark.parametrize("prefix", ["", "t="])
def test_the_start_of_a_queue_is_read_in_any_unit(scale: float, prefix: str) -> None:
    now = time.time()
    stamp = f"{prefix}{(now - 3) * scale:.3f}"
    waited = queue_time_us(stamp.encode())
    assert 2_990_000 <= waited <= 3_000_000 + (time.time() - now + 0.01) * 1e6


@pytest.mark.parametrize("ahead_s", [-3601, 1.5, 86400 * 365])
def test_a_time_that_is_stale_or_ahead_is_no_queue(ahead_s: float) -> None:
    assert queue_time_us(f"{time.time() + ahead_s:.6f}") == -1


def test_a_clock_that_is_a_little_ahead_means_no_wait() -> None:
    assert queue_time_us(f"{time.time() + 0.9:.6f}") == 0


@given(st.binary(max_size=30) | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_no_header_value_breaks_the_reader(value: bytes) -> None:
    assert queue_time_us(value) >= -1


@pytest.mark.parametrize("name", [b"x-request-start", b"x-queue-start"])
def test_the_queue_time_is_in_the_record(measured: Measured, name: bytes) -> None:
    call(measured.asgi(ok), headers=[(b"a", b"b"), (name, b"t=%.3f" % (time.time() - 5))])
    record = measured.one().record
    assert record.flags == FLAG_QUEUED
    assert 4_990_000 < record.queue_us < 15_000_000


@pytest.mark.parametrize("value", [b"soon", b"t=1", b"nan", b"inf", b"99999999999999999999"])
def test_a_useless_queue_time_leaves_no_trace(measured: Measured, value: bytes) -> None:
    assert call(measured.asgi(ok), headers=[(b"x-request-start", value)]).status == 200
    record = measured.one().record
    assert (record.queue_us, record.flags) == (0, 0)


def test_queue_times_can_be_switched_off(measured: Measured) -> None:
    app = measured.asgi(ok, queue_time=False)
    call(app, headers=[(b"x-request-start", b"t=%.3f" % (time.time() - 5))])
    assert measured.one().record.flags == 0


def test_a_proxy_that_comes_late_is_still_noticed(measured: Measured) -> None:
    app = measured.asgi(ok)
    for _ in range(1100):  # more than are looked at in any case
        call(app)
    measured.peer.wait_records(1100, 20)
    header = (b"x-request-start", b"t=%.3f" % (time.time() - 5))
    # One request in each interval is looked at, and every one from the first hit on.
    for n in range(1, 400):
        call(app, headers=[header])
        measured.peer.wait_records(1100 + n)
        if measured.peer.records()[-1].record.flags & FLAG_QUEUED:
            break
    else:
        pytest.fail("the header was never noticed")


# ---------------------------------------------------------------- the context


def test_what_code_adds_to_the_context_is_in_the_record(measured: Measured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        context = current_context()
        assert context is not None
        context.add_db(1_500_000, calls=2)
        context.add_external(7_000_000)
        context.add_cache(90_000, hits=3, misses=1)
        await ok(scope, receive, send)

    call(measured.asgi(app, context=True))
    record = measured.one().record
    assert record.flags == FLAG_CONTEXT
    assert (record.db_us, record.db_calls) == (1500, 2)
    assert (record.external_us, record.external_calls) == (7000, 1)
    assert (record.cache_us, record.cache_hits, record.cache_misses) == (90, 3, 1)


def test_an_untouched_context_leaves_no_trace_and_is_gone_afterwards(measured: Measured) -> None:
    call(measured.asgi(ok, context=True))
    assert current_context() is None
    assert measured.one().record.flags == 0


def test_without_the_setting_there_is_no_context(measured: Measured) -> None:
    contexts: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        contexts.append(current_context())
        await ok(scope, receive, send)

    call(measured.asgi(app))
    assert contexts == [None]


def test_the_context_works_in_wsgi_too_also_while_the_body_is_made(measured: Measured) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        context = current_context()
        assert context is not None
        yield b"a"
        context.add_db(2_000_000)

    call_wsgi(measured.wsgi(app, context=True))
    assert measured.one().record.db_us == 2000
    assert current_context() is None
