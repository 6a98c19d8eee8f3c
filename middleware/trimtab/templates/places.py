"""Where the template of a request is kept until the wrapper asks for it."""

from collections.abc import Mapping
from typing import Any, Final

from trimtab.runtime import PROCESS
from trimtab.tables import NameTable

__all__ = ["CELL_KEY", "ENVIRON_KEY", "ROUTE_KEY", "leave", "mounted"]

#: Key in scope or environ under which an app can name the template of a request itself.
ROUTE_KEY: Final = "trimtab.route"
#: Key in scope under which the wrapper puts a list, the same one in every copy of the scope.
CELL_KEY: Final = "trimtab"
#: The same for environ, where the list begins with SCRIPT_NAME as it was at entry.
ENVIRON_KEY: Final = "trimtab.seen"
#: Mount points are written by people, but SCRIPT_NAME may also carry a tenant or a language.
_MAX_MOUNTS: Final = 64
_mounts: Final[NameTable[str, str]] = NameTable(_MAX_MOUNTS)
PROCESS.join(_mounts)


def leave(place: Mapping[str, Any], template: str, *, whole: bool = False) -> None:
    """Leave the template of a framework's route for the wrapper; place is scope or environ.

    whole says that the framework routes by the path with what is mounted above it in scope. Raises
    KeyError where no wrapper is around.
    """
    if "wsgi.version" in place:
        cell = place[ENVIRON_KEY]
        cell.append(mounted(place, cell[0]) + template)
    else:
        place[CELL_KEY].append((template,) if whole else template)


def mounted(environ: Mapping[str, Any], script_name: str) -> str:
    """Return what was mounted since SCRIPT_NAME was script_name, `/{mount}` when it varies."""
    added = str(environ.get("SCRIPT_NAME", "")).removeprefix(script_name)
    if not added or _mounts.get(added) is not None:
        return added
    return _mounts.add(added, lambda: added) or "/{mount}"
