"""Tables of the databases that agents read, and the indexes of those that were scanned."""

from collections.abc import Mapping, Sequence
from typing import Final

from trimtab_collector.contract.databases import ServerTable, TableIndex
from trimtab_collector.reads.digits import whole_of
from trimtab_collector.reads.measures import MeasureReads, attribute, grouped
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import MeasurePart
from trimtab_core.measures import Delta

__all__ = ["server_tables", "tables_of"]

_TABLES: Final = "postgresql.table."
_INDEX: Final = "postgresql.index.size"


def server_tables(reader: StoreReader, time_range: TimeRange) -> list[ServerTable]:
    """Return the tables that agents told of in a range; those whose scans read most first."""
    return tables_of(
        MeasureReads(reader, time_range, (f"{_TABLES}*", _INDEX), of_servers=True).of()
    )


def tables_of(parts: Sequence[MeasurePart]) -> list[ServerTable]:
    """Return the tables that measures tell of; those whose scans read most first."""
    own = (each for each in parts if each.key.name == _INDEX)
    indexes = grouped(own, _whose)
    figures = grouped((each for each in parts if each.key.name.startswith(_TABLES)), _whose)
    tables = [
        _table(whose, {part.key.name.removeprefix(_TABLES): part.delta for part in some},
               indexes.get(whose, ()))
        for whose, some in figures.items()
    ]  # fmt: skip
    return sorted(tables, key=lambda each: (-each.sequential_rows, each.target, each.table))


def _table(
    whose: tuple[str, str], of: Mapping[str, Delta], indexes: Sequence[MeasurePart]
) -> ServerTable:
    none = Delta()
    return ServerTable(
        target=whose[0],
        table=whose[1],
        rows=whole_of(of.get("rows", none).last),
        modified_rows=whole_of(of.get("modified_rows", none).last),
        sequential_scans=whole_of(of.get("sequential_scans", none).sum),
        sequential_rows=whole_of(of.get("sequential_rows", none).sum),
        indexes=[
            TableIndex(
                index=attribute(part, "postgresql.index.name"),
                columns=attribute(part, "postgresql.index.columns"),
                size=whole_of(part.delta.last),
            )
            for part in indexes
        ],
    )


def _whose(part: MeasurePart) -> tuple[str, str]:
    return part.instance, attribute(part, "postgresql.table.name")
