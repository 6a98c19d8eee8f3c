"""Advice on PostgreSQL: time limits, the compiler, statistics and indexes."""

from collections.abc import Iterator
from typing import Any, Final

from trimtab_collector.contract.analysis import Place
from trimtab_collector.contract.databases import ServerTable
from trimtab_collector.reads.judging.advising import AdviceRule, Advised, Unseen, is_measured
from trimtab_collector.reads.judging.facts import Facts, whole
from trimtab_collector.reads.judging.findings import HIGH, LOW, MEDIUM, Clue
from trimtab_collector.reads.judging.predicates import TableAccess, access_of, same_table
from trimtab_collector.reads.measures import attribute
from trimtab_collector.reads.tables import tables_of
from trimtab_collector.storage.store import MeasurePart

__all__ = ["POSTGRESQL_RULES"]

_STATEMENT_S: Final = 30.0
_COMMAND_S: Final = 60.0
#: statements without which nothing is said of their length, and the mean of short ones
_STATEMENTS: Final = 100
_SHORT_S: Final = 0.1
#: tables below this are read whole for good reason
_ROWS: Final = 10_000
_SCANS: Final = 10
_CHANGED_ROWS: Final = 1_000
_CHANGED: Final = 0.2
_INDEX_BYTES: Final = 2**20
_LARGE_INDEX_BYTES: Final = 100 * 2**20
#: pieces of advice of one rule
_MOST: Final = 10

_TABLE: Final = "postgresql.table.table"
_TEXT: Final = "db.query.text"
_UNUSED: Final = "postgresql.index.unused.size"
_STATEMENT: Final = "postgresql.statement.duration"


