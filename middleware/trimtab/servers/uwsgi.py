"""uWSGI: written in C, it takes the app out of a module that it has imported.

So the app is wrapped in its module, as soon as that was executed. The options `module`, `wsgi` and
`mount` name it. What is loaded by file name (`wsgi-file`) is no import: there the end of the file's
own code is waited for.

A worker that is told to end (by TERM or INT) in the midst of a request runs no exit handlers.
"""

import functools
import sys
from collections.abc import Iterator
from types import FrameType, ModuleType
from typing import Any, Final

from trimtab.servers.wrapping import is_wrapped
from trimtab.settings import read_settings
from trimtab.wsgi import WSGIMiddleware
from trimtab_core.logs import app_logger

__all__ = ["watch_file", "wrap_apps"]

log = app_logger("trimtab.servers")

#: Options by which uWSGI lets go of the interpreter while it waits for requests.
_THREADED: Final = ("enable-threads", "threads", "gevent", "py-tracebacker")


def wrap_apps(module: ModuleType) -> None:
    """Wrap what uWSGI will take from a module; does nothing with one that it does not serve."""
    for name, callable_name in _apps():
        if name == module.__name__:
            _wrap(vars(module), callable_name)


def watch_file(frame: FrameType) -> None:
    """Wrap what uWSGI will take from a file, when the frame that executes the file returns.

    Until then, and no longer, each call in this thread costs about a microsecond more.
    """
    before = sys.getprofile()

    def at_end(at: FrameType, event: str, argument: Any) -> None:
        if at is frame and event == "return":
            sys.setprofile(before)
            try:
                _wrap(frame.f_globals, _default_callable())
            except Exception as error:  # noqa: BLE001 - it would be raised in the app's file
                log.warning("%s is not measured: %r", frame.f_code.co_filename, error)

    sys.setprofile(at_end)


def _wrap(names: dict[str, Any], name: str) -> None:
    if not read_settings().enabled:
        return
    if name.endswith("()"):
        make = names[name[:-2]]
        names[name[:-2]] = functools.wraps(make)(lambda *args: _wrapped(make(*args)))
    elif name in names:
        names[name] = _wrapped(names[name])


def _wrapped(app: Any) -> Any:
    _warn_without_threads()
    # With the face of the app: others may import it, too.
    return app if is_wrapped(app) else WSGIMiddleware(app)


def _warn_without_threads() -> None:
    # A uWSGI that is a module of Python's (pyuwsgi) always has them.
    if "pyuwsgi" not in sys.modules and not any(map(_options().get, _THREADED)):
        log.warning(
            "uWSGI runs no threads between requests: without enable-threads in its settings, "
            "records wait in the app until its next request or its end"
        )


def _options() -> dict[str, Any]:
    found: dict[str, Any] = getattr(sys.modules.get("uwsgi"), "opt", {})
    return found


def _apps() -> Iterator[tuple[str, str]]:
    """Yield module and callable of each app that the options of this uWSGI name."""
    for option in ("module", "wsgi", "mount"):
        for text in _texts(option):
            target = text.rpartition("=")[2] if option == "mount" else text
            module, _, name = target.partition(":")
            yield module, name or _default_callable()


def _default_callable() -> str:
    return next(_texts("callable"), "application")


def _texts(option: str) -> Iterator[str]:
    value = _options().get(option)
    for each in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(each, bytes):
            yield each.decode("utf-8", "replace")
        elif isinstance(each, str):
            yield each
