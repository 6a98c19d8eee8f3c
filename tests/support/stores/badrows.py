"""Rows that the collector would not write, with checksums as if it had."""

import re
from collections.abc import Sequence
from typing import Final

from trimtab_collector.checkedrows import CheckedConnection

__all__ = ["plant"]

_INSERT: Final = re.compile(r"INSERT (?:OR \w+ )?INTO (\w+) ")
_UPDATE: Final = re.compile(r"UPDATE (\w+) SET ")


def plant(connection: CheckedConnection, statement: str, values: Sequence[object] = ()) -> None:
    """Run an INSERT or UPDATE, and give what it wrote its checksums."""
    found = _INSERT.match(statement) or _UPDATE.match(statement)
    assert found is not None, statement
    table, rest = found[1], statement[found.end() :]
    if found.re is _UPDATE:
        rest = f"crc = NULL, {rest}"
    elif not rest.startswith("("):
        rest = f"({', '.join(connection.table(table).names)}) {rest}"
    connection.execute(found[0] + rest, values)
    connection.seal(table)
