"""PostgreSQL: connections, locks, cache, replication, settings, statements, tables, indexes.

Reads over one read-only connection whose statements end after 2 s. Figures are left out if the user
lacks the rights for them or an extension is missing; see docs/databases.md.
"""

import time
from typing import Any, Final

from trimtab_agent.gauges.kernel import Rates
from trimtab_agent.probes.defaults import session_defaults
from trimtab_agent.probes.probe import Probed, TargetAddress, in_thread
from trimtab_agent.probes.statements import Statements
from trimtab_agent.probes.tables import Tables
from trimtab_core.errors import SettingsError
from trimtab_core.measures import GAUGE, Delta, MeasureKey

__all__ = ["PostgresqlProbe"]

_FORM: Final = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
_STATEMENT_MS: Final = 2000
#: Unused indexes that are shown, the largest first.
_INDEXES: Final = 50
#: Used unless the DSN says otherwise: a host that is gone is noticed within seconds.
_OPTIONS: Final = {
    "connect_timeout": "4",
    "tcp_user_timeout": "5000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "2",
}

# Each statement bears the mark by which Statements leaves them out.
_DATABASE: Final = """SELECT /* trimtab */
numbackends, xact_commit, xact_rollback, deadlocks, temp_files, temp_bytes, blks_hit, blks_read
FROM pg_catalog.pg_stat_database WHERE datname = current_database()"""
_COUNTERS: Final = (
    "postgresql.backends",
    "postgresql.commits",
    "postgresql.rollbacks",
    "postgresql.deadlocks",
    "postgresql.temp.files",
    "postgresql.temp.size",
)
_ACTIVITY: Final = """SELECT /* trimtab */
count(*) FILTER (WHERE state = 'active'),
count(*) FILTER (WHERE state = 'idle'),
count(*) FILTER (WHERE state LIKE 'idle in transaction%'),
count(*) FILTER (WHERE wait_event_type = 'Lock'),
coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0),
current_setting('max_connections')
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_STATES: Final = (
    "postgresql.backends.active",
    "postgresql.backends.idle",
    "postgresql.backends.idle_in_transaction",
    "postgresql.backends.waiting",
    "postgresql.transaction.oldest",
    "postgresql.connection.max",
)
# A standby that has replayed all it received is not behind, however long ago that was.
_STANDBY: Final = """SELECT /* trimtab */ CASE WHEN NOT pg_is_in_recovery() THEN NULL
WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END"""
_STANDBYS: Final = """SELECT /* trimtab */ count(*),
max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), extract(epoch FROM max(replay_lag))
FROM pg_catalog.pg_stat_replication WHERE NOT pg_is_in_recovery()"""
_SIZE: Final = "SELECT /* trimtab */ pg_database_size(current_database())"
# The size as of the last vacuum or analyze: to measure it would wait for locks on the index.
_INDEX_SCANS: Final = """SELECT /* trimtab */ s.indexrelid, s.idx_scan,
quote_ident(s.schemaname) || '.' || quote_ident(s.indexrelname),
quote_ident(s.schemaname) || '.' || quote_ident(s.relname),
c.relpages * current_setting('block_size')::bigint
FROM pg_catalog.pg_stat_user_indexes s JOIN pg_catalog.pg_index i USING (indexrelid)
JOIN pg_catalog.pg_class c ON c.oid = s.indexrelid
WHERE NOT i.indisunique AND NOT i.indisexclusion AND i.indisvalid"""


class PostgresqlProbe:
    """Reads one database of PostgreSQL 13 or newer; costly figures only every slow_s.

    Raises SettingsError for a DSN that cannot be understood, without showing it.
    """

    def __init__(self, dsn: str, slow_s: float) -> None:
        from psycopg import Error, conninfo  # optional: installed where a probe asks for it

        try:
            parts = {key: str(value) for key, value in conninfo.conninfo_to_dict(dsn).items()}
            # Of a password with a plain @ or / libpq takes the rest for the host or the database.
            if any("@" in parts.get(name, "")[1:] for name in ("host", "port", "dbname")):
                raise ValueError
        except (Error, ValueError):
            raise SettingsError(
                f"probe_postgresql: expected {_FORM}, got something else (it is not shown)"
            ) from None
        self._parts = _OPTIONS | parts
        secrets = {value for key, value in parts.items() if "pass" in key}
        # As PostgreSQL's sentences have it: `for user "trimtab"`.
        secrets |= {f'"{value}"' for key, value in parts.items() if key == "user"}
        self._address = TargetAddress.of(dsn, secrets)
        user = parts.get("user", "postgres")
        database = parts.get("dbname", user)
        place = f"{parts.get('host', 'localhost')}:{parts.get('port', '5432')}"
        self.target = f"postgresql:{place}/{database}"
        self._slow_s = slow_s
        self._next_slow_s = 0.0
        self._slow_gauges: dict[str, float] = {}
        self._rates = Rates()
        self._statements = Statements(database)
        self._tables = Tables()
        #: index -> its scans when it was first seen; -1 if it was scanned since
        self._scans: dict[int, int] = {}
        self._connection: Any = None

    async def read(self) -> Probed:
        """Read the target once; raises psycopg.Error."""
        return await in_thread(self._read)

    def redacted(self, error: BaseException) -> str:
        return self._address.redacted(error)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self) -> Probed:
        try:
            return self._found(self._connected())
        except BaseException:
            self.close()
            raise

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self._connect(f"-c statement_timeout={_STATEMENT_MS}")
        return self._connection

    def _connect(self, option: str = "") -> Any:
        import psycopg
        from psycopg import conninfo

        given = self._parts.get("options", "")
        options = f"{given} {option} -c default_transaction_read_only=on"
        parts = {**self._parts, "application_name": "trimtab", "options": options.strip()}
        # Nothing prepared: behind a pooler the next statement may meet another session.
        return psycopg.connect(
            conninfo.make_conninfo("", **parts), autocommit=True, prepare_threshold=None
        )

    def _found(self, connection: Any) -> Probed:
        now_s = time.monotonic()
        database = connection.execute(_DATABASE).fetchone()
        gauges = dict(zip(_COUNTERS, map(float, database), strict=False))
        ratio = self._hit_ratio(database[6], database[7], now_s)
        if ratio is not None:
            gauges["postgresql.cache.hit_ratio"] = ratio
        activity = connection.execute(_ACTIVITY).fetchone()
        gauges |= dict(zip(_STATES, map(float, activity), strict=True))
        gauges |= _replication(connection)
        measures: list[tuple[MeasureKey, Delta]] = []
        if now_s >= self._next_slow_s:
            self._next_slow_s = now_s + self._slow_s
            measures = self._slow(connection)
        return Probed(gauges | self._slow_gauges, measures)

    def _hit_ratio(self, hit: int, read: int, now_s: float) -> float | None:
        hits = self._rates.grown("hit", hit, now_s)
        reads = self._rates.grown("read", read, now_s)
        blocks = hits[0] + reads[0] if hits and reads else 0
        return hits[0] / blocks if hits and blocks else None

    def _slow(self, connection: Any) -> list[tuple[MeasureKey, Delta]]:
        import psycopg

        size = _optional(connection, _SIZE)
        self._slow_gauges = {"postgresql.db_size": float(size[0])} if size else {}
        self._slow_gauges |= self._defaults()
        try:
            measures = self._statements.read(connection)
        except (
            psycopg.ProgrammingError,
            psycopg.errors.ObjectNotInPrerequisiteState,
            psycopg.errors.QueryCanceled,
        ):
            # The user may not read it, it is too old or not loaded, or it was too slow this time.
            measures = []
        return measures + self._tables.read(connection) + self._unused(connection)

    def _defaults(self) -> dict[str, float]:
        """Return settings as a session begins with them: one without our own time limit.

        That limit is never set by a statement: behind a pooler it would stay for others.
        """
        import psycopg

        try:
            with self._connect() as fresh:
                return session_defaults(fresh)
        except psycopg.Error:
            # The server has no connection to spare, or ended this one: what is known is enough.
            return {}

    def _unused(self, connection: Any) -> list[tuple[MeasureKey, Delta]]:
        """Return the sizes of indexes that no scan has used since they were first seen here."""
        rows = connection.execute(_INDEX_SCANS).fetchall()
        unused = []
        scans = {}
        for oid, count, index, table, size in rows:
            # If statistics were reset, an index that was seen in use stays so.
            first = self._scans.get(oid, count)
            scans[oid] = first if count == first else -1
            if count == first:
                unused.append((size, index, table))
        self._scans, was_first = scans, not self._scans
        if was_first:
            return []
        unused.sort(reverse=True)
        return [(_index_key(index, table), _of(size)) for size, index, table in unused[:_INDEXES]]


def _replication(connection: Any) -> dict[str, float]:
    (behind_s,) = connection.execute(_STANDBY).fetchone()
    if behind_s is not None:
        return {"postgresql.replication.lag": float(behind_s)}
    row = _optional(connection, _STANDBYS)
    if row is None or not row[0]:
        return {}
    found = {"postgresql.replication.standbys": float(row[0])}
    if row[1] is not None:
        found["postgresql.replication.data_delay"] = float(row[1])
        found["postgresql.replication.lag"] = float(row[2] or 0.0)
    return found


def _optional(connection: Any, query: str) -> Any:
    """Return a row; None where the user's rights do not reach."""
    import psycopg

    try:
        return connection.execute(query).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None


def _index_key(index: str, table: str) -> MeasureKey:
    attributes = (("postgresql.index.name", index), ("postgresql.table.name", table))
    return MeasureKey("postgresql.index.unused.size", GAUGE, "By", attributes)


def _of(value: float) -> Delta:
    delta = Delta()
    delta.add([float(value)])
    return delta
