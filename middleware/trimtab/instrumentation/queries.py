"""What all hooks of databases share: a statement is booked once, by the outermost hook.

Each statement is a value of `db.client.operation.duration` (its shape, the system and, when it
failed, `error.type` as attributes), time and a span of the request it ran in, and its rows are
counted in `trimtab.db.rows`. A slow one is an event, and so is one that a request repeats from the
same line of the app.

`error.type` is what can be acted on: `deadlock` (40P01 of PostgreSQL, 1213 of MySQL),
`serialization_failure` (40001), `lock_timeout` (55P03, 1205, SQLite's busy), `connection` (class
08, 57P01 to 57P03, a socket's error) and otherwise the name of the exception's class.
"""

import functools
from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic_ns
from typing import Any, Final

from trimtab.context import RequestContext, context_variable
from trimtab.events import N_PLUS_ONE, SLOW_QUERY
from trimtab.metrics.measures import Measure
from trimtab.runtime import PROCESS
from trimtab.sites import Finder, Site, caller, describe
from trimtab_core.logs import RateLimited, app_logger
from trimtab_core.measures import COUNTER, HISTOGRAM, Attributes
from trimtab_core.shapecache import ShapeCache
from trimtab_core.shapes import shape

__all__ = [
    "Describe",
    "Rows",
    "book",
    "count_failure",
    "enter",
    "hooked",
    "hooked_async",
    "nested",
    "set_slow_ms",
    "text_of",
]

#: a statement that takes at least this long, in ns, is slow
SLOW_NS = 100_000_000
#: times a request runs the same shape from the same line before it is a repetition
_REPEATS: Final = 5
#: longest text of a span and an event, in characters
_MOST_TEXT: Final = 200
_MOST_QUERIES: Final = 2000
#: of one request: shapes and lines that are counted, and slow queries that are noted
_MOST_LINES: Final = 1000
_MOST_SLOW: Final = 20

_DURATION: Final = PROCESS.measures.family("db.client.operation.duration", HISTOGRAM, "s")
_ROWS: Final = PROCESS.measures.family("trimtab.db.rows", COUNTER, "{row}")
#: times that a hook failed; its statement went on unmeasured
_FAILED: Final = PROCESS.measures.family("trimtab.instrumentation.failures", COUNTER, "1")
_log: Final = RateLimited(app_logger("trimtab.slow"))

#: statements that are not work on data, however often they run
_CONTROL: Final = (
    "BEGIN", "COMMIT", "PRAGMA", "RELEASE", "RESET", "ROLLBACK", "SAVEPOINT",
    "SELECT PG_ADVISORY_UNLOCK_ALL", "SET", "SHOW", "START TRANS",
)  # fmt: skip


class _Query:
    """A shape of one system, and the measures that it adds to."""

    __slots__ = (
        "attributes",
        "duration",
        "failures",
        "finder",
        "is_control",
        "rows",
        "shape",
        "system",
        "text",
    )

    def __init__(self, shape: str, system: str) -> None:
        self.shape, self.system = shape, system
        self.text = shape[:_MOST_TEXT]
        self.is_control = shape.upper().startswith(_CONTROL)
        self.attributes: Attributes = (("db.query.text", shape), ("db.system.name", system))
        self.duration = _DURATION.at(self.attributes)
        self.rows: Measure | None = None
        self.failures: dict[str, Measure] = {}
        self.finder = Finder()

    def count_rows(self, rows: int) -> None:
        if self.rows is None or self.rows.is_other:
            self.rows = _ROWS.at(self.attributes)
        self.rows.add(rows)

    def failure(self, kind: str) -> Measure:
        found = self.failures.get(kind)
        if found is None:
            found = _DURATION.at((*self.attributes, ("error.type", kind)))
            if len(self.failures) < 50 and not found.is_other:
                self.failures[kind] = found
        return found


