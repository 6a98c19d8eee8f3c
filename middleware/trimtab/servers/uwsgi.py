"""uWSGI: written in C, it takes the app out of a module that it has imported.

So the app is wrapped in its module, as soon as that was executed. The options `module`, `wsgi` and
`mount` name it; what is loaded by file name (`wsgi-file`) is no import, and cannot be seen here.
"""

import functools
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from trimtab.servers.wrapping import is_wrapped
from trimtab.settings import read_settings
from trimtab.wsgi import WSGIMiddleware

__all__ = ["wrap_apps"]


def wrap_apps(module: ModuleType) -> None:
    """Wrap what uWSGI will take from a module; does nothing with one that it does not serve."""
    for name, callable_name in _apps():
        if name == module.__name__:
            _wrap(module, callable_name)


def _wrap(module: ModuleType, name: str) -> None:
    if not read_settings().enabled:
        return
    if name.endswith("()"):
        make = getattr(module, name[:-2])
        setattr(module, name[:-2], functools.wraps(make)(lambda *args: _wrapped(make(*args))))
    elif hasattr(module, name):
        setattr(module, name, _wrapped(getattr(module, name)))


def _wrapped(app: Any) -> Any:
    # With the face of the app: others may import it, too.
    return app if is_wrapped(app) else WSGIMiddleware(app)


def _apps() -> Iterator[tuple[str, str]]:
    """Yield module and callable of each app that the options of this uWSGI name."""
    options: dict[str, Any] = getattr(sys.modules.get("uwsgi"), "opt", {})
    default = next(_texts(options.get("callable")), "application")
    for option in ("module", "wsgi", "mount"):
        for text in _texts(options.get(option)):
            target = text.rpartition("=")[2] if option == "mount" else text
            module, _, name = target.partition(":")
            yield module, name or default


def _texts(value: Any) -> Iterator[str]:
    for each in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(each, bytes):
            yield each.decode("utf-8", "replace")
        elif isinstance(each, str):
            yield each
