"""One column of whole numbers as it travels: as wide as its largest value needs, little-endian."""

import sys
from array import array
from typing import Final, NamedTuple

__all__ = ["ITEM_SIZES", "Column", "pack_column", "values_of"]

#: item type -> bytes an item
ITEM_SIZES: Final = {"B": 1, "H": 2, "I": 4, "Q": 8}


class Column(NamedTuple):
    """A column as it travels: item type (B, H, I, Q, little-endian) and bytes."""

    kind: str
    data: bytes


def pack_column(values: list[int]) -> Column:
    """Return the column of values from 0 to 2**64 - 1; raises OverflowError beyond."""
    most = max(values, default=0)
    kind = "B" if most < 1 << 8 else "H" if most < 1 << 16 else "I" if most < 1 << 32 else "Q"
    packed = array(kind, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return Column(kind, packed.tobytes())


def values_of(column: Column) -> "array[int]":
    """Return the values of a column."""
    values: array[int] = array(column.kind)
    values.frombytes(column.data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