#: system -> what is known by text, and all of them by shape
_known: dict[str, ShapeCache[_Query]] = {}
_queries: dict[tuple[str, str], _Query] = {}
#: non-empty while an outer hook runs; emptied, not only reset, for tasks that inherited it
_outer_mark: Final[ContextVar[list[int] | None]] = ContextVar("trimtab_outer_query", default=None)


def set_slow_ms(milliseconds: float) -> None:
    """Call statements slow that take at least this long; any thread."""
    global SLOW_NS
    SLOW_NS = int(milliseconds * 1_000_000)


def nested() -> bool:
    """Tell whether another hook runs this call; any thread or context."""
    return bool(_outer_mark.get())


def enter() -> list[int] | None:
    """Return what the outermost hook has to clear at its end; None inside another one."""
    if _outer_mark.get():
        return None
    mark = [1]
    _outer_mark.set(mark)
    return mark


def book(
    system: str,
    sql: str,
    start_ns: int,
    end_ns: int,
    error: BaseException | None = None,
    rows: int = -1,
) -> None:
    """Book a statement that has ended, in the thread and context that ran it; never raises.

    system is OpenTelemetry's name, times are monotonic_ns, rows is below 0 when it is not known.
    1.7 us in a request, 0.7 us outside one.
    """
    try:
        known = _known.get(system)
        if known is None:
            known = _known.setdefault(system, ShapeCache(functools.partial(_query, system)))
        query = known.of(sql)
        duration_ns = end_ns - start_ns
        if error is None:
            if query.duration.is_other:
                # There was no place for the shape; there may be one by now.
                query.duration = _DURATION.at(query.attributes)
            query.duration.add(duration_ns / 1e9)
        else:
            query.failure(kind_of(error)).add(duration_ns / 1e9)
        if rows > 0:
            query.count_rows(rows)
        context = context_variable.get()
        if context is not None:
            context.add_db(duration_ns)
            context.add_span("db", start_ns, duration_ns, query.text)
            if not query.is_control:
                site = query.finder.find()
                if site is not None:
                    _repeat(context, query, site, duration_ns)
        if duration_ns >= SLOW_NS:
            _slow(query, duration_ns, context)
    except Exception:  # noqa: BLE001 - measuring must not fail the app
        count_failure()


def count_failure() -> None:
    """Count that a hook failed; what it was to measure went on unmeasured. Never raises."""
    try:
        _FAILED.at().add(1)
    except Exception:  # noqa: BLE001, S110 - near the limit of recursion, or of memory
        pass


def _query(system: str, sql: str) -> _Query:
    found = shape(sql, system)
    if len(_queries) >= _MOST_QUERIES:
        _queries.clear()
    return _queries.setdefault((found, system), _Query(found, system))


def _repeat(context: RequestContext, query: _Query, site: Site, duration_ns: int) -> None:
    repeats = context.repeats
    if repeats is None:
        repeats = context.repeats = {}
    key = (query.shape, site)
    seen = repeats.get(key)
    if seen is None:
        if len(repeats) < _MOST_LINES:
            repeats[key] = [1, duration_ns, None]
        return
    seen[0] += 1
    seen[1] += duration_ns
    note = seen[2]
    if note is not None:
        note["count"] = seen[0]
        note["duration_us"] = seen[1] // 1000
    elif seen[0] >= _REPEATS:
        note = seen[2] = {
            "kind": N_PLUS_ONE,
            "alike": query.shape,
            "query": query.text,
            "system": query.system,
            "site": describe(site),
            "caller": caller(site),
            "count": seen[0],
            "duration_us": seen[1] // 1000,
        }
        context.note(note)


def _slow(query: _Query, duration_ns: int, context: RequestContext | None) -> None:
    site = query.finder.find()
    where = describe(site)
    event: dict[str, Any] = {
        "query": query.text,
        "system": query.system,
        "duration_us": duration_ns // 1000,
        "site": where,
        "caller": caller(site),
    }
    if context is None:
        PROCESS.events.add(SLOW_QUERY, query.shape, event)
    elif sum(each["kind"] == SLOW_QUERY for each in context.notes or ()) < _MOST_SLOW:
        context.note({"kind": SLOW_QUERY, "alike": query.shape, **event})
    else:
        PROCESS.events.dropped += 1
    _log.warning(
        "slow", "a query took %d ms at %s: %s", duration_ns // 1_000_000, where, query.text
    )


