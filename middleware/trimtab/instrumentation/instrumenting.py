"""Which module of which library is patched by what, as soon as it has been imported."""

import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from trimtab.instrumentation.patching import Patches
from trimtab.runtime import PROCESS
from trimtab.settings import read_settings
from trimtab_core.logs import app_logger

__all__ = ["TARGETS", "instrument", "instrumented", "patch", "uninstrument"]

log = app_logger("trimtab.instrument")

#: library -> module of ours with `patch(module, patches)`
LIBRARIES: Final = {
    "sqlalchemy": "trimtab.instrumentation.sqlalchemy",
    "sqlite3": "trimtab.instrumentation.dbapi",
    "psycopg": "trimtab.instrumentation.psycopg",
    "asyncpg": "trimtab.instrumentation.asyncpg",
    "django": "trimtab.instrumentation.django",
    "frameworks": "trimtab.instrumentation.failures",
    "redis": "trimtab.instrumentation.redis",
    "httpx": "trimtab.instrumentation.httpx",
    "requests": "trimtab.instrumentation.requests",
    "celery": "trimtab.instrumentation.celery",
    "rq": "trimtab.instrumentation.rq",
}
#: module of a library that is patched once it was executed -> library
TARGETS: Final = {
    "sqlalchemy.engine.default": "sqlalchemy",
    "sqlalchemy.pool.base": "sqlalchemy",
    "sqlite3": "sqlite3",
    "aiosqlite.core": "sqlite3",
    "psycopg": "psycopg",
    "asyncpg.connection": "asyncpg",
    "django.db.backends.utils": "django",
    "flask.app": "frameworks",
    "quart.app": "frameworks",
    "django.core.handlers.exception": "frameworks",
    "redis.client": "redis",
    "redis.asyncio.client": "redis",
    "httpx": "httpx",
    "requests.sessions": "requests",
    "celery.signals": "celery",
    "rq.worker": "rq",
    "rq.queue": "rq",
}


class _Choice:
    """The libraries that are measured, and the lock under which they are chosen."""

    def __init__(self) -> None:
        self.libraries: set[str] = set()
        self.lock = threading.RLock()

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held."""
        self.lock = threading.RLock()


_patches: Final = Patches()
_choice: Final = _Choice()
PROCESS.join(_patches)
PROCESS.join(_choice)


def instrument(*libraries: str) -> None:
    """Measure calls to these libraries, or to all that trimtab knows; harmless to repeat.

    Raises ValueError for a library that it does not know.
    """
    unknown = sorted(set(libraries) - set(LIBRARIES))
    if unknown:
        raise ValueError(
            f"expected libraries among {', '.join(sorted(LIBRARIES))}, got {', '.join(unknown)}"
        )
    # Here: an app that is not instrumented does not pay for it at its start.
    from trimtab.instrumentation.queries import set_slow_ms

    set_slow_ms(read_settings().slow_query_ms)
    with _choice.lock:
        _choice.libraries.update(libraries or LIBRARIES)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        for name in TARGETS:
            module = sys.modules.get(name)
            # One that is being imported right now is patched at its end.
            if module is not None and not _is_being_imported(module):
                patch(module)


def uninstrument() -> None:
    """Put everything back as it was; what was measured stays."""
    with _choice.lock:
        _choice.libraries.clear()
        if _finder in sys.meta_path:
            sys.meta_path.remove(_finder)
        _patches.undo()


def instrumented() -> bool:
    """Tell whether calls are measured in this process."""
    return bool(_choice.libraries)


def patch(module: ModuleType) -> None:
    """Patch a module of a library that was chosen; one that is unlike those we know is left alone.

    It never raises: a warning says what is not measured.
    """
    library = TARGETS.get(module.__name__)
    if library not in _choice.libraries or library is None:
        return
    try:
        import_module(LIBRARIES[library]).patch(module, _patches)
    except Exception as error:  # noqa: BLE001 - an app runs without measuring, too
        log.warning("%s is not measured: %r", module.__name__, error)


def _is_being_imported(module: ModuleType) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


#: what a thread is looking for
_asking: Final = threading.local()


class _LibraryFinder:
    """Has the other finders find a library's module, and patches it once it was executed.

    No importlib.abc.MetaPathFinder, which takes 4 ms to import, and nothing asks for one.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in TARGETS or getattr(_asking, "name", "") == name:
            return None
        # One of the other finders may ask all finders, too.
        _asking.name = name
        try:
            spec = importlib.util.find_spec(name)
        finally:
            _asking.name = ""
        try:
            if spec is not None and spec.loader is not None:
                _patch_after(spec.loader)
        except Exception as error:  # noqa: BLE001 - a loader that lets nothing be put in its place
            log.warning("%s is not measured: %r", name, error)
        return spec


def _patch_after(loader: Any) -> None:
    execute: Callable[[ModuleType], None] = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        patch(module)

    loader.exec_module = exec_module


_finder: Final = _LibraryFinder()
