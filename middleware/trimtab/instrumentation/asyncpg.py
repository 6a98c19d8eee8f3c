"""asyncpg: statements of connections, pooled or not, of prepared statements and of cursors.

BEGIN and COMMIT of its transactions, and the reset of a connection that goes back to its pool, are
statements, too. Of a cursor the first batch is measured. COPY is not.
"""

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any, Final

from trimtab.instrumentation.patching import Patches
from trimtab.instrumentation.queries import count_failure, hooked_async
from trimtab.runtime import PROCESS
from trimtab_core.measures import GAUGE

__all__ = ["gauges", "patch"]

_SYSTEM: Final = "postgresql"
_TIMEOUT: Final = PROCESS.measures.family("trimtab.db.command_timeout", GAUGE, "s")
_MOST_TIMEOUTS: Final = 20

#: time limits of commands, in s, of the connections that were made; 0 for none
_timeouts: set[float] = set()


def patch(module: ModuleType, patches: Patches) -> None:
    """Measure what connections, prepared statements and cursors run."""
    patches.replace(module.Connection, "__init__", _noting)
    # The first serves execute, the second fetch and its kin, the third the statements of many.
    for name in ("execute", "_execute", "_executemany"):
        patches.replace(
            module.Connection, name, lambda original: hooked_async(original, _of_call, _rows)
        )
    patches.replace(
        module.prepared_stmt.PreparedStatement,
        "_PreparedStatement__do_execute",
        lambda original: hooked_async(original, _of_object, _rows),
    )
    for name in ("_bind_exec", "_bind"):
        patches.replace(
            module.cursor.BaseCursor,
            name,
            lambda original: hooked_async(original, _of_object, _rows),
        )


def _noting(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        try:
            seconds = float(self._config.command_timeout or 0)
            if len(_timeouts) < _MOST_TIMEOUTS:
                _timeouts.add(seconds)
        except Exception:  # noqa: BLE001 - measuring must not fail the app
            count_failure()

    return __init__


def gauges() -> None:
    """Add the time limits of commands to their gauge; once per second, from any thread."""
    for seconds in tuple(_timeouts):
        _TIMEOUT.at((("db.system.name", _SYSTEM),)).add(seconds)


PROCESS.measures.before(gauges)


def _of_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str] | None:
    query = args[1] if len(args) > 1 else kwargs.get("query")
    return (_SYSTEM, query) if isinstance(query, str) else None


def _of_object(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str] | None:
    query = args[0]._query
    return (_SYSTEM, query) if isinstance(query, str) else None


def _rows(args: tuple[Any, ...], result: Any) -> int:
    """Rows of records, of `INSERT 0 5`, or of records that come with more."""
    if isinstance(result, tuple) and result:
        result = result[0]
    if isinstance(result, list):
        return len(result)
    if isinstance(result, str):
        last = result.rpartition(" ")[2]
        return int(last) if last.isdecimal() else -1
    return -1
