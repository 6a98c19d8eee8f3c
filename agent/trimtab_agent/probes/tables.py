"""Tables of a PostgreSQL database: how often they are read as a whole, what has changed, indexes.

The server counts since its statistics were reset; what is told is the growth since the last
reading. Names are quoted as SQL writes them.
"""

from typing import Any, Final, NamedTuple

from trimtab_core.measures import COUNTER, GAUGE, Delta, MeasureKey

__all__ = ["Tables"]

#: Tables that are shown: those that scans read most of, then those that have changed most.
_TOP: Final = 30
#: Tables below this are read whole for good reason.
_ROWS: Final = 1000
_READ: Final = """SELECT /* trimtab */ relid,
quote_ident(schemaname) || '.' || quote_ident(relname),
seq_scan, seq_tup_read, n_live_tup, n_mod_since_analyze
FROM pg_catalog.pg_stat_user_tables
WHERE n_live_tup >= %s OR n_mod_since_analyze >= %s OR relid = ANY(%s)"""
#: Indexes that are shown of these tables.
_MOST_INDEXES: Final = 100
_MOST_TEXT: Final = 500
# Of indexes on expressions the columns do not tell what they are for.
_INDEXES: Final = """SELECT /* trimtab */ i.indrelid,
quote_ident(n.nspname) || '.' || quote_ident(c.relname),
(SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place)
FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE k.place <= i.indnkeyatts),
c.relpages * current_setting('block_size')::bigint
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE i.indrelid = ANY(%s) AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY c.relpages DESC LIMIT %s"""


class _Counted(NamedTuple):
    scans: int
    rows: int


class Tables:
    """Reads the tables of one database; for one thread at a time."""

    def __init__(self) -> None:
        #: table -> its counters at the last reading; None before the first
        self._before: dict[int, _Counted] | None = None

    def read(self, connection: Any) -> list[tuple[MeasureKey, Delta]]:
        """Return measures of the most noteworthy tables; the first reading has no scans.

        Raises psycopg.Error.
        """
        before = self._before
        rows = connection.execute(_READ, (_ROWS, _ROWS, list(before or ()))).fetchall()
        now = {row[0]: _Counted(row[2] or 0, row[3] or 0) for row in rows}
        self._before = now
        grown = {}
        for relid, count in now.items():
            # A table that was not among them is as unknown as all are at first.
            last = (before or {}).get(relid)
            if last is not None and count.scans >= last.scans and count.rows >= last.rows:
                grown[relid] = _Counted(count.scans - last.scans, count.rows - last.rows)
        order = sorted(rows, key=lambda row: (-grown.get(row[0], _Counted(0, 0)).rows, -row[5]))
        found = []
        for relid, name, _, _, live, changed in order[:_TOP]:
            found += [
                (_key("rows", GAUGE, "{row}", name), _one(live)),
                (_key("modified_rows", GAUGE, "{row}", name), _one(changed)),
            ]
            if relid in grown and grown[relid].scans:
                found += [
                    (_key("sequential_scans", COUNTER, "{scan}", name), _one(grown[relid].scans)),
                    (_key("sequential_rows", COUNTER, "{row}", name), _one(grown[relid].rows)),
                ]
        scanned = {
            row[0]: row[1] for row in order[:_TOP] if row[0] in grown and grown[row[0]].scans
        }
        return found + _indexes(connection, scanned)


def _indexes(connection: Any, tables: dict[int, str]) -> list[tuple[MeasureKey, Delta]]:
    """Return the indexes of tables, with the columns that they find rows by, as sizes."""
    if not tables:
        return []
    rows = connection.execute(_INDEXES, (list(tables), _MOST_INDEXES)).fetchall()
    return [
        (
            MeasureKey(
                "postgresql.index.size",
                GAUGE,
                "By",
                (
                    ("postgresql.index.columns", columns[:_MOST_TEXT]),
                    ("postgresql.index.name", name),
                    ("postgresql.table.name", tables[relid]),
                ),
            ),
            _one(size),
        )
        for relid, name, columns, size in rows
        if columns
    ]


def _key(name: str, kind: str, unit: str, table: str) -> MeasureKey:
    attributes = (("postgresql.table.name", table),)
    return MeasureKey(f"postgresql.table.{name}", kind, unit, attributes)


def _one(value: float) -> Delta:
    delta = Delta()
    delta.add([float(value)])
    return delta
