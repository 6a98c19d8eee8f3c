"""daphne: the app that its server is made of; it has no lifespan."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from trimtab.servers.wrapping import measured, replace

__all__ = ["patch_server"]


def patch_server(module: ModuleType) -> None:
    """Patch `daphne.server`."""
    replace(module.Server, "__init__", _init)


def _init(
    original: Callable[..., Any], self: Any, application: Any, *args: Any, **kwargs: Any
) -> None:
    original(self, measured(application, asgi=True), *args, **kwargs)
