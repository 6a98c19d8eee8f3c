"""Rows of the journal: batches as they came, with a checksum and with what they hold.

The checksum is that of the batch and of its place. What a batch holds, requests and background
records by service, has one of its own: if the batch cannot be read any more, it says what is
missing.
"""

import sqlite3
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from trimtab_collector.storage.sqlite.aside import set_aside
from trimtab_collector.storage.store import Received
from trimtab_core.batches import Batch, decode
from trimtab_core.errors import BatchError

__all__ = [
    "JOURNAL_COLUMNS",
    "JOURNAL_ROW",
    "JournalEntry",
    "batch_of",
    "journal_checksum",
    "journal_row",
    "lose",
    "rows_of_services",
    "seen_of",
]

JournalEntry = tuple[int, int, int, int, int, bytes, int, bytes]
#: columns of a new row, in the order of `journal_row`
JOURNAL_COLUMNS: Final = "id, origin, seq, t0, received_us, payload, crc, holds"
#: columns that `batch_of` takes; a payload of another type is one that cannot be read
JOURNAL_ROW: Final = "id, origin, seq, t0, received_us, CAST(payload AS BLOB), crc"
_HOLDS: Final = "SELECT CAST(holds AS BLOB) FROM journal WHERE id = ?"
_PLACE: Final = struct.Struct("<qqqqq")
#: without the id, as an earlier version took the checksum
_PLACE_7: Final = struct.Struct("<qqqq")
_CRC_BYTES: Final = 4
#: (environment, service) -> requests and background records
HeldRequests = Mapping[tuple[str, str], tuple[int, int]]


def journal_row(number: int, origin: int, received: Received) -> JournalEntry:
    """Return the row of a batch that came from a start of an agent, under a number of its own."""
    place = (number, origin, received.batch.seq, received.window_s, received.received_us)
    crc = journal_checksum(place, received.raw)
    # All of its services, also those of which there is nothing to count: who asks for another one
    # need not read the batch (`rows_of_services`).
    nothing = dict.fromkeys(received.numbered.services, (0, 0))
    held = [(*service, *sums) for service, sums in {**nothing, **received.totals}.items()]
    holds = msgspec.msgpack.encode(held)
    return (*place, received.raw, crc, zlib.crc32(holds).to_bytes(_CRC_BYTES, "little") + holds)


def journal_checksum(place: Sequence[int], payload: bytes) -> int:
    """Return the checksum of a row by its id, origin, seq, t0 and received_us, and its payload."""
    return zlib.crc32(payload, zlib.crc32(_PLACE.pack(*place)))


def batch_of(row: tuple[Any, ...] | None) -> Batch:
    """Return the batch of the columns `JOURNAL_ROW`; raises BatchError if it is not as it came."""
    if row is None:
        raise BatchError("expected a row of the journal where its index has one, got none")
    *place, payload, crc = row
    if crc is not None:
        try:
            sums = (
                journal_checksum(place, payload),
                zlib.crc32(payload, zlib.crc32(_PLACE_7.pack(*place[1:]))),
            )
        except (struct.error, TypeError) as error:
            raise BatchError(f"expected the place of a batch, got {place!r:.80}") from error
        if crc not in sums:
            raise BatchError("expected a batch as it came, its checksum differs")
    return decode(payload or b"")


def lose(connection: sqlite3.Connection, number: int, why: str) -> HeldRequests:
    """Set aside a row that cannot be read, in the open transaction, and return what it held.

    That is empty where an earlier version wrote the row, or where it cannot be read either. The
    caller deletes the row.
    """
    row = connection.execute(
        f"SELECT {JOURNAL_ROW}, CAST(holds AS BLOB) FROM journal WHERE id = ?",  # noqa: S608
        (number,),
    ).fetchone()
    if row is None:
        return {}
    set_aside(connection, "journal", row, why)
    return {
        (environment, service): (requests, backgrounds)
        for environment, service, requests, backgrounds in _held(row[-1] or b"") or ()
        if requests or backgrounds
    }


def rows_of_services(
    connection: sqlite3.Connection,
    rows: Sequence[tuple[int, int]],
    where: Mapping[str, str],
    named_after: int,
) -> Sequence[tuple[int, int]]:
    """Return those of some rows, (id, window), that may have points of an environment and service.

    Rows up to the id named_after are of an earlier start, and may not name all their services.
    """
    environment, service = where.get("environment"), where.get("service")
    if environment is None and service is None:
        return rows

    def may_have(row_id: int) -> bool:
        held = [_held(holds or b"") for (holds,) in connection.execute(_HOLDS, (row_id,))]
        return any(
            each is None
            or any(environment in (None, of[0]) and service in (None, of[1]) for of in each)
            for each in held
        )

    return [row for row in rows if row[0] <= named_after or may_have(row[0])]


def _held(holds: bytes) -> list[tuple[str, str, int, int]] | None:
    """Return environment, service, requests and background records; None if it is not as it was."""
    if zlib.crc32(holds[_CRC_BYTES:]).to_bytes(_CRC_BYTES, "little") != holds[:_CRC_BYTES]:
        return None
    return msgspec.msgpack.decode(holds[_CRC_BYTES:], type=list[tuple[str, str, int, int]])


def seen_of(places: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Return sequence numbers of batches as (origin, first, last, latest window).

    places are (origin, sequence number, window).
    """
    ordered = sorted(places)
    seen: list[tuple[int, int, int, int]] = []
    begin = 0
    # The last entry is a sentinel that continues no sequence.
    for place, (one, other) in enumerate(pairwise([*ordered, (-1, -1, 0)])):
        if other[:2] != (one[0], one[1] + 1):
            latest = max(t0 for _, _, t0 in ordered[begin : place + 1])
            seen.append((one[0], ordered[begin][1], one[1], latest))
            begin = place + 1
    return seen
