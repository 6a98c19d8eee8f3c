"""The ASGI wrapper changes nothing: what the server sees is what it would see without it."""

import asyncio
import contextvars
import inspect
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support.apps import asgi_corpus as corpus
from support.apps.asgi_callables import ASGI2, CALLABLES
from support.processes.drive import Measured, measuring
from support.processes.playing import play, playing, same, without_added
from trimtab import current_context

ALL = {"server_timing": True, "request_id": True, "context": True, "exclude": "/no/such"}
FEATURES = pytest.mark.parametrize(
    "features", [{}, ALL, {"enabled": False}], ids=["plain", "all", "off"]
)


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    """One peer for all: what is recorded is not looked at here."""
    with measuring() as found:
        yield found


@FEATURES
@pytest.mark.parametrize("name", corpus.HTTP)
def test_a_response_is_the_same_message_for_message(
    measured: Measured, name: str, features: dict[str, Any]
) -> None:
    app = corpus.app_of(*corpus.HTTP[name])
    wrapped = measured.asgi(app, **features)
    for method in ("GET", "HEAD"):
        bare = playing(app, method=method)
        again = playing(wrapped, method=method)
        if not features.get("server_timing"):
            # The very objects that the app has sent.
            constants = {id(step) for step in corpus.HTTP[name]}
            assert [i in constants for i in again.ids] == [i in constants for i in bare.ids]
        same(bare, again, features)
        # Constant messages do not grow.
        same(bare, playing(wrapped, method=method), features)


@FEATURES
@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_connections_and_lifespans_are_the_same_message_for_message(
    measured: Measured, kind: str, features: dict[str, Any]
) -> None:
    cases = corpus.SOCKET if kind == "websocket" else corpus.LIFESPAN
    for name, steps in cases.items():
        app = corpus.app_of(*steps)
        bare, wrapped = playing(app, kind), playing(measured.asgi(app, **features), kind)
        try:
            assert [id(s) in wrapped.ids for s in steps] == [id(s) in bare.ids for s in steps]
            same(bare, wrapped, {})
        except AssertionError as error:
            raise AssertionError(f"{kind}: {name}") from error


PLACES = {
    "before the start": [],
    "after the start": [corpus.HTTP["plain"][0]],
    "mid body": corpus.HTTP["no end"],
    "after the end": corpus.HTTP["plain"],
}


@FEATURES
@pytest.mark.parametrize("place", PLACES)
def test_an_exception_is_the_same_object_with_the_same_context(
    measured: Measured, place: str, features: dict[str, Any]
) -> None:
    for make in corpus.ERRORS:
        error = make()
        error.__cause__ = cause = ValueError("cause")
        wrapped = measured.asgi(corpus.app_of(*PLACES[place], error), **features)
        seen = playing(wrapped)
        assert seen.error is error
        assert (error.__cause__, error.__context__) == (cause, None)
        assert len(seen.messages) == len(PLACES[place])


@FEATURES
@pytest.mark.parametrize("name", CALLABLES)
def test_an_app_need_not_be_a_coroutine_function(
    measured: Measured, name: str, features: dict[str, Any]
) -> None:
    app = CALLABLES[name]
    wrapped = measured.asgi(app, **features)
    same(playing(app), playing(wrapped), features)
    # A server asks what __call__ is, to tell ASGI 2 and 3 apart.
    assert inspect.iscoroutinefunction(wrapped.__call__)


@FEATURES
@pytest.mark.parametrize("name", ASGI2)
def test_an_app_of_asgi_2_becomes_one_of_asgi_3(
    measured: Measured, name: str, features: dict[str, Any]
) -> None:
    app = ASGI2[name]

    async def single(scope: Any, receive: Any, send: Any) -> None:
        await app(scope)(receive, send)

    same(playing(single), playing(measured.asgi(app, **features)), features)


@pytest.mark.asyncio
@FEATURES
@pytest.mark.parametrize("kind", ["http", "websocket", "lifespan", "other"])
async def test_the_app_gets_the_servers_own_scope_and_receive(
    measured: Measured, kind: str, features: dict[str, Any]
) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.append((scope, receive, send, {**scope}))

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    headers: list[Any] = []
    scope = {
        "type": kind, "method": "GET", "path": "/", "root_path": "", "headers": headers,
        "state": {}, "extensions": {},
    }  # fmt: skip
    before = {**scope}
    await measured.asgi(app, **features)(scope, receive, send)
    ((given, given_receive, given_send, inside),) = got
    assert given is scope
    assert all(given[key] is value for key, value in before.items())
    assert {*inside} - {*before} <= {"trimtab"}
    if kind != "websocket":
        assert given_receive is receive
    if kind == "other":
        assert given_send is send


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "headers",
    [None, 7, [(b"a", b"b", b"c")], [b""], {b"x-request-start": b"1"}, [(b"x-request-start", 7)]],
    ids=["absent", "a number", "triples", "no pairs", "a mapping", "a number as value"],
)
async def test_a_scope_with_odd_headers_reaches_the_app(
    measured: Measured, kind: str, headers: Any
) -> None:
    reached: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope.get("headers"))

    for features in ({}, ALL):
        scope = {"type": kind} if headers is None else {"type": kind, "headers": headers}
        await measured.asgi(app, **features)({"path": "/", **scope}, None, None)  # type: ignore[arg-type]
    assert reached == [headers, headers]


