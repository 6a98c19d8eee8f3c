"""asyncpg: statements of connections, pooled or not, of prepared statements and of cursors.

BEGIN and COMMIT of its transactions, and the reset of a connection that goes back to its pool, are
statements, too. Of a cursor the first batch is measured. COPY is not.
"""

from types import ModuleType
from typing import Any, Final

from trimtab.instrumentation.patching import Patches
from trimtab.instrumentation.queries import hooked_async

__all__ = ["patch"]

_SYSTEM: Final = "postgresql"


def patch(module: ModuleType, patches: Patches) -> None:
    """Measure what connections, prepared statements and cursors run."""
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
