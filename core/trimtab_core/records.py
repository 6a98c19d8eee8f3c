"""The sample record: one finished request in 48 bytes.

An app packs records back to back; nothing is encoded later. The layout is little-endian and every
field is aligned to its size, so that a reader can take whole columns out of a buffer of records as
slices with a stride, as the agent does. The first eight bytes identify a series.

    offset  field         type  meaning
     0      route         u16   route id, announced by a `routes` frame; 0 is `unmatched`
     2      method        u8    index into METHODS; 0 is any other method
     3      flags         u8    the FLAG_ bits below
     4      status        u16   status code that was sent; 500 for an exception before the start
     6      kind          u16   what ended: a request (0), or a connection (KIND_ below)
     8      duration_us   u32   entry to last body byte
    12      bytes         u32   body bytes sent (in KiB when FLAG_KIB is set)
    16      ttfb_us       u32   entry to the first body byte, when FLAG_STREAMED is set;
                                without it the first byte left with the last, and this is zero
    20      queue_us      u32   wait before the app, from X-Request-Start
    24      db_us         u32   time in database calls
    28      external_us   u32   time in calls to other services
    32      cache_us      u32   time in cache calls
    36      reserved      u32   zero
    40      db_calls      u16
    42      external_calls u16
    44      cache_hits    u16
    46      cache_misses  u16

A record has no time of its own. The frame around it has a pair of clocks, read at most one send
interval after the last byte, which choose the window. To read and pack a start time would cost a
tenth of the whole budget of a request.

A record with a kind above zero is a WebSocket connection or an event stream that has ended. Its
duration is the time it was open. Its status is that of the handshake, or 500 if the app failed, so
that the status class alone tells how connections end.

A record with FLAG_BACKGROUND is the work of an app after the last body byte of the request before
it. Its duration is booked separately, so that percentiles of requests stay true.
"""

import struct
from typing import Final, NamedTuple

__all__ = [
    "FLAG_BACKGROUND",
    "FLAG_CLAMPED",
    "FLAG_CONTEXT",
    "FLAG_FAILED",
    "FLAG_KIB",
    "FLAG_QUEUED",
    "FLAG_STREAMED",
    "FLAG_UNKNOWN_BYTES",
    "KIND_EVENT_STREAM",
    "KIND_REQUEST",
    "KIND_WEBSOCKET",
    "MAX_U16",
    "MAX_U32",
    "METHODS",
    "METHOD_IDS",
    "OTHER_METHOD",
    "OTHER_ROUTE",
    "RECORD",
    "RECORD_SIZE",
    "UNMATCHED",
    "Record",
    "pack",
    "unpack",
]

RECORD: Final = struct.Struct("<HBBHHIIIIIII4xHHHH")
RECORD_SIZE: Final = RECORD.size

MAX_U16: Final = 0xFFFF
MAX_U32: Final = 0xFFFFFFFF

#: The request failed by an exception after its response had started.
FLAG_FAILED: Final = 0x01
#: The size of the body is not known (a file handed to the server).
FLAG_UNKNOWN_BYTES: Final = 0x02
#: A queue time was measured; without this flag queue_us means nothing.
FLAG_QUEUED: Final = 0x04
#: A value did not fit its field, which holds its maximum instead.
FLAG_CLAMPED: Final = 0x08
#: The bytes field counts KiB, rounded up.
FLAG_KIB: Final = 0x10
#: Not a request: work after the last body byte.
FLAG_BACKGROUND: Final = 0x20
#: The fields from db_us on are not all zero.
FLAG_CONTEXT: Final = 0x40
#: The first body byte was sent before the last one; ttfb_us says when.
FLAG_STREAMED: Final = 0x80

#: What a record describes: a request, an event stream (`text/event-stream`) or a WebSocket
#: connection.
KIND_REQUEST: Final = 0
KIND_EVENT_STREAM: Final = 1
KIND_WEBSOCKET: Final = 2

#: The methods that keep their name; all others count as one (OpenTelemetry's `_OTHER`).
OTHER_METHOD: Final = "_OTHER"
METHODS: Final = (
    OTHER_METHOD,
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "QUERY",
)
METHOD_IDS: Final = {name: index for index, name in enumerate(METHODS) if index}

#: The template of requests that match no route; its id is 0 in every app.
UNMATCHED: Final = "unmatched"
#: The template of routes over the limit of an app or agent.
OTHER_ROUTE: Final = "other"


class Record(NamedTuple):
    """The fields of one record, as integers in the units of the table above."""

    route: int
    method: int
    flags: int
    status: int
    duration_us: int
    bytes: int = 0
    ttfb_us: int = 0
    queue_us: int = 0
    db_us: int = 0
    external_us: int = 0
    cache_us: int = 0
    db_calls: int = 0
    external_calls: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    kind: int = KIND_REQUEST


def pack(record: Record) -> bytes:
    """Return the 48 bytes of a record; values that do not fit are clamped and flagged.

    The request path packs with RECORD directly and comes here only when that fails.
    """
    (route, method, flags, status, duration, size, *rest, kind) = record
    if size > MAX_U32:
        size = -(-size // 1024)
        flags |= FLAG_KIB
    times = [_clamp(value, MAX_U32) for value in (duration, size, *rest[:5])]
    counts = [_clamp(value, MAX_U16) for value in rest[5:]]
    wanted = (duration, size, *rest)
    if any(got != value for got, value in zip((*times, *counts), wanted, strict=True)):
        flags |= FLAG_CLAMPED
    return RECORD.pack(
        _clamp(route, MAX_U16),
        method & 0xFF,
        flags & 0xFF,
        _clamp(status, MAX_U16),
        _clamp(kind, MAX_U16),
        *times,
        *counts,
    )


def unpack(data: bytes | memoryview, offset: int = 0) -> Record:
    """Return the record at offset; raises struct.error when fewer than 48 bytes are there."""
    fields = RECORD.unpack_from(data, offset)
    return Record._make((*fields[:4], *fields[5:], fields[4]))


def _clamp(value: int, most: int) -> int:
    return 0 if value < 0 else min(value, most)