_BY_STATE: Final = {
    "40P01": "deadlock",
    "40001": "serialization_failure",
    "55P03": "lock_timeout",
    "57P01": "connection",
    "57P02": "connection",
    "57P03": "connection",
}
_BY_NUMBER: Final = {
    1205: "lock_timeout", 1213: "deadlock", 2003: "connection", 2006: "connection",
    2013: "connection",
}  # fmt: skip


def kind_of(error: BaseException) -> str:
    """Return what failed, for `error.type`; never a text of the error, which may hold values."""
    for each in (error, error.__cause__):
        if each is None:
            continue
        state = getattr(each, "sqlstate", None) or getattr(each, "pgcode", None)
        if isinstance(state, str):
            if state in _BY_STATE or state.startswith("08"):
                return _BY_STATE.get(state, "connection")
        elif getattr(each, "sqlite_errorname", "") in ("SQLITE_BUSY", "SQLITE_LOCKED"):
            return "lock_timeout"
        elif isinstance(each, ConnectionError):
            return "connection"
        elif each.args and type(each.args[0]) is int and each.args[0] in _BY_NUMBER:
            return _BY_NUMBER[each.args[0]]
    return type(error).__name__


def text_of(sql: Any, context: Any = None) -> str:
    """Return a statement as text: bytes and what psycopg composes are some, too."""
    if type(sql) is str:
        return sql
    if isinstance(sql, bytes):
        return sql.decode("utf-8", "replace")
    if isinstance(sql, str):
        return str.__str__(sql)
    try:
        return str(sql.as_string(context))
    except Exception:  # noqa: BLE001 - whatever a driver may take; the driver itself will refuse it
        return f"({type(sql).__name__})"


#: arguments of a call -> system and statement, None if it runs no statement
Describe = Callable[[tuple[Any, ...], dict[str, Any]], tuple[str, str] | None]
#: arguments and result of a call -> rows, below 0 when they are not known
Rows = Callable[[tuple[Any, ...], Any], int]


def _no_rows(args: tuple[Any, ...], result: Any) -> int:
    return -1


def _described(
    describe: Describe, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[str, str] | None:
    try:
        return describe(args, kwargs)
    except Exception:  # noqa: BLE001 - a call that is wrong is the library's to refuse
        return None


def _counted(rows: Rows, args: tuple[Any, ...], result: Any) -> int:
    try:
        return rows(args, result)
    except Exception:  # noqa: BLE001 - a cursor that cannot tell
        return -1


def hooked(
    original: Callable[..., Any], describe: Describe, rows: Rows = _no_rows
) -> Callable[..., Any]:
    """Return a function that books what `original` runs and does nothing else."""

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _outer_mark.get() or (described := _described(describe, args, kwargs)) is None:
            return original(*args, **kwargs)
        mark = [1]
        _outer_mark.set(mark)
        start = monotonic_ns()
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            end = monotonic_ns()
            mark.clear()
            book(*described, start, end, error)
            raise
        end = monotonic_ns()
        mark.clear()
        book(*described, start, end, None, _counted(rows, args, result))
        return result

    return call


def hooked_async(
    original: Callable[..., Any], describe: Describe, rows: Rows = _no_rows
) -> Callable[..., Any]:
    """Return a coroutine function that books what `original` runs; else as `hooked`."""

    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if _outer_mark.get() or (described := _described(describe, args, kwargs)) is None:
            return await original(*args, **kwargs)
        mark = [1]
        _outer_mark.set(mark)
        start = monotonic_ns()
        try:
            result = await original(*args, **kwargs)
        except BaseException as error:
            end = monotonic_ns()
            mark.clear()
            book(*described, start, end, error)
            raise
        end = monotonic_ns()
        mark.clear()
        book(*described, start, end, None, _counted(rows, args, result))
        return result

    return call