def statement_timeout(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have the server end statements after 30 s."""
    servers = facts.tracks("postgresql.setting.statement_timeout")
    if not servers:
        yield _no_server(facts)
    for server in servers:
        if server.last <= 0 or server.last > _STATEMENT_S:
            database = _database_of(server.instance)
            yield Advised(
                MEDIUM, LOW, Place(target=server.instance), {"seconds": server.last}, (),
                (f"ALTER DATABASE {database} SET statement_timeout = '30s';",),
            )  # fmt: skip


def command_timeout(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have asyncpg give up a command after 60 s."""
    owners = facts.by_service("trimtab.db.command_timeout")
    if not owners:
        yield Unseen("no_asyncpg")
    for (environment, service), parts in owners.items():
        least, most = _bounds(parts)
        if least <= 0 or most > _COMMAND_S:
            yield Advised(
                MEDIUM, LOW, Place(environment=environment, service=service),
                {"seconds": 0.0 if least <= 0 else most}, (),
                ("asyncpg.create_pool(dsn, command_timeout=60)",
                 'create_async_engine(url, connect_args={"command_timeout": 60})'),
            )  # fmt: skip


def jit_off(facts: Facts) -> Iterator[Advised | Unseen]:
    """Switch the compiler off where statements are short: it costs more than it saves."""
    servers = facts.tracks("postgresql.setting.jit")
    if not servers:
        yield _no_server(facts)
    for server in servers:
        place = Place(target=server.instance)
        if server.last < 1:
            continue
        ran = whole(part for part in facts.of(_STATEMENT) if part.instance == server.instance)
        if ran.count < _STATEMENTS:
            yield Unseen("no_statements", place)
        elif ran.sum / ran.count < _SHORT_S:
            clue = Clue("statements", {"count": ran.count, "mean": ran.sum / ran.count * 1000},
                        place)  # fmt: skip
            database = _database_of(server.instance)
            yield Advised(
                LOW, LOW, place, {}, (clue,), (f"ALTER DATABASE {database} SET jit = off;",)
            )


def analyze(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have statistics taken anew where a fifth of a table has changed."""
    tables = tables_of(facts.measures)
    if not tables:
        yield _no_server(facts, "no_tables")
    stale = [
        each for each in tables if each.modified_rows >= max(_CHANGED_ROWS, _CHANGED * each.rows)
    ]
    for each in sorted(stale, key=lambda one: -one.modified_rows)[:_MOST]:
        fields = {"table": each.table, "rows": each.rows, "changed": each.modified_rows}
        yield Advised(MEDIUM, LOW, _place(each), fields, (), (f"ANALYZE {each.table};",))


def missing_index(facts: Facts) -> Iterator[Advised | Unseen]:
    """Find large tables that are read whole again and again, and what would find the rows."""
    tables = tables_of(facts.measures)
    if not tables:
        yield _no_server(facts, "no_tables")
    for table in _read_whole(tables):
        texts = _statements_on(facts, table.table)
        wanted = dict.fromkeys(access.columns for _, access in texts if access.columns)
        there = {columns: _index_on(table, columns) for columns in wanted}
        commands = [
            f"CREATE INDEX CONCURRENTLY ON {table.table} ({', '.join(columns)});"
            for columns, index in there.items()
            if not index
        ]
        useless = [
            Clue("index_there", {"index": index, "columns": ", ".join(columns)}, _place(table))
            for columns, index in there.items()
            if index
        ]
        clues = (*_clues(table, texts), *useless[:2])
        yield Advised(HIGH, MEDIUM, _place(table), _scan_fields(table), clues, tuple(commands[:2]))


def _index_on(table: ServerTable, columns: tuple[str, ...]) -> str:
    """Return an index that has these columns in front, in any order; empty without one."""
    wanted = {_plain(column) for column in columns}
    for each in table.indexes:
        if {_plain(column) for column in each.columns.split(", ")[: len(wanted)]} == wanted:
            return each.index
    return ""


def _plain(column: str) -> str:
    """Return a column as PostgreSQL names it: what is not quoted is lower case."""
    return column.strip('"') if column.startswith('"') else column.lower()


def partial_index(facts: Facts) -> Iterator[Advised | Unseen]:
    """Of a table that is read whole, index only the rows that a statement always asks for."""
    tables = tables_of(facts.measures)
    if not tables:
        yield _no_server(facts, "no_tables")
    for table in _read_whole(tables):
        for text, access in _statements_on(facts, table.table):
            if not access.conditions:
                continue
            # Without a column to search by, the rows themselves are what is looked for.
            columns = access.columns or (access.conditions[0].split()[-1],)
            if not access.columns and " IS " in access.conditions[0]:
                columns = (access.conditions[0].split()[0],)
            condition = " AND ".join(access.conditions)
            fields = {**_scan_fields(table), "condition": condition}
            what = f"{table.table} ({', '.join(columns)}) WHERE {condition}"
            commands = (f"CREATE INDEX CONCURRENTLY ON {what};",)
            clues = _clues(table, [(text, access)])
            yield Advised(MEDIUM, MEDIUM, _place(table), fields, clues, commands)
            break


def _read_whole(tables: list[ServerTable]) -> list[ServerTable]:
    found = [
        each
        for each in tables
        if each.rows >= _ROWS
        and each.sequential_scans >= _SCANS
        and each.sequential_rows >= _ROWS * each.sequential_scans
    ]
    return sorted(found, key=lambda each: -each.sequential_rows)[:_MOST]


def _scan_fields(table: ServerTable) -> dict[str, Any]:
    return {
        "table": table.table,
        "rows": table.rows,
        "scans": table.sequential_scans,
        "each": table.sequential_rows / table.sequential_scans,
    }


def _place(table: ServerTable) -> Place:
    return Place(target=table.target)


def _clues(table: ServerTable, texts: list[tuple[str, TableAccess]]) -> tuple[Clue, ...]:
    return tuple(
        Clue("statement_on", {"table": table.table}, _place(table), text[:200])
        for text, _ in texts[:2]
    )


def _statements_on(facts: Facts, table: str) -> list[tuple[str, TableAccess]]:
    """Return the understood statements on a table, those with the most time first."""
    times: dict[str, float] = {}
    for part in facts.of(_STATEMENT, "db.client.operation.duration"):
        text = attribute(part, _TEXT)
        if text:
            times[text] = times.get(text, 0.0) + part.delta.sum
    found = []
    for text in sorted(times, key=lambda each: -times[each]):
        access = access_of(text)
        if access is not None and same_table(access.table, table):
            found.append((text, access))
    return found


def unused_index(facts: Facts) -> Iterator[Advised | Unseen]:
    """Find large indexes that no scan has used since the agent watches them."""
    if not facts.tracks("postgresql.backends"):
        yield Unseen("no_postgresql")
    unused = [part for part in facts.of(_UNUSED) if part.delta.last >= _INDEX_BYTES]
    for part in sorted(unused, key=lambda each: -each.delta.last)[:_MOST]:
        size = part.delta.last
        index, table = attribute(part, "postgresql.index.name"), attribute(part, _TABLE)
        fields = {"index": index, "table": table, "mib": size / 2**20}
        yield Advised(
            MEDIUM if size >= _LARGE_INDEX_BYTES else LOW, LOW, Place(target=part.instance),
            fields, (), (f"DROP INDEX CONCURRENTLY {index};",),
        )  # fmt: skip


def _bounds(parts: list[MeasurePart]) -> tuple[float, float]:
    return min(part.delta.min for part in parts), max(part.delta.max for part in parts)


def _database_of(target: str) -> str:
    """Return the name of a target's database as SQL writes it."""
    # A second target of the same name has a number behind it.
    name = target.rpartition("/")[2].partition("#")[0]
    plain = name.isidentifier() and name.isascii() and name == name.lower()
    return name if plain else '"' + name.replace('"', '""') + '"'


def _no_server(facts: Facts, otherwise: str = "no_settings") -> Unseen:
    """Return why nothing is known: no probe, or one that is older or may not read it."""
    is_probed = bool(facts.tracks("postgresql.backends")) or is_measured(facts, _STATEMENT)
    return Unseen(otherwise if is_probed else "no_postgresql")


POSTGRESQL_RULES: Final = (
    AdviceRule("statement_timeout", "postgresql", statement_timeout, limit="seconds"),
    AdviceRule("command_timeout", "postgresql", command_timeout, limit="seconds"),
    AdviceRule("jit_off", "postgresql", jit_off),
    AdviceRule("analyze", "postgresql", analyze),
    AdviceRule("missing_index", "postgresql", missing_index),
    AdviceRule("partial_index", "postgresql", partial_index),
    AdviceRule("unused_index", "postgresql", unused_index),
)
