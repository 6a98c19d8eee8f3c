"""gunicorn: the app as each worker, or a preloading arbiter, gets it; whatever the worker's kind.

Its workers end by sys.exit, after TERM, INT, their last request and a timeout alike: exit handlers
run. A worker of uvicorn's ends as uvicorn does.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from trimtab.servers.wrapping import measured, replace

__all__ = ["patch_base"]


def patch_base(module: ModuleType) -> None:
    """Patch `gunicorn.app.base`."""
    replace(module.BaseApplication, "wsgi", _wsgi)


def _wsgi(original: Callable[..., Any], self: Any) -> Any:
    # Kept in place of the app, which a preloading arbiter loads once for all its workers.
    self.callable = measured(original(self))
    return self.callable
