"""A wrapper is an object of its own with the app's attributes: it is copied, pickled and asked."""

import copy
import inspect
import pickle
from typing import Any

import flask
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from support.apps import asgi_callables
from support.processes.drive import Measured
from trimtab import Middleware, WSGIMiddleware


def test_a_wrapper_looks_like_an_object_with_the_apps_attributes(measured: Measured) -> None:
    inner = Starlette(routes=[Route("/hello", lambda _: Response("x"), name="hello")])
    wrapped: Any = measured.asgi(inner)
    assert wrapped.app is inner
    assert isinstance(wrapped, Middleware)
    assert not isinstance(wrapped, Starlette)
    assert wrapped.router is inner.router
    assert wrapped.url_path_for("hello") == "/hello"
    assert wrapped.middleware_stack is None
    for name in ("nothing", "_nothing", "__nothing__", "__deepcopy__", "__wrapped__"):
        assert not hasattr(wrapped, name)
        with pytest.raises(AttributeError, match=name):
            getattr(wrapped, name)
    assert callable(wrapped)
    assert inspect.iscoroutinefunction(wrapped.__call__)
    assert list(inspect.signature(wrapped).parameters) == ["scope", "receive", "send"]
    assert not inspect.isawaitable(wrapped)
    assert "Middleware" in repr(wrapped)
    assert {wrapped: 1}[wrapped] == 1
    assert measured.wsgi(flask.Flask("x")).name == "x"


class Unwilling:
    """An app that takes no attributes, and copies itself."""

    __slots__ = ("name",)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __deepcopy__(self, memo: Any) -> "Unwilling":
        return Unwilling()


@pytest.mark.parametrize("kind", [Middleware, WSGIMiddleware])
def test_a_copy_is_a_wrapper_of_its_own_around_the_copied_app(kind: Any) -> None:
    wrapped = kind(Unwilling(), service="copied")
    wrapped.name = "the app's"
    wrapped.other = "nobody's"
    assert (wrapped.app.name, wrapped.other) == ("the app's", "nobody's")
    shallow, deep = copy.copy(wrapped), copy.deepcopy(wrapped)
    assert type(shallow) is type(deep) is kind
    assert shallow.app is wrapped.app
    assert deep.app is not wrapped.app
    again = pickle.loads(pickle.dumps(kind(asgi_callables.plain_function, service="copied")))
    assert (type(again), again.app) == (kind, asgi_callables.plain_function)


@pytest.mark.asyncio
async def test_a_deep_copy_calls_the_copied_app(measured: Measured) -> None:
    class Counting:
        calls = 0

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            self.calls += 1

    wrapped: Any = measured.asgi(Counting())
    copied = copy.deepcopy(wrapped)
    await copied({"type": "http"}, None, None)
    assert (wrapped.calls, copied.calls) == (0, 1)
