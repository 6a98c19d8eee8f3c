"""Importing and wrapping are harmless: nothing is loaded, started, opened, said or kept alive."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest

from support.processes.drive import Measured, call, call_wsgi
from support.processes.servers import clean_environment
from trimtab import current_context
from trimtab.runtime import runtime_for
from trimtab.settings import read_settings

OK = """
from trimtab import Middleware, WSGIMiddleware, current_context

async def asgi(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]

async def go(app, n=3):
    got = []
    async def send(message):
        got.append(message.get("body"))
    for _ in range(n):
        await app({"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []},
                  None, send)
    assert got == [None, b"ok"] * n, got

def serve(**settings):
    import asyncio
    asyncio.run(go(Middleware(asgi, **settings)))
    app = WSGIMiddleware(wsgi, **settings)
    for _ in range(3):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
        assert app(environ, lambda status, headers: None) == [b"ok"]
"""


def python(script: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script; the address of an agent that is not there is in its environment."""
    environ = clean_environment() | {"TRIMTAB_AGENT": "unix:///no/such/agent"} | environment
    return subprocess.run(
        [sys.executable, *options, "-c", script],
        capture_output=True, text=True, check=False, timeout=60, env=environ,
    )  # fmt: skip


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of an error output that are no warning of a missing agent."""
    assert done.returncode == 0, done.stderr
    return [
        line for line in done.stderr.splitlines() if not line.startswith("trimtab: no agent at")
    ]


WATCHED = """
import os, signal, sys, threading
def look():
    return (threading.active_count(), sorted(os.listdir("/proc/self/fd")),
            [signal.getsignal(n) for n in sorted(signal.valid_signals())],
            sys.excepthook, threading.excepthook, sys.gettrace(), dict(os.environ))
look()
before, loaded = look(), set(sys.modules)
import trimtab
assert {name for name in set(sys.modules) - loaded} <= {"trimtab"}, set(sys.modules) - loaded
from trimtab import Middleware, WSGIMiddleware
assert look() == before, (before, look())
new = {name.partition(".")[0] for name in set(sys.modules) - loaded}
# Cython's own, by which msgpack is compiled.
new = {name for name in new if "cython" not in name}
print(*sorted(new - set(sys.stdlib_module_names)))
print(*sorted(new & {"asyncio", "multiprocessing", "http", "concurrent", "sqlite3", "email"}))
"""


def test_an_import_loads_msgpack_alone_and_starts_opens_and_says_nothing() -> None:
    done = python(WATCHED)
    assert said(done) == []
    assert done.stdout.splitlines() == ["msgpack trimtab trimtab_core", ""]


def test_wrapping_starts_nothing_either(measured: Measured) -> None:
    before = threading.active_count()
    measured.asgi(_asgi)
    measured.wsgi(_wsgi)
    assert threading.active_count() == before


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def _wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"ok"]


#: What a Windows interpreter does not have.
WINDOWS = """
import importlib.abc, os, select, socket, signal, sys, time
import asyncio  # what it needs of this machine it takes before
for module, names in (
    (os, "register_at_fork fork forkpty getuid geteuid getgid getegid uname sysconf pread setsid"
         " getpgid killpg wait3 wait4 mkfifo chown statvfs sched_getaffinity getloadavg"),
    (socket, "AF_UNIX SO_PEERCRED SCM_RIGHTS SO_REUSEPORT"),
    (select, "poll epoll"),
    (signal, "SIGHUP SIGUSR1 SIGKILL pthread_sigmask alarm setitimer"),
    (time, "clock_gettime clock_gettime_ns pthread_getcpuclockid"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

def socketpair(*ignored):
    # As the standard library makes one of TCP there.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]
socket.socketpair = socketpair

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("fcntl", "resource", "pwd", "grp", "termios", "posix", "syslog", "uvloop"):
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize(
    "agent", ["", "unix:///no/such/agent", "nonsense"], ids=["default", "unix", "nonsense"]
)
def test_a_windows_interpreter_serves_wrapped_apps_with_one_warning_at_most(agent: str) -> None:
    body = """
import logging
lines = []
class Counting(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())
logging.getLogger("trimtab").addHandler(Counting())
given = {"interval_ms": 20, "context": True, "server_timing": True, "request_id": True}
serve(**given)
serve(**given)
from trimtab.runtime import flush_all, runtime_for
from trimtab.settings import read_settings
runtime_for(read_settings(**given)).flush(1)
flush_all()
assert len(lines) == 1, lines
import trimtab.run, trimtab.doctor
"""
    lines = said(python(WINDOWS + OK + body, TRIMTAB_AGENT=agent))
    assert not any("Traceback" in line or "Error" in line for line in lines), lines


OFF = """
import threading
from trimtab.runtime import PROCESS
wrapped = Middleware(asgi)
assert wrapped._call is asgi and WSGIMiddleware(wsgi)._call is wsgi
import uvicorn.config, uvicorn.server, gunicorn.app.base
contexts = []
async def app(scope, receive, send):
    contexts.append((current_context(), "trimtab" in scope))
serve(context=True)
import asyncio
asyncio.run(Middleware(app, context=True)({"type": "http"}, None, None))
config = uvicorn.config.Config(asgi)
config.load()
print(contexts, threading.active_count(), len(PROCESS.runtimes()), config.loaded_app.app is asgi)
"""


@pytest.mark.parametrize("under_run", [False, True], ids=["in code", "under trimtab run"])
def test_off_is_the_app_itself_no_thread_and_servers_left_alone(under_run: bool) -> None:
    script = OK + OFF
    if under_run:
        done = subprocess.run(
            [sys.executable, "-m", "trimtab_core.console", "run", "--", sys.executable, "-c",
             script],
            capture_output=True, text=True, check=False, timeout=60,
            env=clean_environment() | {"TRIMTAB_ENABLED": "0"},
        )  # fmt: skip
    else:
        done = python(script, TRIMTAB_ENABLED="0")
    assert (said(done), done.stdout) == ([], "[(None, False)] 1 0 True\n")


@pytest.mark.parametrize(
    "options",
    [["-O"], ["-OO"], ["-I"], ["-W", "error"], ["-X", "dev"], ["-b", "-b"],
     ["-X", "dev", "-W", "error"]],
    ids=" ".join,
)  # fmt: skip
def test_every_kind_of_interpreter_serves_and_ends_without_a_word(options: list[str]) -> None:
    ends = "import gc; serve(interval_ms=20); gc.collect()"
    assert said(python(OK + ends, *options)) == []


def test_an_end_in_the_middle_of_a_request_is_an_end() -> None:
    ends = "import asyncio, sys\nasync def app(*a): sys.exit(7)\nasyncio.run(go(Middleware(app)))"
    assert python(OK + ends, "-X", "dev").returncode == 7


# ---------------------------------------------------------------- what is kept alive


class _App:
    """An app that one can see die."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await _asgi(scope, receive, send)


class _OldApp:
    """The same for WSGI."""

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return _wsgi(environ, start_response)


def test_a_wrapped_app_that_is_dropped_is_freed_without_the_collector(measured: Measured) -> None:
    gc.collect()
    gc.disable()
    try:
        new, old = _App(), _OldApp()
        gone = weakref.ref(new), weakref.ref(old)
        wrapped, wrapped_old = measured.asgi(new), measured.wsgi(old)
        assert call(wrapped).status == 200
        assert call_wsgi(wrapped_old).status == "200 OK"
        del new, old, wrapped, wrapped_old
        assert [ref() for ref in gone] == [None, None]
    finally:
        gc.enable()
    assert len(measured.records(2)) == 2


def test_a_thousand_apps_leave_nothing_behind(measured: Measured) -> None:
    recorder = runtime_for(read_settings(**measured.settings())).recorder
    kept = [measured.asgi(_App()), measured.wsgi(_OldApp())]
    for _ in range(1000):
        asyncio_app, old_app = measured.asgi(_App()), measured.wsgi(_OldApp())
        assert len(recorder._gates) <= len(kept) + 4
    del asyncio_app, old_app
    gc.collect()
    assert len(recorder._gates) == len(kept)
    # Those that are left are measured as before.
    assert call(kept[0]).status == 200
    assert call_wsgi(kept[1]).status == "200 OK"
    assert [seen.record.status for seen in measured.records(2)] == [200, 200]


@pytest.mark.asyncio
async def test_a_request_that_outlives_its_wrapper_is_measured(measured: Measured) -> None:
    going = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await going.wait()
        await _asgi(scope, receive, send)

    async def send(message: Any) -> None: ...

    scope = {"type": "http", "method": "GET", "headers": []}
    task = asyncio.create_task(measured.asgi(app)(scope, None, send))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    del app
    gc.collect()
    going.set()
    await task
    assert measured.one().record.status == 200
    assert current_context() is None
