"""The WSGI wrapper: what the server gets is what the app gave, and each request is one record."""

import gc
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest

from support.clock import Clock
from support.processes.drive import Measured, call_wsgi
from trimtab import WSGIMiddleware
from trimtab.context import RequestContext, context_variable, current_context
from trimtab.runtime import runtime_for
from trimtab.settings import read_settings
from trimtab_core.records import (
    FLAG_BACKGROUND,
    FLAG_FAILED,
    FLAG_STREAMED,
    FLAG_UNKNOWN_BYTES,
    KIND_EVENT_STREAM,
)

Start = Callable[..., Any]
PLAIN = [("Content-Type", "text/plain")]


def app_of(body: Any, status: str = "200 OK") -> Any:
    def app(environ: Any, start_response: Start) -> Any:
        start_response(status, PLAIN)
        return body() if callable(body) else body

    return app


class Body:
    """A body that counts how often it was closed."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            if isinstance(part, BaseException):
                raise part
            if callable(part):
                part()
            else:
                yield part

    def close(self) -> None:
        self.closed += 1


class Sized(Body):
    def __len__(self) -> int:
        return len(self.parts)


@pytest.mark.parametrize("body", [[b"ab", b"cde"], (b"abcde",)], ids=["list", "tuple"])
def test_a_list_or_tuple_is_returned_as_it_is(measured: Measured, body: Any) -> None:
    started = call_wsgi(measured.wsgi(app_of(body, "201 Created")), "/x", "POST")
    assert started.body is body
    assert started.headers is PLAIN
    seen = measured.one()
    assert (seen.template, seen.method) == ("unmatched", "POST")
    assert (seen.record.status, seen.record.bytes, seen.record.flags) == (201, 5, 0)


def test_a_generator_is_measured_to_its_last_part(measured: Measured, clock: Clock) -> None:
    def app(environ: Any, start_response: Start) -> Any:
        clock.advance_ms(5)
        start_response("200 OK", PLAIN)
        yield b"ab"
        clock.advance_ms(10)
        yield b"cd"
        clock.advance_ms(10)

    started = call_wsgi(measured.wsgi(app))
    assert started.parts == [b"ab", b"cd"]
    record = measured.one().record
    assert (record.ttfb_us, record.duration_us, record.bytes) == (5000, 25_000, 4)


@pytest.mark.parametrize("take", [None, 1, 0], ids=["taken whole", "taken in part", "never taken"])
def test_close_is_forwarded_once(measured: Measured, take: int | None) -> None:
    body = Body(b"a", b"b")
    call_wsgi(measured.wsgi(app_of(body)), take=take)
    assert body.closed == 1
    status = 499 if take == 1 else 200
    assert measured.one().record.status == status


def test_a_body_that_was_not_taken_for_head_is_no_client_that_left(measured: Measured) -> None:
    body = Body(b"a", b"b")
    call_wsgi(measured.wsgi(app_of(body)), method="HEAD", take=1)
    assert body.closed == 1
    seen = measured.one()
    assert (seen.method, seen.record.status) == ("HEAD", 200)


def test_an_error_response_that_is_not_taken_whole_keeps_its_status(measured: Measured) -> None:
    call_wsgi(measured.wsgi(app_of(Body(b"a", b"b"), "503 Busy")), take=1)
    assert measured.one().record.status == 503


def test_a_close_that_fails_is_heard_of_and_the_request_counted(measured: Measured) -> None:
    class Failing(Body):
        def close(self) -> None:
            raise RuntimeError("close")

    with pytest.raises(RuntimeError, match="close"):
        call_wsgi(measured.wsgi(app_of(Failing(b"a"))))
    request, background = (seen.record for seen in measured.records(2))
    assert (request.status, request.flags & FLAG_FAILED) == (200, 0)
    assert (background.status, background.flags) == (200, FLAG_BACKGROUND | FLAG_FAILED)


def test_a_request_that_has_failed_does_not_fail_twice(measured: Measured) -> None:
    class Failing(Body):
        def close(self) -> None:
            raise RuntimeError("close")

    with pytest.raises(RuntimeError, match="close"):
        call_wsgi(measured.wsgi(app_of(Failing(ValueError()))))
    assert measured.one().record.status == 500


@pytest.mark.parametrize("kind", ["text/plain", "text/event-stream"])
@pytest.mark.parametrize("take", [1, 0], ids=["taken in part", "never taken"])
def test_a_body_that_nobody_closes_ends_when_nobody_holds_it(
    measured: Measured, take: int, kind: str
) -> None:
    def app(environ: Any, start_response: Start) -> Any:
        start_response("200 OK", [("Content-Type", kind)])
        return Body(b"a", b"b")

    recorder = runtime_for(read_settings(**measured.settings(context=True))).recorder
    wrapped = measured.wsgi(app, context=True)

    def two_requests() -> None:
        started = call_wsgi(wrapped, take=take, close=False)
        assert recorder.in_flight() + recorder.event_streams == 1
        context_variable.set(other := RequestContext())
        del started
        gc.collect()
        assert current_context() is other, "that of another request stays"

    copy_context().run(two_requests)
    assert (recorder.in_flight(), recorder.event_streams) == (0, 0)
    record = measured.one().record
    if kind == "text/plain":
        assert (record.status, record.kind) == (499, 0)
    else:
        assert (record.status, record.kind) == (200, KIND_EVENT_STREAM)


def test_the_child_of_a_fork_does_not_book_a_body_of_its_parent(measured: Measured) -> None:
    wrapped = measured.wsgi(app_of(Body(b"a", b"b")))
    started = call_wsgi(wrapped, take=1, close=False)
    recorder = runtime_for(read_settings(**measured.settings())).recorder
    child = os.fork()
    if not child:
        del started
        gc.collect()
        os._exit(len(recorder.buffer) + recorder.in_flight())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    started.body.close()
    assert measured.one().record.status == 499


def test_a_body_without_close_gets_none_that_fails(measured: Measured) -> None:
    call_wsgi(measured.wsgi(app_of(lambda: iter([b"a", b"b"]))))
    assert measured.one().record.bytes == 2


def test_len_is_there_when_the_apps_body_has_one(measured: Measured) -> None:
    sized = call_wsgi(measured.wsgi(app_of(Sized(b"a"))))
    assert len(sized.body) == 1
    assert not hasattr(call_wsgi(measured.wsgi(app_of(Body(b"a")))).body, "__len__")
    assert [seen.record.bytes for seen in measured.records(2)] == [1, 1]


def test_a_file_wrapper_stays_the_servers_own_and_is_closed(measured: Measured) -> None:
    file = io.BytesIO(b"x" * 100)

    def app(environ: Any, start_response: Start) -> Any:
        start_response("200 OK", PLAIN)
        return environ["wsgi.file_wrapper"](file, 64)

    started = call_wsgi(measured.wsgi(app), environ={"wsgi.file_wrapper": FileWrapper})
    assert type(started.body) is FileWrapper
    assert started.parts == [b"x" * 64, b"x" * 36]
    assert file.closed
    record = measured.one().record
    assert (record.status, record.bytes, record.flags) == (200, 0, FLAG_UNKNOWN_BYTES)


@pytest.mark.parametrize(
    ("error", "status", "flags"),
    [(BrokenPipeError(), 499, 0), (SystemExit(), 499, 0), (ValueError(), 200, FLAG_FAILED)],
    ids=["the client left", "the server stops", "the file cannot be read"],
)
def test_a_file_whose_sending_breaks_is_booked_as_other_bodies_are(
    measured: Measured, error: BaseException, status: int, flags: int
) -> None:
    def app(environ: Any, start_response: Start) -> Any:
        start_response("200 OK", PLAIN)
        return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 100), 64)

    body = call_wsgi(
        measured.wsgi(app), environ={"wsgi.file_wrapper": FileWrapper}, close=False, take=1
    ).body

    def send() -> None:
        try:
            raise error
        finally:
            body.close()

    with pytest.raises(type(error)):
        send()
    record = measured.one().record
    assert (record.status, record.flags) == (status, flags | FLAG_UNKNOWN_BYTES)


def test_a_file_that_nobody_closes_ends_when_nobody_holds_it(measured: Measured) -> None:
    def app(environ: Any, start_response: Start) -> Any:
        start_response("200 OK", PLAIN)
        return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 100), 64)

    call_wsgi(measured.wsgi(app), environ={"wsgi.file_wrapper": FileWrapper}, close=False, take=1)
    gc.collect()
    record = measured.one().record
    assert (record.status, record.flags) == (499, FLAG_UNKNOWN_BYTES)


def test_the_write_callable_is_the_servers_own(measured: Measured) -> None:
    def app(environ: Any, start_response: Start) -> list[bytes]:
        write = start_response("200 OK", PLAIN)
        write(b"first")
        write(b"second")
        return [b"last"]

    started = call_wsgi(measured.wsgi(app))
    assert started.written == [b"first", b"second"]
    assert started.parts == [b"last"]
    assert measured.one().record.bytes == len(b"last")


@pytest.mark.parametrize(
    ("app", "status", "flags"),
    [
        (lambda e, s: (_ for _ in ()).throw(RuntimeError), 500, 0),
        (app_of(Body(RuntimeError())), 500, 0),
        (app_of(Body(b"a", RuntimeError())), 200, FLAG_FAILED),
        (app_of(Body(b"a", RuntimeError()), "404 Not Found"), 404, FLAG_FAILED),
        (app_of(Body(b"a", GeneratorExit())), 200, FLAG_FAILED),
    ],
    ids=["before any start", "in the first part", "mid stream", "mid 404", "no Exception"],
)
def test_an_exception_reaches_the_server_and_is_booked(
    measured: Measured, app: Any, status: int, flags: int
) -> None:
    with pytest.raises((RuntimeError, GeneratorExit)):
        call_wsgi(measured.wsgi(app))
    record = measured.one().record
    assert (record.status, record.flags & ~FLAG_STREAMED) == (status, flags)


def test_an_exception_in_the_app_is_a_500_also_after_start_response(measured: Measured) -> None:
    def app(environ: Any, start_response: Start) -> list[bytes]:
        start_response("200 OK", PLAIN)
        raise RuntimeError("late")

    with pytest.raises(RuntimeError, match="late"):
        call_wsgi(measured.wsgi(app))
    assert measured.one().record.status == 500


def test_a_second_start_response_replaces_the_first(measured: Measured) -> None:
    def app(environ: Any, start_response: Start) -> list[bytes]:
        start_response("200 OK", PLAIN)
        try:
            raise RuntimeError
        except RuntimeError as error:
            start_response("502 Bad", PLAIN, (type(error), error, None))
        return [b""]

    assert call_wsgi(measured.wsgi(app)).status == "502 Bad"
    assert measured.one().record.status == 502


@pytest.mark.parametrize("status", ["", "OK", "2"])
def test_a_status_without_a_number_breaks_nothing(measured: Measured, status: str) -> None:
    assert call_wsgi(measured.wsgi(app_of([b""], status))).status == status
    assert measured.one().record.status in (500, 2)


@pytest.mark.parametrize("outside", [True, False], ids=["validator outside", "validator inside"])
@pytest.mark.parametrize("body", [[b"ab"], Body(b"a", b"b")], ids=["list", "iterable"])
def test_the_validator_of_the_standard_library_finds_nothing(
    measured: Measured, outside: bool, body: Any
) -> None:
    app = app_of(body)
    wrapped = validator(measured.wsgi(app)) if outside else measured.wsgi(validator(app))
    environ = {
        "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(), "HTTP_HOST": "localhost",
    }  # fmt: skip
    assert b"".join(call_wsgi(wrapped, environ=environ).parts) == b"ab"
    assert measured.one().record.status == 200


def test_wrapping_twice_measures_once(measured: Measured) -> None:
    call_wsgi(measured.wsgi(measured.wsgi(app_of([b""]))))
    measured.one()


def test_off_means_the_app_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_ENABLED", "off")
    app = app_of([b"x"])
    assert WSGIMiddleware(app)._call is app


def test_unknown_methods_are_one(measured: Measured) -> None:
    app = measured.wsgi(app_of([b""]))
    for method in ("BREW", "get", "", "GET"):
        call_wsgi(app, method=method)
    assert [seen.method for seen in measured.records(4)] == ["_OTHER", "_OTHER", "_OTHER", "GET"]


def test_eight_threads_are_counted_exactly(measured: Measured) -> None:
    settings = measured.settings(context=True, buffer_kib=4096)
    recorder = runtime_for(read_settings(**settings)).recorder
    app = WSGIMiddleware(app_of(lambda: Body(b"a", b"b")), **settings)
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait(5)
        for _ in range(500):
            call_wsgi(app)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    records = measured.records(4000)
    assert {seen.record.bytes for seen in records} == {2}
    assert recorder.in_flight() == 0
