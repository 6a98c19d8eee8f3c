"""Found by every Python that `trimtab run` starts, since its folder stands first on PYTHONPATH.

It hands on to the sitecustomize that it shadows, then waits for a web server to be imported and
lets trimtab.servers wrap the app there. A program without a web server pays one finder on
sys.meta_path and nothing else. Nothing here may fail a program.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import ModuleType

_HERE = os.path.dirname(os.path.abspath(__file__))
#: trimtab.servers.TARGETS: importing that here would cost programs without a server 30 ms
_TARGETS = {
    "celery.app.base", "daphne.server", "granian.asgi", "granian.rsgi", "granian.wsgi",
    "gunicorn.app.base", "hypercorn.run", "hypercorn.utils", "rq.worker", "uvicorn.config",
    "uvicorn.server", "waitress.server",
}  # fmt: skip


def _chain() -> None:
    """Run the sitecustomize that would have been found without this one."""
    path = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


class _ServerFinder(importlib.abc.MetaPathFinder):
    """Has the other finders find a server's module, and wraps it once it was executed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if "uwsgi" in sys.modules:
            _watch_file_of_uwsgi()
        if name not in _TARGETS and not _is_app_of_uwsgi(name):
            return None
        for finder in sys.meta_path:
            # Python passes over finders that have no find_spec, too.
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                try:
                    _wrap_loader(spec.loader)
                except Exception as error:  # noqa: BLE001 - a loader that lets nothing be put there
                    _tell(name, error)
                return spec
        return None


def _is_app_of_uwsgi(name: str) -> bool:
    """Whether uWSGI, which is no module that is imported by its name, may serve a module."""
    options = getattr(sys.modules.get("uwsgi"), "opt", None)
    return isinstance(options, dict) and any(
        name in str(options.get(option)) for option in ("module", "wsgi", "mount")
    )


_watched: list[str] = []


def _watch_file_of_uwsgi() -> None:
    """Have the app wrapped in a file that uWSGI is executing, which is not imported by a finder.

    It is noticed by what it imports itself.
    """
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name == "<module>" and name.startswith("uwsgi_file_"):
            if name not in _watched:
                _watched.append(name)
                try:
                    from trimtab.servers import watch_file

                    watch_file(frame)
                except Exception as error:  # noqa: BLE001 - a server runs without measuring, too
                    _tell(name, error)
            return


def _tell(name: str, error: Exception) -> None:
    try:
        # None, print would take for standard output.
        if sys.stderr is not None:
            print(f"trimtab run: {name} is not measured: {error!r}", file=sys.stderr)
    except Exception:  # noqa: BLE001, S110 - closed: whom could one tell?
        pass


def _wrap_loader(loader: importlib.abc.Loader) -> None:
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        try:
            from trimtab.servers import patch

            patch(module)
        except Exception as error:  # noqa: BLE001 - a server runs without measuring, too
            _tell(module.__name__, error)

    loader.exec_module = exec_module  # type: ignore[method-assign]


if os.environ.get("TRIMTAB_RUN"):
    sys.meta_path.insert(0, _ServerFinder())
try:
    _chain()
except Exception as error:  # noqa: BLE001 - what the shadowed one does is not ours to fail by
    print(f"sitecustomize failed: {error!r}", file=sys.stderr)