@pytest.mark.asyncio
async def test_headers_that_can_be_read_once_are_left_for_the_app(measured: Measured) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.append(list(scope["headers"]))

    scope = {"type": "http", "method": "GET", "headers": iter([(b"host", b"x")])}
    await measured.asgi(app)(scope, None, None)  # type: ignore[arg-type]
    assert got == [[(b"host", b"x")]]


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("caught", [False, True])
async def test_a_send_that_raises_raises_in_the_app(
    measured: Measured, number: int, caught: bool
) -> None:
    error = OSError("gone")
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in (corpus.start(), corpus.more(), corpus.end()):
            try:
                await send(message)
            except OSError as raised:
                seen.append(raised)
                if not caught:
                    raise

    async def go(each: Any) -> BaseException | None:
        count = 0

        async def send(message: Any) -> None:
            nonlocal count
            count += 1
            if count == number + 1:
                raise error

        try:
            await each({"type": "http", "method": "GET", "headers": []}, None, send)
        except OSError as raised:
            return raised
        return None

    for each in (app, measured.asgi(app), measured.asgi(app, **ALL)):
        assert await go(each) is (None if caught else error)
    assert [*map(id, seen)] == [id(error)] * 3


@pytest.mark.asyncio
async def test_send_hands_back_what_the_server_gives(measured: Measured) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.append(send(corpus.start()))
        got.append(await send(corpus.body()))

    token = object()

    class Sent:
        def __await__(self) -> Generator[None, None, Any]:
            yield from ()
            return token

    sent = Sent()
    scope = {"type": "http", "method": "GET", "headers": []}
    await measured.asgi(app)(scope, None, lambda message: sent)  # type: ignore[arg-type]
    assert got == [sent, token]


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="server's")


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["http", "websocket", "lifespan", "other"])
async def test_context_variables_are_as_visible_as_without(measured: Measured, kind: str) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(variable.get())
        variable.set("app's")

    async def go(each: Any) -> tuple[str, Any]:
        variable.set("set before")
        await play(each, kind)
        return variable.get(), current_context()

    for each in (app, measured.asgi(app), measured.asgi(app, **ALL)):
        assert await go(each) == ("app's", None)
    assert seen == ["set before"] * 3


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_call_may_be_driven_from_many_contexts(measured: Measured, kind: str) -> None:
    # Who drives a coroutine by hand, a closing loop for one, ends it in another context.
    async def pause(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)

    app = measured.asgi(pause, **ALL)
    scope = {"type": kind, "method": "GET", "headers": []}
    steps = app(scope, None, None)  # type: ignore[arg-type]
    contextvars.copy_context().run(steps.send, None)
    with pytest.raises(StopIteration):
        contextvars.copy_context().run(steps.send, None)
    left = app({**scope}, None, None)  # type: ignore[arg-type]
    contextvars.copy_context().run(left.send, None)
    left.close()


@pytest.mark.asyncio
async def test_cancelling_reaches_the_app_and_comes_back_with_its_reason(
    measured: Measured,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await send(corpus.start(503))

    async def go(each: Any) -> tuple[Any, ...]:
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        scope = {"type": "http", "method": "GET", "headers": []}
        task = asyncio.create_task(each(scope, None, send))
        await asyncio.sleep(0)
        task.cancel("closing")
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        try:
            async with asyncio.timeout(0.01) as timeout:
                await each({**scope, "headers": []}, None, send)
        except TimeoutError:
            pass
        return raised.value.args, timeout.expired(), len(messages)

    expected = await go(app)
    assert expected == (("closing",), True, 2)
    assert await go(measured.asgi(app)) == expected
    assert await go(measured.asgi(app, **ALL)) == expected


_sizes = st.lists(st.binary(max_size=40), max_size=6)
_headers = st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=3)


@st.composite
def responses(draw: st.DrawFn) -> list[Any]:
    """Draw a legal response: hints, a start, parts by body or by file, an end, trailers."""
    hints = draw(st.lists(st.sampled_from([corpus.HINT, corpus.DEBUG]), max_size=2))
    with_trailers = draw(st.booleans())
    first = corpus.start(draw(st.integers(200, 599)), draw(_headers), trailers=with_trailers)
    parts: list[Any] = [corpus.more(part) for part in draw(_sizes)]
    push = draw(st.lists(st.just(corpus.PUSH), max_size=1))
    last = draw(
        st.sampled_from([corpus.end(), corpus.body(b"end"), corpus.body(b"", more_body=False)])
    )
    trailers = [{**corpus.TRAILERS, "more_trailers": True}, corpus.TRAILERS]
    return [*hints, first, *push, *parts, last, *(trailers if with_trailers else [])]


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(runs=st.lists(responses(), min_size=1, max_size=3))
def test_any_legal_sequence_of_messages_comes_out_as_it_went_in(
    measured: Measured, runs: list[list[Any]]
) -> None:
    for features in ({}, ALL):
        for messages in runs:
            wrapped = measured.asgi(corpus.app_of(*messages), **features)
            out: list[Any] = []

            async def send(message: Any, out: list[Any] = out) -> None:
                out.append(message)

            scope = {"type": "http", "method": "GET", "headers": []}
            # Nothing in it waits: it runs to its end without a loop.
            with pytest.raises(StopIteration):
                wrapped(scope, None, send).send(None)  # type: ignore[arg-type]
            if features:
                out = [_undecorated(message) for message in out]
                assert out == messages
            else:
                assert [*map(id, out)] == [*map(id, messages)]


def _undecorated(message: Any) -> Any:
    if message["type"] != "http.response.start":
        return message
    return {**message, "headers": without_added(message["headers"])}
