"""waitress: the app that a server is made of, by `waitress-serve` or by `waitress.serve(app)`.

An interrupt ends it by exit handlers. It has no handler for SIGTERM, which therefore kills it.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from trimtab.servers.wrapping import measured, replace

__all__ = ["patch_server"]


def patch_server(module: ModuleType) -> None:
    """Patch `waitress.server`."""
    replace(module, "create_server", _create_server)


def _create_server(
    original: Callable[..., Any], application: Any, *args: Any, **kwargs: Any
) -> Any:
    if application is not None:  # its own error says so
        application = measured(application, asgi=False)
    return original(application, *args, **kwargs)
