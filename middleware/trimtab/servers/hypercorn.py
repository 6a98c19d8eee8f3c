"""hypercorn: the app as it is loaded in each worker, where its interface is decided.

Its workers are spawned processes that end by themselves, by exit handlers: but when the first of
them has ended the master terminates the others, which have hardly begun to shut down.
"""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Final

from trimtab.servers.wrapping import measured, replace

__all__ = ["patch_run", "patch_utils"]

#: A worker looks every 0.1 s whether it shall end, and sends every 0.25 s in any case.
_GRACE_S: Final = 0.5


def patch_utils(module: ModuleType) -> None:
    """Patch `hypercorn.utils`."""

    def wrap_app(original: Callable[..., Any], app: Any, size: int, mode: str | None = None) -> Any:
        asgi = module.is_asgi(app) if mode is None else mode == "asgi"
        return original(measured(app, asgi=asgi), size, "asgi" if asgi else "wsgi")

    replace(module, "wrap_app", wrap_app)


def patch_run(module: ModuleType) -> None:
    """Patch `hypercorn.run`: workers get half a second more, once all have been told to end."""
    replace(module, "_populate", _populate)


def _populate(
    original: Callable[..., None],
    processes: list[Any],
    config: Any,
    worker: Any,
    sockets: Any,
    ending: Any,
    context: Any,
) -> None:
    original(processes, config, worker, sockets, ending, context)
    for process in processes:
        process.terminate = partial(_terminate, process, ending)


def _terminate(process: Any, ending: Any) -> None:
    if ending.is_set():
        process.join(_GRACE_S)
    type(process).terminate(process)
