"""The command line of every server for a target `module:app`; `{port}` stands for its port.

    command = SERVERS["granian"]("flask_target:app", interface="wsgi", folder=FOLDER)

Further words are options of the server. `INTERFACES` tells what each can serve.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["INTERFACES", "SERVERS", "TARGETS"]

#: Folder of the apps that the servers load.
TARGETS: Final = Path(__file__).resolve().parents[2] / "targets"
Command = Callable[..., list[str]]


def _uvicorn(
    target: str, *options: str, interface: str = "asgi", folder: Path = TARGETS
) -> list[str]:
    return [
        sys.executable, "-m", "uvicorn", target, "--port", "{port}", "--app-dir", str(folder),
        "--log-level", "warning", "--interface", interface.replace("asgi", "auto"), *options,
    ]  # fmt: skip


def _gunicorn(worker: str) -> Command:
    def command(
        target: str, *options: str, interface: str = "wsgi", folder: Path = TARGETS
    ) -> list[str]:
        return [
            sys.executable, "-m", "gunicorn", target, "--bind", "127.0.0.1:{port}",
            "--chdir", str(folder), "--log-level", "warning", "--worker-class", worker, *options,
        ]  # fmt: skip

    return command


def _hypercorn(
    target: str, *options: str, interface: str = "asgi", folder: Path = TARGETS
) -> list[str]:
    # It takes the module for a file's name: a path before it is the folder.
    return [
        sys.executable, "-m", "hypercorn", "--bind", "127.0.0.1:{port}", "--log-level", "WARNING",
        *options, f"{interface}:{folder}/{target}",
    ]  # fmt: skip


def _granian(
    target: str, *options: str, interface: str = "asgi", folder: Path = TARGETS
) -> list[str]:
    return [
        sys.executable, "-m", "granian", target, "--interface", interface, "--port", "{port}",
        "--working-dir", str(folder), "--log-level", "warning", *options,
    ]  # fmt: skip


def _waitress(
    target: str, *options: str, interface: str = "wsgi", folder: Path = TARGETS
) -> list[str]:
    return [*_in(folder), "waitress-serve", "--listen", "127.0.0.1:{port}", *options, target]


def _daphne(
    target: str, *options: str, interface: str = "asgi", folder: Path = TARGETS
) -> list[str]:
    # Its check of what is done runs once a second: an answer after an exception waits for it.
    return [*_in(folder), "daphne", "-v", "0", "-b", "127.0.0.1", "-p", "{port}", *options, target]


def _uwsgi(
    target: str, *options: str, interface: str = "wsgi", folder: Path = TARGETS
) -> list[str]:
    return [
        "uwsgi", "--http-socket", "127.0.0.1:{port}", "--chdir", str(folder), "--module", target,
        "--enable-threads", "--die-on-term", "--disable-logging",
        # It closes every connection, and says so to nobody.
        "--add-header", "Connection: close", *options,
    ]  # fmt: skip


def _in(folder: Path) -> list[str]:
    """Return the words that start a server which knows no option for its folder in one."""
    return ["env", "--chdir", str(folder)]


#: A worker class of gunicorn's is a server of its own.
SERVERS: Final[dict[str, Command]] = {
    "uvicorn": _uvicorn,
    "gunicorn": _gunicorn("sync"),
    "gunicorn gthread": _gunicorn("gthread"),
    "gunicorn gevent": _gunicorn("gevent"),
    "gunicorn asgi": _gunicorn("asgi"),
    "gunicorn uvicorn": _gunicorn("uvicorn.workers.UvicornWorker"),
    "hypercorn": _hypercorn,
    "granian": _granian,
    "waitress": _waitress,
    "daphne": _daphne,
    "uwsgi": _uwsgi,
}
_ASGI, _WSGI = ("asgi",), ("wsgi",)
INTERFACES: Final[dict[str, tuple[str, ...]]] = {
    "uvicorn": _ASGI,
    "gunicorn": _WSGI,
    "gunicorn gthread": _WSGI,
    "gunicorn gevent": _WSGI,
    "gunicorn asgi": _ASGI,
    "gunicorn uvicorn": _ASGI,
    "hypercorn": _ASGI + _WSGI,
    "granian": _ASGI + _WSGI,
    "waitress": _WSGI,
    "daphne": _ASGI,
    "uwsgi": _WSGI,
}
