"""WSGI apps of every kind: whatever they do, a wrapper around them must not change it.

`APPS` are apps by name. What they do in which order they note in the list `environ["test.events"]`
when there is one. `FATAL` names those that would end a real server.
"""

import functools
import io
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from support.apps.wsgi_bodies import (
    Body,
    Closing,
    Items,
    Iterating,
    NoIterator,
    Pair,
    Parts,
    Sized,
    Text,
    Unwilling,
    note,
)

__all__ = ["APPS", "FATAL", "FILE", "SAME_BODY"]

Environ = dict[str, Any]
Start = Callable[..., Any]
Headers = list[tuple[str, str]]

PLAIN: Headers = [("Content-Type", "text/plain")]
FILE = Path(__file__)


def respond(body: Callable[[Environ], Any], status: Any = "200 OK", headers: Any = PLAIN) -> Any:
    """Return an app that starts a response and returns a new body each time."""

    def app(environ: Environ, start_response: Start) -> Any:
        start_response(status, headers)
        return body(environ)

    return app


def raising(error: BaseException) -> Callable[[Environ], Any]:
    """Return what raises in the place of a body."""

    def body(environ: Environ) -> Any:
        raise error

    return body


def generator(environ: Environ, start_response: Start) -> Iterator[bytes]:
    note(environ, "entered")
    start_response("200 OK", PLAIN)
    try:
        yield b"one"
        note(environ, "went on")
        yield b"two"
    except GeneratorExit:
        note(environ, "left early")
        raise
    finally:
        note(environ, "finally")


def late_start(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("201 Created", PLAIN)
    yield b""
    yield b"late"


def start_after_a_part(environ: Environ, start_response: Start) -> Iterator[bytes]:
    yield b"early"
    start_response("200 OK", PLAIN)


def writes(environ: Environ, start_response: Start) -> list[bytes]:
    write = start_response("200 OK", PLAIN)
    write(b"first")
    write(b"second")
    return [b"last"]


def writes_only(environ: Environ, start_response: Start) -> list[bytes]:
    start_response("200 OK", PLAIN)(b"all")
    return []


def writes_and_fails(environ: Environ, start_response: Start) -> list[bytes]:
    start_response("200 OK", PLAIN)(b"first")
    raise RuntimeError("after write")


def starts_twice(environ: Environ, start_response: Start) -> list[bytes]:
    start_response("200 OK", PLAIN)
    start_response("404 Not Found", PLAIN)
    return [b"x"]


def replaces_its_start(environ: Environ, start_response: Start) -> list[bytes]:
    start_response("200 OK", PLAIN)
    try:
        raise ValueError("replaced")
    except ValueError:
        start_response("500 Sorry", PLAIN, sys.exc_info())
    return [b"sorry"]


def too_late_to_replace(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", PLAIN)
    yield b"out"
    try:
        raise ValueError("too late")
    except ValueError:
        start_response("500 Sorry", PLAIN, sys.exc_info())
    yield b"never"


def by_keyword(environ: Environ, start_response: Start) -> list[bytes]:
    start_response("200 OK", PLAIN, exc_info=None)
    return [b"x"]


def all_by_keyword(environ: Environ, start_response: Start) -> list[bytes]:
    start_response(status="200 OK", headers=PLAIN)
    return [b"x"]


def too_few(environ: Environ, start_response: Start) -> list[bytes]:
    start_response("200 OK")
    return [b"x"]


def file_of(**options: Any) -> Any:
    def app(environ: Environ, start_response: Start) -> Any:
        start_response("200 OK", PLAIN)
        return environ["wsgi.file_wrapper"](FILE.open("rb"), **options)

    return app


def file_in_memory(environ: Environ, start_response: Start) -> Any:
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 10_000))


def part_of_a_file(environ: Environ, start_response: Start) -> Any:
    file = FILE.open("rb")
    file.seek(100)
    start_response("200 OK", [*PLAIN, ("Content-Length", "50")])
    return environ["wsgi.file_wrapper"](file)


def plain_file(environ: Environ, start_response: Start) -> Any:
    start_response("200 OK", PLAIN)
    return FILE.open("rb")


def rewrites(environ: Environ, start_response: Start) -> list[bytes]:
    environ["PATH_INFO"], environ["REQUEST_METHOD"] = "/other", "PATCH"
    start_response("200 OK", PLAIN)
    return [b"x"]


def empties(environ: Environ, start_response: Start) -> list[bytes]:
    start_response("200 OK", PLAIN)
    environ.clear()
    return [b"x"]


def empties_streaming(environ: Environ, start_response: Start) -> Iterator[bytes]:
    start_response("200 OK", PLAIN)
    yield b"a"
    environ.clear()
    yield b"b"


def calls_itself(environ: Environ, start_response: Start) -> Any:
    return generator(environ, start_response)


class Object:
    """An app that is an object, and one that is its method."""

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        return [b"object"]

    method = __call__


class Instance:
    """An app that is a class: its instance is the body."""

    def __init__(self, environ: Environ, start_response: Start) -> None:
        self.environ, self.start_response = environ, start_response

    def __iter__(self) -> Iterator[bytes]:
        self.start_response("200 OK", PLAIN)
        yield b"instance"


def _returns(value: Any) -> Generator[bytes, None, Any]:
    yield b"a"
    return value


SAME_BODY = [b"always", b"the same"]
_LENGTH = [("Content-Length", "2")]
_COOKIES = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Empty", ""), ("x-latin", "\xe9")]

