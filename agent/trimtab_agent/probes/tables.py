"""Tables of a PostgreSQL database: how often they are read as a whole, and how much has changed.

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
        return found


def _key(name: str, kind: str, unit: str, table: str) -> MeasureKey:
    attributes = (("postgresql.table.name", table),)
    return MeasureKey(f"postgresql.table.{name}", kind, unit, attributes)


def _one(value: float) -> Delta:
    delta = Delta()
    delta.add([float(value)])
    return delta
