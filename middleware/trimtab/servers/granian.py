"""granian: the app where a worker makes an ASGI or WSGI callback of it.

RSGI is left alone: its apps are called otherwise. Workers are forks of multiprocessing, which end
without exit handlers; the runtime takes care of that.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from trimtab.servers.wrapping import measured, replace
from trimtab_core.logs import app_logger

__all__ = ["patch_asgi", "patch_rsgi", "patch_wsgi"]

log = app_logger("trimtab.servers")


def patch_asgi(module: ModuleType) -> None:
    """Patch `granian.asgi`: the callback of requests, and that of the lifespan."""
    replace(module, "_callback_wrapper", _asgi_callback)
    replace(module.LifespanProtocol, "__init__", _lifespan)


def patch_wsgi(module: ModuleType) -> None:
    """Patch `granian.wsgi`."""
    replace(module, "_callback_wrapper", _wsgi_callback)


def patch_rsgi(module: ModuleType) -> None:
    """Patch `granian.rsgi` so that it says that it is not measured."""
    replace(module, "_callback_wrapper", _rsgi_callback)


def _asgi_callback(original: Callable[..., Any], app: Any, *args: Any, **kwargs: Any) -> Any:
    return original(measured(app, asgi=True), *args, **kwargs)


def _lifespan(original: Callable[..., Any], self: Any, app: Any) -> None:
    original(self, measured(app, asgi=True))


def _wsgi_callback(original: Callable[..., Any], app: Any, *args: Any, **kwargs: Any) -> Any:
    return original(measured(app, asgi=False), *args, **kwargs)


def _rsgi_callback(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    log.warning("RSGI is not measured: start granian with --interface asgi or wsgi")
    return original(*args, **kwargs)
