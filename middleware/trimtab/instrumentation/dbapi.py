"""sqlite3, and aiosqlite above it.

sqlite3's classes are written in C and cannot be patched: `sqlite3.connect` makes connections and
cursors of subclasses instead, an app's own factories included when they are classes. They have the
names of what they stand for.

aiosqlite runs sqlite3 in a thread that knows nothing of requests. It is measured where its caller
waits, the time in its queue included, and the connection in its thread is left alone.
"""

import sys
import types
from collections.abc import Callable
from functools import lru_cache, wraps
from types import ModuleType
from typing import Any, Final

from trimtab.instrumentation.patching import Patches
from trimtab.instrumentation.queries import Describe, hooked, hooked_async, text_of

__all__ = ["patch"]

_SYSTEM: Final = "sqlite"
#: place of `factory` among the arguments of connect
_FACTORY: Final = 5
#: what aiosqlite runs in its thread that is a statement
_STATEMENTS: Final = frozenset(
    {"execute", "executemany", "executescript", "_execute_insert", "_execute_fetchall"}
)


def patch(module: ModuleType, patches: Patches) -> None:
    """Measure the statements of sqlite3 or of aiosqlite."""
    if module.__name__ == "aiosqlite.core":
        patches.replace(
            module.Connection, "_execute", lambda original: hooked_async(original, _queued)
        )
        return
    connect = _measured_connect(module)
    for each in (module, module.dbapi2):
        patches.replace(each, "connect", lambda original: connect)


def _queued(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str] | None:
    _, function, *rest = args
    if getattr(function, "__name__", "") not in _STATEMENTS or not rest:
        return None
    return _SYSTEM, text_of(rest[0])


def _rows(args: tuple[Any, ...], result: Any) -> int:
    rows: int = result.rowcount
    return rows


def _measured_connect(module: ModuleType) -> Callable[..., Any]:
    original = module.connect
    measured = _measured_classes(module, lambda: module.connect is connect)

    @wraps(original)
    def connect(*args: Any, **kwargs: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__") != "aiosqlite.core":
            if len(args) > _FACTORY:
                args = (*args[:_FACTORY], measured(args[_FACTORY]), *args[_FACTORY + 1 :])
            else:
                kwargs["factory"] = measured(kwargs.get("factory", module.Connection))
        return original(*args, **kwargs)

    return connect


def _measured_classes(module: ModuleType, is_on: Callable[[], bool]) -> Callable[[Any], Any]:
    """Return what turns a class of connections into its measured subclass."""

    def describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str] | None:
        # Connections live on when measuring has ended.
        return (_SYSTEM, text_of(args[1])) if is_on() else None

    cursor = _subclass(module.Cursor, (module.Cursor,), _statements(module.Cursor, describe))
    of_cursor = _derive(module.Cursor, cursor)

    def make_cursor(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args:
            args = (of_cursor(args[0]), *args[1:])
        else:
            kwargs["factory"] = of_cursor(kwargs.get("factory", module.Cursor))
        return module.Connection.cursor(self, *args, **kwargs)

    make_cursor.__doc__ = module.Connection.cursor.__doc__
    make_cursor.__name__ = "cursor"
    # A connection's own execute does not always go through that of its cursor.
    members = {"cursor": make_cursor, **_statements(module.Connection, describe)}
    connection = _subclass(module.Connection, (module.Connection,), members)
    return _derive(module.Connection, connection)


def _statements(owner: type, describe: Describe) -> dict[str, Any]:
    return {
        name: hooked(getattr(owner, name), describe, _rows)
        for name in ("execute", "executemany", "executescript")
    }


def _derive(plain: type, measured: type) -> Callable[[Any], Any]:
    """Return what gives the measured class for `plain`, or a subclass of one that derives from it.

    The app's class comes first, so that what it overrides it goes on to override.
    """

    @lru_cache(maxsize=64)
    def derived(factory: Any) -> type:
        return _subclass(factory, (factory, measured), {})

    def measure(factory: Any) -> Any:
        if factory is plain:
            return measured
        if not isinstance(factory, type) or not issubclass(factory, plain):
            return factory
        if issubclass(factory, measured):
            return factory
        try:
            return derived(factory)  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001 - a class that will not be derived from stays unmeasured
            return factory

    return measure


def _subclass(like: type, bases: tuple[type, ...], members: dict[str, Any]) -> type:
    named = {
        "__module__": like.__module__,
        "__qualname__": like.__qualname__,
        "__doc__": like.__doc__,
    }
    return types.new_class(like.__name__, bases, {}, lambda body: body.update(named, **members))
