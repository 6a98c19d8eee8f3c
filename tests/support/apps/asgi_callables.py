"""ASGI apps that are no coroutine functions, and those of ASGI 2."""

import asyncio
import functools
from collections.abc import Awaitable, Mapping
from typing import Any

from support.apps.asgi_corpus import HTTP, app_of

__all__ = ["ASGI2", "CALLABLES", "plain_function"]

_answer = app_of(*HTTP["plain"])


class CallableObject:
    """An object with a coroutine function as `__call__`."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await _answer(scope, receive, send)

    async def method(self, scope: Any, receive: Any, send: Any) -> None:
        await _answer(scope, receive, send)

    @staticmethod
    async def static(scope: Any, receive: Any, send: Any) -> None:
        await _answer(scope, receive, send)

    @classmethod
    async def of_class(cls, scope: Any, receive: Any, send: Any) -> None:
        await _answer(scope, receive, send)


class AwaitableObject:
    """A class that is an app: its instances are awaited, as Starlette's HTTPEndpoint is."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        self.arguments = scope, receive, send

    def __await__(self) -> Any:
        return _answer(*self.arguments).__await__()


def plain_function(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
    """Return a coroutine; itself no coroutine function."""
    return _answer(scope, receive, send)  # type: ignore[no-any-return]


def a_task(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
    """Return a task."""
    task: asyncio.Task[None] = asyncio.ensure_future(_answer(scope, receive, send))
    return task


async def _with_more(more: int, scope: Any, receive: Any, send: Any, *, extra: int = 0) -> None:
    await _answer(scope, receive, send)


CALLABLES: Mapping[str, Any] = {
    "an object": CallableObject(),
    "a method": CallableObject().method,
    "a static method": CallableObject.static,
    "a class method": CallableObject.of_class,
    "a class": AwaitableObject,
    "a plain function": plain_function,
    "a task": a_task,
    "a partial": functools.partial(_with_more, 1, extra=2),
    "a lambda": lambda *arguments: _answer(*arguments),
}


def double(scope: Any) -> Any:
    """Be an ASGI 2 app: called with the scope, then with receive and send."""
    return functools.partial(_answer, scope)


class Double:
    """An ASGI 2 app that is a class."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await _answer(self.scope, receive, send)


ASGI2: Mapping[str, Any] = {"a function": double, "a class": Double}
