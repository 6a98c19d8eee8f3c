"""One small app for ASGI, WSGI with a list and WSGI with an iterator, and one way to call it.

An app does its steps in order: it calls functions, raises exceptions, and sends bytes; with a list
all bytes leave at its end. So one test says for all three what becomes of a request.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from support.processes.drive import Measured, call, call_wsgi

__all__ = ["INTERFACES", "Interface", "Step"]

#: bytes are a part of the body, an exception is raised, anything else is called
Step = bytes | BaseException | Callable[[], object]
_Headers = list[tuple[str, str]]


#: path, method and headers of a request -> its effects
Run = Callable[[str, str, Mapping[str, str]], None]
#: measured, steps, status, headers, steps after the last byte, settings -> what calls the app
_Make = Callable[
    [Measured, tuple[Step, ...], str, _Headers, tuple[Step, ...], Mapping[str, Any]], Run
]


class Interface(NamedTuple):
    """An interface: its name, and whether an app can go on after its last byte."""

    name: str
    goes_on: bool
    make: _Make

    def app(
        self,
        measured: Measured,
        *steps: Step,
        status: str = "200 OK",
        headers: _Headers | None = None,
        after: tuple[Step, ...] = (),
        **settings: Any,
    ) -> "App":
        """Return a wrapped app that does its steps; after are those after the last byte."""
        made = self.make(measured, steps, status, headers or [], after, settings)
        return App(made)


class App(NamedTuple):
    """A wrapped app."""

    run: Run

    def call(
        self, path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> BaseException | None:
        """Send it a request as a server does; return what it raised."""
        try:
            self.run(path, method, headers or {})
        except Exception as error:
            return error
        return None


def _do(step: Step) -> None:
    if isinstance(step, BaseException):
        raise step
    assert not isinstance(step, bytes)
    step()


def _asgi(
    measured: Measured,
    steps: tuple[Step, ...],
    status: str,
    headers: _Headers,
    after: tuple[Step, ...],
    settings: Mapping[str, Any],
) -> Run:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        head = [(name.encode(), value.encode()) for name, value in headers]
        start = {"type": "http.response.start", "status": int(status[:3]), "headers": head}
        begun = False
        parts = sum(isinstance(step, bytes) for step in steps)
        for step in steps:
            if not isinstance(step, bytes):
                _do(step)
                continue
            if not begun:
                await send(start)
                begun = True
            parts -= 1
            await send({"type": "http.response.body", "body": step, "more_body": parts > 0})
        for step in after:
            _do(step)

    wrapped = measured.asgi(app, **settings)

    def run(path: str, method: str, given: Mapping[str, str]) -> None:
        pairs = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        answer = call(wrapped, path, method, headers=pairs)
        if answer.error is not None:
            raise answer.error

    return run


class _Iterated:
    """The body of an app that sends its parts one by one, and works on in `close`."""

    def __init__(self, steps: tuple[Step, ...], after: tuple[Step, ...]) -> None:
        self._steps, self._after = steps, after

    def __iter__(self) -> Iterator[bytes]:
        for step in self._steps:
            if isinstance(step, bytes):
                yield step
            else:
                _do(step)

    def close(self) -> None:
        for step in self._after:
            _do(step)


def _wsgi(
    measured: Measured,
    steps: tuple[Step, ...],
    status: str,
    headers: _Headers,
    after: tuple[Step, ...],
    settings: Mapping[str, Any],
    *,
    iterates: bool,
) -> Run:
    def app(environ: Any, start_response: Any) -> Any:
        if iterates:
            # What comes before the first part is done before the app returns, as in ASGI.
            first = next((n for n, step in enumerate(steps) if isinstance(step, bytes)), len(steps))
            for step in steps[:first]:
                _do(step)
            start_response(status, headers)
            return _Iterated(steps[first:], after)
        parts = []
        for step in steps:
            if isinstance(step, bytes):
                parts.append(step)
            else:
                _do(step)
        start_response(status, headers)
        return parts

    wrapped = measured.wsgi(app, **settings)

    def run(path: str, method: str, given: Mapping[str, str]) -> None:
        environ = {f"HTTP_{name.upper().replace('-', '_')}": text for name, text in given.items()}
        call_wsgi(wrapped, path, method, environ=environ)

    return run


#: Every interface that is measured.
INTERFACES = (
    Interface("asgi", True, _asgi),
    Interface("wsgi-list", False, partial(_wsgi, iterates=False)),
    Interface("wsgi-iterator", True, partial(_wsgi, iterates=True)),
)
