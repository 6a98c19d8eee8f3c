"""SQLAlchemy 2, sync and async: its statements and its pools.

Statements are measured at `do_execute` and its two twins, which SQLAlchemy calls when no listener
has run the statement itself. A dialect that has its own ones is patched, too, if need be when its
class is made. What waits for a connection is the pool's `connect`; SQLite's pool for databases in
memory has another one and never waits.
"""

import threading
import weakref
from collections.abc import Iterator
from functools import wraps
from time import monotonic_ns
from types import ModuleType
from typing import Any, Final

from trimtab.context import current_context
from trimtab.instrumentation.patching import Patches
from trimtab.instrumentation.queries import book, count_failure, enter, hooked
from trimtab.runtime import PROCESS
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM

__all__ = ["gauges", "patch"]

#: SQLAlchemy's name of a dialect -> OpenTelemetry's of the system, where they differ
_SYSTEMS: Final = {"oracle": "oracle.db", "mssql": "microsoft.sql_server"}
#: a wait for a connection, in ns, from which on a request's timeline shows it
_SHOWN_NS: Final = 1_000_000

_NAME: Final = "db.client.connection.pool.name"
_WAIT: Final = PROCESS.measures.family("db.client.connection.wait_time", HISTOGRAM, "s")
_TIMEOUTS: Final = PROCESS.measures.family("db.client.connection.timeouts", COUNTER, "{timeout}")
_COUNT: Final = PROCESS.measures.family("db.client.connection.count", GAUGE, "{connection}")
_MAX: Final = PROCESS.measures.family("db.client.connection.max", GAUGE, "{connection}")
_OVERFLOW: Final = PROCESS.measures.family("trimtab.db.connection.overflow", GAUGE, "{connection}")
#: what a pool was made with: figure -> its gauge
_SETTINGS: Final = {
    name: PROCESS.measures.family(f"trimtab.db.pool.{name}", GAUGE, unit)
    for name, unit in {
        "size": "{connection}",
        "max_overflow": "{connection}",
        "pre_ping": "1",
        "recycle": "s",
        "timeout": "s",
    }.items()
}

#: pools that live -> name
_pools: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()


def patch(module: ModuleType, patches: Patches) -> None:
    """Measure the statements of all dialects, or the pools."""
    if module.__name__ != "sqlalchemy.engine.default":
        patches.replace(module.Pool, "connect", _measured_pool)
        return
    dialect: Any = module.DefaultDialect
    for each in _with_subclasses(dialect):
        _patch_dialect(each, dialect, patches)

    def adopting(original: Any) -> Any:
        own = getattr(original, "__func__", None)

        def __init_subclass__(cls: Any, /, **kwargs: Any) -> None:  # noqa: N807
            if own is None:
                super(dialect, cls).__init_subclass__(**kwargs)
            else:
                own(cls, **kwargs)
            _patch_dialect(cls, dialect, patches)

        return classmethod(__init_subclass__)

    # Not __init__: SQLAlchemy reads from its code which arguments create_engine may be given.
    patches.replace(dialect, "__init_subclass__", adopting)


def _with_subclasses(dialect: type) -> Iterator[type]:
    yield dialect
    subclasses: list[type] = dialect.__subclasses__()
    for each in subclasses:
        yield from _with_subclasses(each)


def _patch_dialect(dialect: type, last: type, patches: Patches) -> None:
    """Patch what a dialect runs statements with, its own or of what it inherits from until last."""
    for each in dialect.__mro__:
        for name, measured in _HOOKS.items():
            if name in vars(each):
                patches.replace(each, name, measured)
        if each is last:
            return


