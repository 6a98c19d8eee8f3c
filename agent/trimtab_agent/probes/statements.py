"""Statements of a PostgreSQL database: what pg_stat_statements counted since the last reading.

A text is kept as its shape alone: PostgreSQL replaces the constants of statements that it plans,
and holds all others (`ALTER ROLE x PASSWORD '...'`) and comments as they were typed. Statements
that are not among those that took the most time, and those whose text the user may not read, are
added up as `other`.
"""

from typing import Any, Final, NamedTuple

from trimtab_core.measures import HISTOGRAM, OTHER, Delta, MeasureKey
from trimtab_core.shapes import shape

__all__ = ["MARK", "TOP", "Statements"]

#: Statements that are shown one by one: those that took the most time in an interval.
TOP: Final = 50
#: Is in every statement of trimtab itself; these are left out.
MARK: Final = "/* trimtab */"
#: Statements of trimtab itself that may be among those that took the most time.
_OWN: Final = 16
_KEPT_TEXTS: Final = 2000
#: Version of the extension that tells top-level statements apart and when it was reset.
_TELLS_RESET: Final = (1, 9)

_FOUND: Final = """SELECT /* trimtab */ e.extversion, quote_ident(n.nspname)
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'"""
_RESET: Final = "SELECT /* trimtab */ stats_reset FROM {schema}.pg_stat_statements_info"
_COUNTED: Final = """SELECT /* trimtab */ userid, queryid, {toplevel}, calls, total_exec_time
FROM {schema}.pg_stat_statements(false)
WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
AND queryid IS NOT NULL"""
_TEXTS: Final = """SELECT /* trimtab */ queryid, min(left(query, 1000))
FROM {schema}.pg_stat_statements(true) WHERE queryid = ANY(%s) GROUP BY queryid"""

#: userid, queryid, toplevel
_Key = tuple[int, int, bool]


class _Count(NamedTuple):
    calls: int
    time_ms: float


class Statements:
    """Reads the growth of each statement of one database; the first reading gives nothing.

    After a reset, or when PostgreSQL evicted a statement and it came back, it counts from zero. For
    one thread at a time. Without texts pg_stat_statements is cheap to read: a few ms for 5,000
    statements.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._before: dict[_Key, _Count] | None = None
        self._reset: object = None
        #: queryid -> shape; MARK for a statement of trimtab itself
        self._texts: dict[int, str] = {}

    def read(self, connection: Any) -> list[tuple[MeasureKey, Delta]]:
        """Return count and time of statements since the last call; empty without the extension.

        Minimum and maximum of a delta are its mean: no more is known. Raises psycopg.Error.
        """
        row = connection.execute(_FOUND).fetchone()
        if row is None:
            self._before = None
            return []
        schema = str(row[1])
        tells_reset = tuple(map(int, str(row[0]).split("."))) >= _TELLS_RESET
        reset = None
        if tells_reset:
            (reset,) = connection.execute(_RESET.format(schema=schema)).fetchone()
        toplevel = "toplevel" if tells_reset else "true"
        rows = connection.execute(_COUNTED.format(schema=schema, toplevel=toplevel)).fetchall()
        now = {(row[0], row[1], row[2]): _Count(row[3], row[4]) for row in rows}
        before = {} if reset != self._reset and self._before is not None else self._before
        self._before, self._reset = now, reset
        if before is None:
            return []
        return self._deltas(connection, schema, _grown(before, now))

    def _deltas(
        self, connection: Any, schema: str, grown: dict[_Key, _Count]
    ) -> list[tuple[MeasureKey, Delta]]:
        order = sorted(grown, key=lambda key: grown[key].time_ms, reverse=True)
        texts = self._texts_of(connection, schema, {key[1] for key in order[: TOP + _OWN]})
        deltas: dict[MeasureKey, Delta] = {}
        shown = 0
        for key in order:
            text = texts.get(key[1], OTHER)
            if text == MARK:
                continue
            shown += 1
            count, total_s = grown[key].calls, grown[key].time_ms / 1e3
            mean_s = total_s / count
            delta = Delta(count, total_s, mean_s, mean_s, mean_s)
            deltas.setdefault(self._key(text if shown <= TOP else OTHER), Delta()).merge(delta)
        return list(deltas.items())

    def _key(self, text: str) -> MeasureKey:
        attributes = (
            ("db.namespace", self._database),
            ("db.query.text", text),
            ("db.system.name", "postgresql"),
        )
        return MeasureKey("postgresql.statement.duration", HISTOGRAM, "s", attributes)

    def _texts_of(self, connection: Any, schema: str, wanted: set[int]) -> dict[int, str]:
        """Return the shapes of statements; each is read once, because PostgreSQL reads a file."""
        if len(self._texts) > _KEPT_TEXTS:
            self._texts.clear()
        missing = sorted(wanted - self._texts.keys())
        if missing:
            rows = connection.execute(_TEXTS.format(schema=schema), (missing,)).fetchall()
            # `<insufficient privilege>` stands for the text of somebody else's.
            self._texts |= {
                number: MARK if MARK in text else shape(text, "postgresql") or OTHER
                for number, text in rows
                if text and not text.startswith("<")
            }
        return self._texts


def _grown(before: dict[_Key, _Count], now: dict[_Key, _Count]) -> dict[_Key, _Count]:
    grown = {}
    for key, count in now.items():
        old = before.get(key, _Count(0, 0.0))
        if count.calls < old.calls or count.time_ms < old.time_ms:
            old = _Count(0, 0.0)
        if count.calls > old.calls:
            grown[key] = _Count(count.calls - old.calls, count.time_ms - old.time_ms)
    return grown
