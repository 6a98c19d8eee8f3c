"""Wrapping at the server: what `trimtab run` does to uvicorn and gunicorn.

The app is wrapped where the server has just loaded it, outermost, so that exceptions turned into
answers by the framework are seen as those answers. A server is patched once; an app that is
wrapped already is left alone.
"""

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from trimtab.asgi import wrap
from trimtab.runtime import runtime_for
from trimtab.settings import read_settings
from trimtab.shutdown import MARK, flush_after_uvicorn
from trimtab.wsgi import wrap_wsgi

__all__ = ["measured", "patch"]


def patch(module: ModuleType) -> None:
    """Patch a server's module that was just imported; other modules are left alone."""
    patcher = _PATCHES.get(module.__name__)
    if patcher is not None:
        patcher(module)


def measured(app: Any) -> Any:
    """Return app inside the wrapper of its kind, or app itself when measuring is off."""
    if hasattr(app, MARK):
        return app
    settings = read_settings()
    if not settings.enabled:
        return app
    runtime = runtime_for(settings)
    wrapper: Any = wrap(app, runtime) if _is_asgi(app) else wrap_wsgi(app, runtime)
    setattr(wrapper, MARK, True)
    return wrapper


def _is_asgi(app: Any) -> bool:
    # uvicorn's own test of the interface (uvicorn.config.Config.load).
    if inspect.isclass(app):
        return hasattr(app, "__await__")
    if inspect.iscoroutinefunction(app):
        return True
    return inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004


def _patch_uvicorn_config(module: ModuleType) -> None:
    def load(original: Callable[..., Any], self: Any) -> None:
        original(self)
        self.loaded_app = measured(self.loaded_app)

    _replace(module.Config, "load", load)


def _patch_gunicorn(module: ModuleType) -> None:
    def wsgi(original: Callable[..., Any], self: Any) -> Any:
        # Kept in place of the app, which a preloading arbiter loads once for all its workers.
        self.callable = measured(original(self))
        return self.callable

    _replace(module.BaseApplication, "wsgi", wsgi)


def _replace(owner: Any, name: str, around: Callable[..., Any]) -> None:
    original = getattr(owner, name)
    if hasattr(original, MARK):
        return

    @functools.wraps(original)
    def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
        return around(functools.partial(original), self, *args, **kwargs)

    setattr(replacement, MARK, True)
    setattr(owner, name, replacement)


_PATCHES: dict[str, Callable[[ModuleType], None]] = {
    "uvicorn.config": _patch_uvicorn_config,
    "uvicorn.server": flush_after_uvicorn,
    "gunicorn.app.base": _patch_gunicorn,
}
