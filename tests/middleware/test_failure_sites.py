"""A failed request says which line of the app's own code failed, and nothing of what it held."""

import gc
import io
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import flask
import pytest
import quart
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware as StarletteMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import StreamingResponse
from starlette.routing import Route

from support.processes.drive import Measured, call, call_wsgi
from trimtab.events import REQUEST
from trimtab.failure import Failure, failure_of
from trimtab.instrumentation import instrument, uninstrument
from trimtab.runtime import PROCESS, flush_all
from trimtab.sites import raised_at

SECRET = "hunter2-secret"
HERE = Path(__file__).name


@pytest.fixture(autouse=True)
def nothing_before() -> None:
    PROCESS.events.forget()


def line(function: Callable[..., Any], below: int = 1, name: str = "") -> str:
    """Return the site of a line of a function, so many below its first."""
    first = function.__code__.co_firstlineno
    return f"tests/middleware/{HERE}:{first + below} in {name or function.__name__}"


def charge(*_: Any) -> Any:
    raise LookupError(SECRET)


CHARGE = line(charge)


def failed(measured: Measured) -> Any:
    """End the measuring and return the only event."""
    flush_all()
    measured.peer.wait(lambda: measured.peer.events(REQUEST), "the failed request")
    (found,) = measured.peer.events(REQUEST)
    assert found["reason"] == "failed"
    assert SECRET not in repr(found)
    return found


# ---------------------------------------------------------------- ASGI


async def view(request: Any) -> Any:
    charge()


def view_in_a_thread(request: Any) -> Any:
    charge()


async def passes(request: Any, call_next: Any) -> Any:
    return await call_next(request)


@pytest.mark.parametrize("endpoint", [view, view_in_a_thread])
def test_starlette_behind_three_layers_of_its_own(measured: Measured, endpoint: Any) -> None:
    layers = [StarletteMiddleware(BaseHTTPMiddleware, dispatch=passes)] * 3
    app = Starlette(routes=[Route("/pay", endpoint)], middleware=layers)
    call(measured.asgi(app, capture_share=0), "/pay")
    found = failed(measured)
    assert (found["error"], found["error_site"]) == ("LookupError", CHARGE)
    assert (found["route"], found["status"]) == ("/pay", 500)


def test_fastapi_with_a_dependency_that_fails(measured: Measured) -> None:
    from fastapi import Depends

    app = FastAPI()
    pay = Depends(charge_of)

    @app.get("/pay")
    async def get(paid: Any = pay) -> None: ...

    call(measured.asgi(app, capture_share=0), "/pay")
    assert failed(measured)["error_site"] == CHARGE


def charge_of() -> Any:
    return charge()


def parts() -> Iterator[bytes]:
    yield b"one"
    charge()


async def parts_async() -> AsyncIterator[bytes]:
    yield b"one"
    charge()


@pytest.mark.parametrize("make", [parts, parts_async])
def test_a_response_that_breaks_off_after_its_start(measured: Measured, make: Any) -> None:
    async def stream(request: Any) -> Any:
        return StreamingResponse(make())

    call(measured.asgi(Starlette(routes=[Route("/", stream)]), capture_share=0))
    found = failed(measured)
    assert (found["status"], found["error"]) == (200, "LookupError")
    assert found["error_site"] == CHARGE


# ---------------------------------------------------------------- WSGI


@pytest.mark.parametrize("first", [[], [b"one"]], ids=["at once", "after the start"])
def test_a_wsgi_body_that_fails(measured: Measured, first: list[bytes]) -> None:
    def body() -> Iterator[bytes]:
        yield from first
        charge()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return body()

    with pytest.raises(LookupError):
        call_wsgi(measured.wsgi(app, capture_share=0))
    found = failed(measured)
    assert (found["status"], found["error"]) == (200 if first else 500, "LookupError")
    assert found["error_site"] == CHARGE


def test_a_wsgi_app_that_raises(measured: Measured) -> None:
    with pytest.raises(LookupError):
        call_wsgi(measured.wsgi(charge, capture_share=0))
    assert failed(measured)["error_site"] == CHARGE


# ---------------------------------------------------------------- frameworks that answer themselves


@pytest.fixture
def hooked() -> Iterator[None]:
    instrument("frameworks")
    yield
    uninstrument()


@pytest.mark.usefixtures("hooked")
def test_flask_answers_itself(measured: Measured) -> None:
    app = flask.Flask("tested")
    app.add_url_rule("/pay", view_func=charge)
    call_wsgi(measured.wsgi(app, capture_share=0), "/pay")
    assert failed(measured)["error_site"] == CHARGE


@pytest.mark.usefixtures("hooked")
def test_quart_answers_itself(measured: Measured) -> None:
    app = quart.Quart("tested")

    @app.get("/pay")
    async def pay() -> Any:
        charge()

    answer = call(measured.asgi(app, capture_share=0), "/pay", headers=[(b"host", b"localhost")])
    assert answer.status == 500
    found = failed(measured)
    assert (found["error"], found["error_site"]) == ("LookupError", CHARGE)


