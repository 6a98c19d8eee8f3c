"""Type and line of an exception are known also where a framework answers for it."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import flask
import pytest
from django.conf import settings as django_settings
from django.core.handlers import exception as django_exception

from support.processes.drive import Measured, call, call_wsgi
from trimtab.events import REQUEST
from trimtab.instrumentation import instrument, uninstrument
from trimtab.runtime import PROCESS, flush_all

SECRET = "hunter2-secret"


@pytest.fixture(autouse=True)
def instrumented() -> Iterator[None]:
    PROCESS.events.forget()
    instrument("frameworks")
    yield
    uninstrument()


def failed(measured: Measured) -> Any:
    flush_all()
    measured.peer.wait(lambda: measured.peer.events(REQUEST), "the failed request")
    (found,) = measured.peer.events(REQUEST)
    assert SECRET not in repr(found)
    return found


def test_flask_answers_and_the_type_is_known(measured: Measured) -> None:
    app = flask.Flask("tested")

    @app.route("/broken/<int:number>")
    def broken(number: int) -> str:
        raise LookupError(SECRET)

    assert (
        call_wsgi(measured.wsgi(app, capture_share=0), "/broken/1").status
        == "500 INTERNAL SERVER ERROR"
    )
    found = failed(measured)
    assert (found["error"], found["status"]) == ("LookupError", 500)
    assert found["route"] == "/broken/<int:number>"


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_django_answers_and_the_type_is_known(measured: Measured, kind: str) -> None:
    if not django_settings.configured:
        django_settings.configure(
            DEBUG=False, SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__
        )
        django.setup()
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import override_settings

    with override_settings(ROOT_URLCONF=__name__, DEBUG=False, ALLOWED_HOSTS=["*"]):
        if kind == "asgi":
            app = measured.asgi(ASGIHandler(), capture_share=0)
            answer = call(app, "/broken/", headers=[(b"host", b"localhost")])
            assert answer.status == 500
        else:
            wrapped = measured.wsgi(WSGIHandler(), capture_share=0)
            environ = {"HTTP_HOST": "localhost", "wsgi.input": io.BytesIO()}
            assert call_wsgi(wrapped, "/broken/", environ=environ).status.startswith("500")
    found = failed(measured)
    assert (found["error"], found["status"]) == ("LookupError", 500)
    line = _broken.__code__.co_firstlineno + 1
    assert found["error_site"] == f"tests/middleware/{Path(__file__).name}:{line} in _broken"


def test_undoing_puts_the_handlers_back() -> None:
    uninstrument()
    before = (flask.Flask.handle_exception, django_exception.response_for_exception)
    instrument("frameworks")
    assert flask.Flask.handle_exception is not before[0]
    uninstrument()
    assert (flask.Flask.handle_exception, django_exception.response_for_exception) == before


def _broken(_request: Any) -> Any:
    raise LookupError(SECRET)


def __getattr__(name: str) -> Any:
    # Django looks its URLs up when it is asked.
    if name != "urlpatterns":
        raise AttributeError(name)
    from django.urls import path

    return [path("broken/", _broken)]
