"""Wrapping an app that a server has just loaded, and replacing what a server is made of, once."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from trimtab.asgi import wrap
from trimtab.face import Face
from trimtab.runtime import runtime_for
from trimtab.settings import read_settings
from trimtab.shutdown import MARK
from trimtab.wsgi import wrap_wsgi

__all__ = ["is_wrapped", "measured", "replace"]


def measured(app: Any, *, asgi: bool | None = None) -> Any:
    """Return app inside the wrapper of its kind, or app itself when measuring is off.

    asgi tells the kind where the server knows it. An app that has wrapped itself in code is left
    alone: its own settings hold.
    """
    if is_wrapped(app):
        return app
    settings = read_settings()
    if not settings.enabled:
        return app
    runtime = runtime_for(settings)
    if asgi is None:
        asgi = _is_asgi(app)
    wrapper: Any = wrap(app, runtime) if asgi else wrap_wsgi(app, runtime)
    setattr(wrapper, MARK, True)
    return wrapper


def is_wrapped(app: Any) -> bool:
    """Tell whether an app is a wrapper of ours."""
    # Not hasattr(): an app may have an answer for every name.
    return isinstance(app, Face) or MARK in getattr(app, "__dict__", ())


def replace(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Put around in place of owner's function `name`; it gets the original before its arguments.

    Harmless to repeat. Raises AttributeError when there is no such name.
    """
    original = getattr(owner, name)
    if hasattr(original, MARK):
        return

    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(replacement, MARK, True)
    setattr(owner, name, replacement)


def _is_asgi(app: Any) -> bool:
    # uvicorn's own test of the interface (uvicorn.config.Config.load).
    if inspect.isclass(app):
        return hasattr(app, "__await__")
    if inspect.iscoroutinefunction(app):
        return True
    return inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004