# ---------------------------------------------------------------- which line


def caught(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("expected an exception")


def from_a_library() -> None:
    io.TextIOWrapper(io.BytesIO(b"\xff"), "ascii").read()


def from_below_a_library() -> None:
    __import__("functools").reduce(lambda one, other: charge(), [1, 2])


def from_a_cause() -> None:
    try:
        charge()
    except LookupError as error:
        raise ValueError(SECRET) from error


def from_a_group() -> None:
    raise BaseExceptionGroup(SECRET, [caught(charge)])


def from_a_tower(height: int = 0) -> None:
    from_a_tower(height + 1)


@pytest.mark.parametrize(
    ("function", "site"),
    [
        (from_a_library, line(from_a_library)),
        (from_below_a_library, CHARGE),
        (from_a_cause, line(from_a_cause, 4)),
        (from_a_group, line(from_a_group)),
        (from_a_tower, line(from_a_tower)),
    ],
)
def test_it_is_the_innermost_own_line_of_the_exception_itself(
    function: Callable[[], Any], site: str
) -> None:
    assert raised_at(caught(function)) == site


def test_where_no_own_code_ran_members_and_causes_tell() -> None:
    # An exception that was made and not raised has no frames at all.
    cause = ValueError(SECRET)
    cause.__cause__ = caught(charge)
    group = BaseExceptionGroup(SECRET, [KeyError(), BaseExceptionGroup("", [cause])])
    assert raised_at(group) == CHARGE
    assert raised_at(KeyError()) == ""
    # One that is its own cause ends, too.
    cause.__cause__ = cause
    assert raised_at(group) == ""


def test_a_class_that_cannot_be_asked_costs_the_line_alone() -> None:
    class OddError(Exception):
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(SECRET)

    assert failure_of(OddError()) == Failure("OddError", "")


def test_a_long_name_is_cut_and_one_that_cannot_be_sent_is_spelled_out() -> None:
    names: dict[str, Any] = {}
    file = f"/srv/{'a' * 300}/\udcff.py"
    exec(compile("def fail(): raise KeyError", file, "exec"), names)
    site = raised_at(caught(names["fail"]))
    assert site == "\\udcff.py:1 in fail"
    exec(compile(f"def {'f' * 500}(): raise KeyError", "/srv/a.py", "exec"), names)
    assert raised_at(caught(names["f" * 500])) == "f" * 256


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ('{"dir_info": {}, "url": "file:///build/shop"}', "shop/pay.py:1 in charge"),
        ('{"archive_info": {}, "url": "file:///wheels/shop.whl"}', ""),
        ('{"vcs_info": {"vcs": "git"}, "url": "https://example.com/shop.git"}', ""),
        ("", ""),
    ],
    ids=["directory", "wheel", "repository", "registry"],
)
def test_an_app_that_is_installed_as_a_package_is_told_from_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str, site: str
) -> None:
    packages = tmp_path / ".venv" / "lib" / "site-packages"
    installed, library = packages / "shop", packages / "library"
    for each in (installed, library, packages / "shop-1.0.dist-info"):
        each.mkdir(parents=True)
    library.joinpath("call.py").write_text("def call(function): function(); raise KeyError\n")
    installed.joinpath("pay.py").write_text("def charge(): raise KeyError\n")
    (packages / "shop-1.0.dist-info" / "RECORD").write_text(
        "shop/pay.py,sha256=x,29\nshop-1.0.dist-info/RECORD,,\n../../bin/shop,sha256=x,3\n"
    )
    if origin:
        (packages / "shop-1.0.dist-info" / "direct_url.json").write_text(origin)
    monkeypatch.setattr("sys.path", [str(packages)])
    monkeypatch.setattr("trimtab.sites._installed", None)
    monkeypatch.setattr("trimtab.sites._own", {str(Path(__file__)): False})
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for path in (installed / "pay.py", library / "call.py"):
        exec(compile(path.read_text(), str(path), "exec"), names)
    assert raised_at(caught(names["charge"])) == site
    assert raised_at(caught(lambda: names["call"](names["charge"]))) == site
    assert raised_at(caught(lambda: names["call"](str))) == ""
    # trimtab itself may have been installed from a directory, too.
    monkeypatch.setattr("trimtab.sites._OURS", (str(installed),))
    monkeypatch.setattr("trimtab.sites._own", {str(Path(__file__)): False})
    assert raised_at(caught(names["charge"])) == ""


def test_nothing_of_a_failed_request_is_kept_alive(measured: Measured) -> None:
    class Held:
        pass

    seen: list[weakref.ref[Held]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        held = Held()
        seen.append(weakref.ref(held))
        charge(held)

    wrapped = measured.asgi(app, capture_share=0)
    gc.disable()
    try:
        with suppress(LookupError):
            wrapped(SCOPE, no_channel, no_channel).send(None)
        # There is no cycle either, which would wait for the garbage collector.
        assert seen[0]() is None
    finally:
        gc.enable()
    failed(measured)


SCOPE = {"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []}


async def no_channel(*_: Any) -> Any: ...
