"""SQLAlchemy 2, sync and async: its statements and its pools.

Statements are measured at `do_execute` and its two twins, which SQLAlchemy calls when no listener
has run the statement itself. A dialect that has its own ones is patched, too, when it is made at
the latest. What waits for a connection is the pool's `connect`; SQLite's pool for databases in
memory has another one and never waits.
"""

import threading
import weakref
from collections.abc import Iterator
from functools import wraps
from time import monotonic_ns
from types import ModuleType
from typing import Any, Final

from trimtab.instrument.patching import Patches
from trimtab.instrument.queries import book, enter
from trimtab.measures import MEASURES
from trimtab.slot import current_slot
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM

__all__ = ["patch", "readings"]

_HOOKED: Final = ("do_execute", "do_executemany", "do_execute_no_params")
#: SQLAlchemy's name of a dialect -> OpenTelemetry's of the system, where they differ
_SYSTEMS: Final = {"oracle": "oracle.db", "mssql": "microsoft.sql_server"}
#: a wait for a connection that a request's timeline shows
_SHOWN_NS: Final = 1_000_000

_NAME: Final = "db.client.connection.pool.name"
_WAIT: Final = MEASURES.family("db.client.connection.wait_time", HISTOGRAM, "s")
_TIMEOUTS: Final = MEASURES.family("db.client.connection.timeouts", COUNTER, "{timeout}")
_COUNT: Final = MEASURES.family("db.client.connection.count", GAUGE, "{connection}")
_MAX: Final = MEASURES.family("db.client.connection.max", GAUGE, "{connection}")
_OVERFLOW: Final = MEASURES.family("trimtab.db.connection.overflow", GAUGE, "{connection}")

#: pools that live -> name
_pools: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()
_lock: Final = threading.Lock()


def patch(module: ModuleType, patches: Patches) -> None:
    """Measure the statements of all dialects, or the pools."""
    if module.__name__ != "sqlalchemy.engine.default":
        patches.replace(module.Pool, "connect", _measured_pool)
        return
    dialect: type = module.DefaultDialect
    for each in _with_subclasses(dialect):
        _patch_dialect(each, patches)

    def adopting(original: Any) -> Any:
        @wraps(original)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            for each in type(self).__mro__:
                if issubclass(each, dialect):
                    _patch_dialect(each, patches)
            original(self, *args, **kwargs)

        return __init__

    patches.replace(dialect, "__init__", adopting)


def _with_subclasses(dialect: type) -> Iterator[type]:
    yield dialect
    subclasses: list[type] = dialect.__subclasses__()
    for each in subclasses:
        yield from _with_subclasses(each)


def _patch_dialect(dialect: type, patches: Patches) -> None:
    for name in _HOOKED:
        if name in vars(dialect):
            patches.replace(dialect, name, _measured_statement)


def _measured_statement(original: Any) -> Any:
    # None of its callers gives arguments by name; a dialect of others may.
    @wraps(original)
    def do_execute(self: Any, cursor: Any, statement: Any, *args: Any, **kwargs: Any) -> Any:
        mark = enter()
        if mark is None:
            return original(self, cursor, statement, *args, **kwargs)
        system = self.name
        system = _SYSTEMS.get(system, system)
        start = monotonic_ns()
        try:
            result = original(self, cursor, statement, *args, **kwargs)
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


def _measured_pool(original: Any) -> Any:
    @wraps(original)
    def connect(self: Any) -> Any:
        name = _pools.get(self) or _name(self)
        start = monotonic_ns()
        try:
            connection = original(self)
        except BaseException as error:
            if type(error).__name__ == "TimeoutError":
                _TIMEOUTS.at(((_NAME, name),)).add(1)
            raise
        finally:
            waited = monotonic_ns() - start
            _WAIT.at(((_NAME, name),)).add(waited / 1e9)
            if waited >= _SHOWN_NS:
                slot = current_slot()
                if slot is not None:
                    slot.add_span("db", start, waited, f"connection of {name}")
        return connection

    return connect


def _name(pool: Any) -> str:
    """Name a pool by its own name or its dialect, never by its address."""
    name = str(
        getattr(pool, "_orig_logging_name", None)
        or getattr(getattr(pool, "_dialect", None), "name", "pool")
    )
    with _lock:
        taken = set(_pools.values())
        free = name
        number = 1
        while free in taken:
            number += 1
            free = f"{name}-{number}"
        _pools[pool] = free
    return free


def readings() -> None:
    """Add what the pools hold to their gauges; to be called once a second, from any thread."""
    with _lock:
        pools = list(_pools.items())
    for pool, name in pools:
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
