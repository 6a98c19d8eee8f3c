"""uvicorn: the app inside the layers that `Config.load` puts around it; see also shutdown.py."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from trimtab.servers.wrapping import measured, replace

__all__ = ["patch_config"]


def patch_config(module: ModuleType) -> None:
    """Patch `uvicorn.config`."""
    replace(module.Config, "load", _load)


def _load(original: Callable[..., Any], self: Any) -> None:
    original(self)
    holder, name = self, "loaded_app"
    asgi: bool | None = True
    while asgi:
        layer = getattr(holder, name)
        of = type(layer).__module__
        if of == "uvicorn.middleware.wsgi":
            # Pending, the framework's template can be seen.
            asgi = False
        elif of not in ("uvicorn.middleware.proxy_headers", "uvicorn.middleware.message_logger"):
            break
        holder, name = layer, "app"
    setattr(holder, name, measured(getattr(holder, name), asgi=asgi))
