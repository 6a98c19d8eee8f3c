"""What an ASGI request is counted as: status, bytes, time to first byte, duration, who left."""

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from support.clock import Clock
from support.processes.drive import Measured, Message, call, request
from trimtab_core.records import FLAG_BACKGROUND, FLAG_FAILED, FLAG_STREAMED, FLAG_UNKNOWN_BYTES

START = {"type": "http.response.start", "status": 200, "headers": []}


def body(data: bytes, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class ClientDisconnect(Exception):  # noqa: N818 - known to the wrapper by this name
    """What Starlette raises when the client left; the wrapper must not import Starlette."""


def app_of(*steps: Any) -> Any:
    """An app that does its steps in order: sends messages, calls functions, raises exceptions."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for step in steps:
            if isinstance(step, dict):
                await send(step)
            elif isinstance(step, BaseException):
                raise step
            else:
                step()

    return app


def test_a_plain_request_is_one_record_with_all_its_figures(
    measured: Measured, clock: Clock
) -> None:
    app = app_of(
        lambda: clock.advance_ms(2),
        {**START, "status": 201},
        lambda: clock.advance_ms(3),
        body(b"x" * 1234),
    )
    answer = call(measured.asgi(app), method="POST")
    assert (answer.status, answer.body) == (201, b"x" * 1234)
    seen = measured.one()
    assert (seen.template, seen.method) == ("unmatched", "POST")
    record = seen.record
    assert (record.status, record.bytes, record.flags) == (201, 1234, 0)
    # A body of one message is its own first byte: it has no time of its own.
    assert (record.duration_us, record.ttfb_us) == (5000, 0)


def test_a_stream_lasts_to_its_last_byte_and_begins_with_its_first(
    measured: Measured, clock: Clock
) -> None:
    def tick() -> None:
        clock.advance_ms(10)

    chunks = [body(b"ab", more=True), tick, body(b"cd", more=True), tick, body(b"", more=False)]
    call(measured.asgi(app_of(tick, START, *chunks)))
    record = measured.one().record
    assert (record.ttfb_us, record.duration_us, record.bytes) == (10_000, 30_000, 4)


def test_the_servers_own_time_after_the_last_byte_is_not_counted(
    measured: Measured, clock: Clock
) -> None:
    call(measured.asgi(app_of(START, body(b"x"), lambda: clock.advance_ms(0.9))))
    assert measured.one().record.duration_us == 0


def test_work_after_the_last_byte_is_booked_apart(measured: Measured, clock: Clock) -> None:
    steps = (lambda: clock.advance_ms(4), START, body(b"x"), lambda: clock.advance_ms(50))
    call(measured.asgi(app_of(*steps)))
    request_, background = measured.records(2)
    assert (request_.record.duration_us, request_.record.flags) == (4000, 0)
    assert background.record.flags == FLAG_BACKGROUND
    assert (background.record.duration_us, background.record.status) == (50_000, 200)


def test_work_after_the_last_byte_that_fails_is_flagged_and_the_request_is_not(
    measured: Measured, clock: Clock
) -> None:
    steps = (START, body(b"x"), lambda: clock.advance_ms(50), RuntimeError("late"))
    answer = call(measured.asgi(app_of(*steps)))
    assert isinstance(answer.error, RuntimeError)
    request_, background = measured.records(2)
    assert (request_.record.status, request_.record.flags) == (200, 0)
    assert background.record.flags == FLAG_BACKGROUND | FLAG_FAILED


def test_work_after_the_last_byte_that_fails_at_once_is_booked(
    measured: Measured, clock: Clock
) -> None:
    answer = call(measured.asgi(app_of(START, body(b"x"), KeyError("task"))))
    assert isinstance(answer.error, KeyError)
    request_, background = measured.records(2)
    assert (request_.record.status, request_.record.flags) == (200, 0)
    assert background.record.flags == FLAG_BACKGROUND | FLAG_FAILED
    assert (background.record.duration_us, background.record.status) == (0, 200)


def test_work_after_the_last_byte_that_is_cancelled_has_not_failed(
    measured: Measured, clock: Clock
) -> None:
    steps = (START, body(b"x"), lambda: clock.advance_ms(50), asyncio.CancelledError())
    call(measured.asgi(app_of(*steps)))
    _, background = measured.records(2)
    assert background.record.flags == FLAG_BACKGROUND


@pytest.mark.parametrize(
    ("messages", "status"),
    [((), 499), ((START,), 499), ((START, body(b"x", True)), 499), ((START, body(b"x")), 200)],
    ids=["before the start", "after the start", "mid stream", "after the last byte"],
)
def test_a_request_that_the_server_leaves_behind_as_it_stops_has_not_failed(
    measured: Measured, clock: Clock, messages: Any, status: int
) -> None:
    class Never:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)
        await Never()

    async def send(message: Message) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "root_path": ""}
    left = measured.asgi(app)(scope, send, send)  # type: ignore[arg-type]
    left.send(None)
    left.close()
    record = measured.one().record
    assert (record.status, record.flags & ~FLAG_STREAMED) == (status, 0)


@pytest.mark.parametrize(
    ("steps", "status", "flags"),
    [
        ((RuntimeError("early"),), 500, 0),
        ((OSError("disk"),), 500, 0),
        ((), 500, 0),
        ((START, RuntimeError("late")), 200, FLAG_FAILED),
        ((START, body(b"x", True), RuntimeError("late")), 200, FLAG_FAILED),
        (({**START, "status": 404}, RuntimeError("late")), 404, FLAG_FAILED),
        ((START, OSError("gone")), 499, 0),
        ((START, body(b"x", True), ConnectionResetError()), 499, 0),
        ((asyncio.CancelledError(),), 499, 0),
        ((START, asyncio.CancelledError()), 499, 0),
        ((ClientDisconnect(),), 499, 0),
        ((START, ClientDisconnect()), 499, 0),
        ((START,), 499, 0),
        ((START, body(b"x", True)), 499, 0),
        (({**START, "status": 503}, body(b"x", True)), 503, 0),
        (({**START, "status": 500}, body(b"boom"), ClientDisconnect()), 499, 0),
        (({**START, "status": 500}, body(b"boom"), RuntimeError("re-raised")), 500, 0),
        ((START, body(b"x"), asyncio.CancelledError()), 200, 0),
        ((START, body(b"x"), OSError("gone")), 200, 0),
    ],
    ids=[
        "exception before the start", "OSError before the start", "no response at all",
        "exception after the start", "exception mid stream", "exception after a 404 start",
        "OSError after the start", "reset mid stream", "cancelled before the start",
        "cancelled after the start", "ClientDisconnect before the start",
        "ClientDisconnect after the start", "return without a body",
        "return without the last body", "a 503 without its last body",
        "ClientDisconnect that a framework answered with its 500",
        "a 500 that the framework re-raises", "cancelled after the last byte",
        "the server's send of the last byte",
    ],
)  # fmt: skip
def test_each_way_to_end_has_its_status(
    measured: Measured, clock: Clock, steps: Any, status: int, flags: int
) -> None:
    answer = call(measured.asgi(app_of(*steps)))
    raised = [step for step in steps if isinstance(step, BaseException)]
    assert (answer.error in raised) if raised else answer.error is None
    record = measured.one().record
    assert (record.status, record.flags) == (status, flags)


def test_an_error_of_the_servers_send_mid_stream_is_a_client_that_left(
    measured: Measured,
) -> None:
    async def hang_up(message: Message) -> None:
        if message.get("body") == b"second":
            raise BrokenPipeError

    app = app_of(START, body(b"first", True), body(b"second", True), body(b"third"))
    assert isinstance(call(measured.asgi(app), on_send=hang_up).error, BrokenPipeError)
    assert measured.one().record.status == 499


def test_the_answer_to_head_is_whole_without_a_body(measured: Measured) -> None:
    call(measured.asgi(app_of(START, body(b""))), method="HEAD")
    seen = measured.one()
    assert (seen.method, seen.record.status, seen.record.bytes) == ("HEAD", 200, 0)


def test_trailers_end_the_response(measured: Measured, clock: Clock) -> None:
    call(
        measured.asgi(
            app_of(
                {**START, "trailers": True},
                body(b"abc"),
                lambda: clock.advance_ms(5),
                {"type": "http.response.trailers", "headers": [], "more_trailers": True},
                lambda: clock.advance_ms(5),
                {"type": "http.response.trailers", "headers": [(b"a", b"b")]},
            )
        )
    )
    record = measured.one().record
    assert (record.duration_us, record.bytes, record.flags) == (10_000, 3, 0)


@pytest.mark.parametrize("kind", ["pathsend", "zerocopysend"])
def test_a_file_handed_to_the_server_has_unknown_bytes(measured: Measured, kind: str) -> None:
    message = {"type": f"http.response.{kind}", "path": "/tmp/x"}
    answer = call(measured.asgi(app_of(START, message)))
    assert answer.messages[1] is message
    record = measured.one().record
    assert (record.status, record.bytes, record.flags) == (200, 0, FLAG_UNKNOWN_BYTES)


def test_a_zero_copy_of_many_parts_ends_with_its_last(measured: Measured, clock: Clock) -> None:
    part = {"type": "http.response.zerocopysend", "file": 3, "more_body": True}
    steps = (START, part, lambda: clock.advance_ms(7), {**part, "more_body": False})
    call(measured.asgi(app_of(*steps)))
    assert measured.one().record.duration_us == 7000


def test_messages_of_unknown_extensions_pass_as_they_are(measured: Measured) -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>"]}
    push = {"type": "http.response.push", "path": "/a", "headers": []}
    answer = call(measured.asgi(app_of(hint, push, START, body(b"x"))))
    assert answer.messages[0] is hint
    assert answer.messages[1] is push
    assert measured.one().record.status == 200


def test_a_body_without_its_keys_is_the_empty_last_one(measured: Measured) -> None:
    call(measured.asgi(app_of({"type": "http.response.start", "status": 204}, _EMPTY)))
    record = measured.one().record
    assert (record.status, record.bytes) == (204, 0)


_EMPTY = {"type": "http.response.body"}


def test_a_response_of_six_gib_is_counted_in_kib(measured: Measured) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 3 << 30

    call(measured.asgi(app_of(START, body(Huge(), True), body(Huge()))))
    assert measured.one().record.bytes == 6 << 20


def test_a_request_of_two_hours_is_clamped_and_counted(measured: Measured, clock: Clock) -> None:
    call(measured.asgi(app_of(lambda: clock.advance_ms(7.2e6), START, body(b""))))
    assert measured.one().record.duration_us == 2**32 - 1


@pytest.mark.parametrize(
    ("given", "status"), [("201", 201), (201.0, 201), (None, 500), ("fine", 500), (object(), 500)]
)
def test_a_status_that_is_no_number_is_booked_as_what_a_server_makes_of_it(
    measured: Measured, clock: Clock, given: Any, status: int
) -> None:
    steps = ({**START, "status": given}, body(b""), lambda: clock.advance_ms(50))
    assert call(measured.asgi(app_of(*steps))).error is None
    request_, background = measured.records(2)
    assert (request_.record.status, background.record.status) == (status, status)


@pytest.mark.asyncio
async def test_requests_at_the_same_time_do_not_mix(measured: Measured) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        n = int(scope["path"][1:])
        await send({**START, "status": 200 + n})
        for _ in range(n):
            await asyncio.sleep(0)
            await send(body(b"x", True))
        await send(body(b""))

    wrapped = measured.asgi(app)
    await asyncio.gather(*(request(wrapped, f"/{n}") for n in range(50)))
    records = [seen.record for seen in measured.records(50)]
    assert sorted((r.status, r.bytes) for r in records) == [(200 + n, n) for n in range(50)]