def _measured_statement(original: Any) -> Any:
    # As `hooked` does it, without the cost of arguments that may be any.
    @wraps(original)
    def do_execute(
        self: Any, cursor: Any, statement: Any, parameters: Any, context: Any = None
    ) -> Any:
        mark = enter()
        if mark is None:
            return original(self, cursor, statement, parameters, context)
        system = self.name
        system = _SYSTEMS.get(system, system)
        start = monotonic_ns()
        try:
            result = original(self, cursor, statement, parameters, context)
        except BaseException as error:
            end = monotonic_ns()
            mark.clear()
            book(system, statement, start, end, error)
            raise
        end = monotonic_ns()
        mark.clear()
        try:
            rows = cursor.rowcount
        except Exception:  # noqa: BLE001 - not every driver has it
            rows = -1
        book(system, statement, start, end, None, rows)
        return result

    return do_execute


def _without_parameters(original: Any) -> Any:
    return hooked(original, _describe, _rows)


def _describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str]:
    system = args[0].name
    return _SYSTEMS.get(system, system), args[2] if len(args) > 2 else kwargs["statement"]


def _rows(args: tuple[Any, ...], result: Any) -> int:
    rows: int = args[1].rowcount
    return rows


_HOOKS: Final = {
    "do_execute": _measured_statement,
    "do_executemany": _measured_statement,
    "do_execute_no_params": _without_parameters,
}


def _measured_pool(original: Any) -> Any:
    @wraps(original)
    def connect(self: Any) -> Any:
        start = monotonic_ns()
        try:
            connection = original(self)
        except BaseException as error:
            _book_wait(self, start, type(error).__name__ == "TimeoutError")
            raise
        _book_wait(self, start, False)
        return connection

    return connect


def _book_wait(pool: Any, start_ns: int, timed_out: bool) -> None:
    try:
        waited_ns = monotonic_ns() - start_ns
        name = _pools.get(pool) or _name(pool)
        _WAIT.at(((_NAME, name),)).add(waited_ns / 1e9)
        if timed_out:
            _TIMEOUTS.at(((_NAME, name),)).add(1)
        context = current_context()
        if context is not None and waited_ns >= _SHOWN_NS:
            context.add_span("db", start_ns, waited_ns, f"connection of {name}")
    except Exception:  # noqa: BLE001 - measuring must not fail the app
        count_failure()


def _name(pool: Any) -> str:
    """Name a pool by its own name or its dialect, never by its address."""
    name = str(getattr(pool, "_orig_logging_name", None) or "")
    if not name or "@" in name or "://" in name:
        name = str(getattr(getattr(pool, "_dialect", None), "name", "pool"))
    with _naming.lock:
        taken = set(_pools.values())
        free = name
        number = 1
        while free in taken:
            number += 1
            free = f"{name}-{number}"
        _pools[pool] = free
    return free


def gauges() -> None:
    """Add what the pools hold to their gauges; to be called once per second, from any thread."""
    for each in _pools.keyrefs():
        pool = each()
        name = None if pool is None else _pools.get(pool)
        if pool is None or name is None:
            continue
        try:
            used, idle, size = pool.checkedout(), pool.checkedin(), pool.size()
            overflow = max(0, pool.overflow())
            most = size + max(0, pool._max_overflow)
        except Exception:  # noqa: BLE001, S112 - pools without a size have nothing to tell
            continue
        state = "db.client.connection.state"
        _COUNT.at(((_NAME, name), (state, "used"))).add(used)
        _COUNT.at(((_NAME, name), (state, "idle"))).add(idle)
        _MAX.at(((_NAME, name),)).add(most)
        _OVERFLOW.at(((_NAME, name),)).add(overflow)
        for setting, value in _settings(pool, size).items():
            _SETTINGS[setting].at(((_NAME, name),)).add(value)


def _settings(pool: Any, size: int) -> dict[str, float]:
    """Return what a pool was made with; -1 for no limit, and for connections that last."""
    found = {"size": float(size)}
    for setting in ("max_overflow", "pre_ping", "recycle", "timeout"):
        value = getattr(pool, f"_{setting}", None)
        if isinstance(value, (bool, int, float)):
            found[setting] = float(value)
    return found


PROCESS.measures.before(gauges)


class _Lock:
    """The lock of `_name`, replaced in the child of a fork."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        self.lock = threading.Lock()


_naming: Final = _Lock()
PROCESS.join(_naming)
