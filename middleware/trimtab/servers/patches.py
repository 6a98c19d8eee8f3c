"""Which module of which server is patched by what, once it was imported."""

from collections.abc import Callable
from types import ModuleType
from typing import Final

from trimtab.servers import daphne, granian, gunicorn, hypercorn, uvicorn, uwsgi, waitress
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
#: Modules that autostart/sitecustomize.py has to hand over; it cannot import this one to know.
TARGETS: Final = frozenset(_PATCHES)


def patch(module: ModuleType) -> None:
    """Patch a server's module, or wrap the app in a module that uWSGI serves; leave others alone.

    Raises what comes of a server unlike those we know: it runs unmeasured then.
    """
    patcher = _PATCHES.get(module.__name__)
    if patcher is None:
        uwsgi.wrap_apps(module)
    else:
        patcher(module)
