"""The WSGI wrapper changes nothing: what the server sees is what it would see without it."""

import io
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support.apps import wsgi_corpus as corpus
from support.processes.drive import Measured, measuring
from trimtab import current_context

ALL = {"server_timing": True, "request_id": True, "context": True, "exclude": "/no/such"}
FEATURES = pytest.mark.parametrize(
    "features", [{}, ALL, {"enabled": False}], ids=["plain", "all", "off"]
)
TAKES = {"whole": None, "one part": 1, "nothing": 0}


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    """One peer for all: what is recorded is not looked at here."""
    with measuring() as found:
        yield found


class Server:
    """Calls apps as servers do, strictly, and notes what it sees in `events`."""

    def __init__(self, take: int | None, method: str) -> None:
        self.events: list[Any] = []
        self.take = take
        self.started = self.sent = False
        self.environ: dict[str, Any] = {
            "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "",
            "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost", "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
            "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
            "wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(),
            "wsgi.file_wrapper": FileWrapper, "test.events": self.events,
        }  # fmt: skip

    def start_response(self, status: Any, headers: Any, exc_info: Any = None) -> Any:
        self.events.append(("start", status, own(headers), exc_info and type(exc_info[1])))
        if exc_info is not None and self.sent:
            raise exc_info[1]
        if self.started and exc_info is None:
            raise AssertionError("started twice")
        if not isinstance(status, str) or not isinstance(headers, list):
            raise TypeError(f"no status or no headers: {status!r}")
        self.started = True
        return self.write

    def write(self, part: Any) -> None:
        if not self.started:
            raise AssertionError("a part before the start")
        if not isinstance(part, (bytes, bytearray)):
            raise TypeError(f"{type(part)} is not bytes")
        self.sent = True
        self.events.append(("part", bytes(part), type(part)))

    def run(self, app: Any) -> list[Any]:
        try:
            body = app(self.environ, self.start_response)
            self.look(body)
            try:
                for number, part in enumerate(body if self.take != 0 else (), 1):
                    self.write(part)
                    if number == self.take:
                        break
            finally:
                if hasattr(body, "close"):
                    body.close()
            del body
        except BaseException as error:
            # A function that was called wrongly is named in the message.
            text = "arguments" if "argument" in str(error) else str(error)
            self.events.append(("raised", type(error), text))
        return self.events

    def look(self, body: Any) -> None:
        """Note what servers ask a body before they take it."""
        if type(body) in (list, tuple):
            self.events.append(("as it is", type(body)))
        if isinstance(body, FileWrapper):
            self.events.append(("file", body.blksize, body.filelike.tell()))
        try:
            self.events.append(("len", len(body)))
        except Exception as error:
            self.events.append(("len", type(error)))


def own(headers: Any) -> Any:
    """Return headers without those that features add."""
    if not isinstance(headers, list):
        return headers
    names = ("server-timing", "x-request-id")
    return [pair for pair in headers if str(pair[0]).lower() not in names]


def run(app: Any, take: int | None = None, method: str = "GET") -> list[Any]:
    return Server(take, method).run(app)


@FEATURES
@pytest.mark.parametrize("name", corpus.APPS)
def test_a_response_is_the_same_event_for_event(
    measured: Measured, name: str, features: dict[str, Any]
) -> None:
    app = corpus.APPS[name]
    wrapped = measured.wsgi(app, **features)
    for method in ("GET", "HEAD"):
        for take in TAKES.values():
            bare = run(app, take, method)
            assert bare, name
            assert run(wrapped, take, method) == bare
    assert current_context() is None


def test_the_servers_own_objects_are_handed_through(measured: Measured) -> None:
    headers = [("A", "b")]
    body = [b"x"]
    write = object()
    given: list[Any] = []

    def app(environ: Any, start_response: Callable[..., Any]) -> Any:
        given.append((environ, start_response("200 OK", headers)))
        return body

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        given.append(headers)
        return write

    environ = Server(None, "GET").environ
    assert measured.wsgi(app)(environ, start_response) is body
    assert given[0] is headers
    assert given[1] == (environ, write)
    assert given[1][0] is environ
    assert {*environ} - {*Server(None, "GET").environ} == {"trimtab.seen"}


def test_a_file_wrapper_is_the_one_the_app_has_made(measured: Measured) -> None:
    made: list[Any] = []

    class Own(FileWrapper):
        """The server's file wrapper."""

    def app(environ: Any, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        made.append(environ["wsgi.file_wrapper"](io.BytesIO(b"x")))
        return made[-1]

    environ = {**Server(None, "GET").environ, "wsgi.file_wrapper": Own}
    body: Any = measured.wsgi(app)(environ, lambda status, headers: None)
    assert body is made[0]
    body.close()
    assert made[0].filelike.closed


@pytest.mark.parametrize("name", ["a generator", "a body with close", "a body", "an iterator"])
def test_a_body_that_is_dropped_without_close_is_freed_at_once(
    measured: Measured, name: str
) -> None:
    freed: list[str] = []

    def app(environ: Any, start_response: Callable[..., Any]) -> Any:
        def parts() -> Iterator[bytes]:
            try:
                yield from corpus.APPS[name](environ, start_response)
            finally:
                freed.append(name)

        return parts()

    for each in (app, measured.wsgi(app)):
        freed.clear()
        body = each(Server(None, "GET").environ, lambda *args: None)
        next(iter(body))
        del body
        assert freed == [name]


#: What the validator itself fails on, or tells by the name of a function.
_NOT_FOR_IT = ("raised", "exception", "keyword", "twice", "replaced", "iterator", "number", "few")
LEGAL = [
    name
    for name in corpus.APPS
    if name not in corpus.FATAL and not any(word in name for word in _NOT_FOR_IT)
]


@pytest.mark.parametrize("outside", [True, False], ids=["outside", "inside"])
@pytest.mark.parametrize("name", LEGAL)
def test_the_validator_says_the_same(measured: Measured, name: str, outside: bool) -> None:
    app = corpus.APPS[name]
    wrapped = validator(measured.wsgi(app)) if outside else measured.wsgi(validator(app))

    def verdict(each: Any) -> list[Any]:
        events = run(each)
        # Its own view of a body is the same kind of iterator, whatever is inside.
        return [event for event in events if event[0] not in ("as it is", "file", "len")]

    assert verdict(wrapped) == verdict(validator(app))


_parts = st.lists(st.binary(max_size=20), max_size=6)
_bodies = st.sampled_from([list, tuple, iter, lambda parts: (part for part in parts)])


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    parts=_parts,
    kind=_bodies,
    take=st.integers(0, 7),
    writes=st.booleans(),
    status=st.sampled_from(["200 OK", "404 x", "x"]),
)
def test_any_body_is_taken_as_it_is_given(
    measured: Measured, parts: list[bytes], kind: Any, take: int, writes: bool, status: str
) -> None:
    def app(environ: Any, start_response: Callable[..., Any]) -> Any:
        write = start_response(status, [("A", "b")])
        if writes:
            write(b"written")
        return kind(parts)

    for features in ({}, ALL):
        wrapped = measured.wsgi(app, **features)
        assert run(wrapped, take) == run(app, take)