APPS: Mapping[str, Any] = {
    "a list": respond(lambda e: [b"ab", b"c"]),
    "a list with length": respond(lambda e: [b"ok"], headers=[*PLAIN, *_LENGTH]),
    "the same list": respond(lambda e: SAME_BODY),
    "a tuple": respond(lambda e: (b"ab", b"c")),
    "an empty list": respond(lambda e: []),
    "an empty tuple": respond(lambda e: ()),
    "empty parts": respond(lambda e: [b"", b"a", b"", b"b", b""]),
    "many parts": respond(lambda e: [b"%d;" % n for n in range(500)]),
    "a megabyte": respond(lambda e: [b"x" * 1_048_576]),
    "a generator": generator,
    "a generator in an app": calls_itself,
    "a generator expression": respond(lambda e: (b"%d" % n for n in range(5))),
    "a generator that returns": respond(lambda e: _returns(7)),
    "a start in the generator": late_start,
    "a start after a part": start_after_a_part,
    "an iterator": respond(lambda e: iter([b"a", b"b"])),
    "an empty iterator": respond(lambda e: iter([])),
    "a map": respond(lambda e: map(bytes, [[65], [66]])),
    "a set": respond(lambda e: {b"only"}),
    "a list of its own": respond(lambda e: Parts([b"a", b"b"])),
    "a tuple of its own": respond(lambda e: Pair([b"a", b"b"])),
    "a body": respond(lambda e: Body(e, b"a", b"b")),
    "a body with close": respond(lambda e: Closing(e, b"a", b"b")),
    "a body with len": respond(lambda e: Sized(e, b"a")),
    "a body with len, longer": respond(lambda e: Sized(e, b"a", b"b")),
    "a body that is unwilling": respond(lambda e: Unwilling(e, b"a")),
    "a body of items": respond(Items),
    "a body that is its iterator": respond(Iterating),
    "a body of nothing": respond(lambda e: Closing(e)),
    "a body without iterator": respond(NoIterator),
    "bytearrays": respond(lambda e: [bytearray(b"a"), bytearray(b"b")]),
    "bytes of their own": respond(lambda e: Closing(e, Text(b"a"), Text(b"b"))),
    "a file": file_of(),
    "a file in blocks": file_of(blksize=100),
    "a file in memory": file_in_memory,
    "a part of a file": part_of_a_file,
    "a file as it is": plain_file,
    "write": writes,
    "write only": writes_only,
    "write, then an exception": writes_and_fails,
    "started twice": starts_twice,
    "start replaced": replaces_its_start,
    "start replaced too late": too_late_to_replace,
    "exc_info by keyword": by_keyword,
    "all by keyword": all_by_keyword,
    "too few arguments": too_few,
    "no content": respond(lambda e: [], "204 No Content", []),
    "not modified": respond(lambda e: [], "304 Not Modified", []),
    "not found": respond(lambda e: [b"no"], "404 Not Found"),
    "a status with no reason": respond(lambda e: [b"x"], "200 "),
    "a status of a number": respond(lambda e: [b"x"], "299"),
    "a status unheard of": respond(lambda e: [b"x"], "799 Odd"),
    "headers twice": respond(lambda e: [b"x"], headers=_COOKIES),
    "no headers": respond(lambda e: [b"x"], headers=[]),
    "an app that is an object": Object(),
    "an app that is a method": Object().method,
    "an app that is a class": Instance,
    "an app that is a partial": functools.partial(generator),
    "environ rewritten": rewrites,
    "raised before start": lambda environ, start_response: raising(RuntimeError("early"))(environ),
    "raised after start": respond(raising(RuntimeError("late"))),
    "raised by the disk": respond(raising(OSError("disk"))),
    "raised in the first part": respond(lambda e: Closing(e, RuntimeError("first"))),
    "raised in the second part": respond(lambda e: Closing(e, b"a", RuntimeError("second"))),
    "raised with a status": respond(lambda e: Closing(e, b"a", RuntimeError("x")), "404 No"),
    # What is against PEP 3333: the server's own error has to come through, and nobody else's.
    "no start": lambda environ, start_response: [b"x"],
    "no start, no body": lambda environ, start_response: [],
    "no body": respond(lambda e: None),
    "a body that is a number": respond(lambda e: 7),
    "a body that is bytes": respond(lambda e: b"bytes"),
    "a body that is text": respond(lambda e: "text"),
    "a part of text": respond(lambda e: [b"a", "text"]),
    "a part of none": respond(lambda e: Closing(e, b"a", None)),
    "a part that is a number": respond(lambda e: Closing(e, 7)),
    "a list with a number": respond(lambda e: [b"a", 7]),
    "a status of bytes": respond(lambda e: [b"x"], b"200 OK"),
    "a status that is a number": respond(lambda e: [b"x"], 200),
    "a status of none": respond(lambda e: [b"x"], None),
    "a status that is a list": respond(lambda e: [b"x"], ["200 OK"]),
    "a status of words": respond(lambda e: Closing(e, b"x"), "fine"),
    "headers in a tuple": respond(lambda e: [b"x"], headers=tuple(PLAIN)),
    "headers of none": respond(lambda e: Closing(e, b"x"), headers=None),
    "headers of bytes": respond(lambda e: [b"x"], headers=[(b"a", b"b")]),
    "environ emptied": empties,
    "environ emptied while streaming": empties_streaming,
    "raised StopIteration": respond(raising(StopIteration("odd"))),
    "raised GeneratorExit": respond(lambda e: Closing(e, b"a", GeneratorExit())),
    "raised KeyboardInterrupt": respond(raising(KeyboardInterrupt())),
    "raised SystemExit": respond(lambda e: Closing(e, b"a", SystemExit(3))),
}  # fmt: skip

#: These end a server, or leave it in a state of its own.
FATAL = {
    "raised GeneratorExit", "raised KeyboardInterrupt", "raised SystemExit", "raised StopIteration",
    "environ emptied", "environ emptied while streaming",
}  # fmt: skip
