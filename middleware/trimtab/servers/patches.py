"""Which module of which server is patched by what, once it was imported."""

from collections.abc import Callable
from types import ModuleType
from typing import Final

from trimtab.instrumentation import instrument, instrumented
from trimtab.instrumentation import patch as patch_library
from trimtab.servers import daphne, granian, gunicorn, hypercorn, uvicorn, uwsgi, waitress
from trimtab.settings import read_settings
from trimtab.shutdown import flush_after_uvicorn

__all__ = ["TARGETS", "patch"]

_PATCHES: Final[dict[str, Callable[[ModuleType], None]]] = {
    "daphne.server": daphne.patch_server,
    "granian.asgi": granian.patch_asgi,
    "granian.rsgi": granian.patch_rsgi,
    "granian.wsgi": granian.patch_wsgi,
    "gunicorn.app.base": gunicorn.patch_base,
    "hypercorn.run": hypercorn.patch_run,
    "hypercorn.utils": hypercorn.patch_utils,
    "uvicorn.config": uvicorn.patch_config,
    "uvicorn.server": flush_after_uvicorn,
    "waitress.server": waitress.patch_server,
}
#: Libraries of queues: their workers have no server.
_WORKERS: Final = frozenset({"celery.app.base", "rq.worker"})
#: Modules that autostart/sitecustomize.py has to hand over; it cannot import this one to know.
TARGETS: Final = frozenset(_PATCHES) | _WORKERS


def patch(module: ModuleType) -> None:
    """Patch a server's module, or wrap the app in a module that uWSGI serves; leave others alone.

    Libraries are instrumented from here on: the app that will use them is not imported yet.
    Raises what comes of a server unlike those we know: it runs unmeasured then.
    """
    if not instrumented():
        settings = read_settings()
        if settings.enabled and settings.instrument:
            instrument()
            patch_library(module)
    patcher = _PATCHES.get(module.__name__)
    if patcher is not None:
        patcher(module)
    elif module.__name__ not in _WORKERS:
        uwsgi.wrap_apps(module)
