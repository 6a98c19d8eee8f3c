"""Checksums of rows in metrics.db, so that a disk that changes a bit changes no number.

SQLite has none of its own. Each row of the tables of measures, events and accounting ends in the
CRC-32 of its values; rows that an earlier version wrote have NULL there and are taken as they are.
A CRC-32 finds every error of up to three bits in the sizes that rows have, and misses one of four
billion others (Koopman, 32-Bit Cyclic Redundancy Codes for Internet Applications, 2002).
"""

import zlib
from collections.abc import Sequence

import msgspec

from trimtab_core.errors import TrimtabError

__all__ = ["UnreadableError", "checksum", "is_whole", "verify"]

_pack = msgspec.msgpack.Encoder().encode


class UnreadableError(TrimtabError):
    """A row of the store is not as it was written."""


def checksum(*values: object) -> int:
    """Return the checksum of the values of a row, in the types in which SQLite returns them."""
    return zlib.crc32(_pack(values))


def verify(crc: object, *values: object) -> None:
    """Raise UnreadableError unless this is the checksum of the values, or NULL."""
    if crc is not None and crc != checksum(*values):
        raise UnreadableError("expected a row as it was written, its checksum differs")


def is_whole(row: Sequence[object]) -> bool:
    """Return whether a row ends in the checksum of what is before it; one without has been cut."""
    try:
        return row[-1] == checksum(*row[:-1])
    except (ValueError, TypeError, msgspec.MsgspecError):
        return False
