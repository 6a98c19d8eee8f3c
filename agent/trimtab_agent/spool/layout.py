"""The layout of a record in a segment file, and how records are found in a damaged one.

A record is a header of 36 bytes, little-endian, and its body:

    magic 4 | body length u32 | CRC-32 u32 | id u64 | window_s i64 | samples u64

The checksum (zlib.crc32) covers everything but the magic and itself. The body is the payload. A
record that replaces others, alone or together with more records, has another magic and lists them
in front of its payload: the number of replaced records u16, the number of records that replace them
together u16, then id u64 and checksum u32 of each replaced one.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from trimtab_core.batches import MAX_BATCH

__all__ = [
    "HEADER_SIZE",
    "MAX_BODY",
    "MAX_NAMES",
    "MAX_PAYLOAD",
    "FoundRecord",
    "LostRecord",
    "SpoolRecord",
    "crc_of",
    "parse",
    "scan",
]

#: Largest payload of a record: a packed batch.
MAX_PAYLOAD: Final = MAX_BATCH
#: Largest body: a payload and the names of the records it replaces.
MAX_BODY: Final = MAX_PAYLOAD + 64 * 1024
_HEADER: Final = struct.Struct("<4sIIQqQ")
_COVERED: Final = struct.Struct("<IQqQ")
HEADER_SIZE: Final = _HEADER.size
_PREFIX: Final = b"\xf5TB"
_PLAIN: Final = _PREFIX + b"\x01"
_NAMING: Final = _PREFIX + b"\x02"
_COUNTS: Final = struct.Struct("<HH")
_NAME: Final = struct.Struct("<QI")
#: Cost of looking for a record where there is none, in bytes of checksum.
_LOOK: Final = 4096
#: Requests that no batch has: a header that says so is damaged itself.
_MOST_SAMPLES: Final = 100_000_000
#: Most records that one record replaces.
MAX_NAMES: Final = 1000


class SpoolRecord(NamedTuple):
    """One batch: its id in the spool, its window, its number of samples and its bytes."""

    id: int
    window_s: int
    samples: int
    payload: bytes
    #: id and checksum of each record that this one replaces, and how many replace them together
    replaces: tuple[tuple[int, int], ...] = ()
    together: int = 1

    def pack(self) -> bytes:
        """Return the bytes of the record in a segment."""
        body = self.payload
        if self.replaces:
            names = b"".join(_NAME.pack(*name) for name in self.replaces)
            body = _COUNTS.pack(len(self.replaces), self.together) + names + body
        crc = _checksum(len(body), self.id, self.window_s, self.samples, body)
        magic = _NAMING if self.replaces else _PLAIN
        return _HEADER.pack(magic, len(body), crc, self.id, self.window_s, self.samples) + body


class FoundRecord(NamedTuple):
    """A whole record in a file: its place and its checksum."""

    offset: int
    length: int
    crc: int
    record: SpoolRecord


class LostRecord(NamedTuple):
    """What a header says of a record that is damaged behind it."""

    id: int
    samples: int


def crc_of(packed: bytes) -> int:
    """Return the checksum in a packed record."""
    crc: int = _HEADER.unpack_from(packed)[2]
    return crc


def parse(data: bytes, offset: int) -> FoundRecord | None:
    """Return the record at an offset, None if there is no whole and undamaged one."""
    if len(data) - offset < HEADER_SIZE:
        return None
    magic, length, crc, number, window_s, samples = _HEADER.unpack_from(data, offset)
    start = offset + HEADER_SIZE
    if magic not in (_PLAIN, _NAMING) or length > MAX_BODY or start + length > len(data):
        return None
    body = data[start : start + length]
    if _checksum(length, number, window_s, samples, body) != crc:
        return None
    replaces: tuple[tuple[int, int], ...] = ()
    together = 1
    if magic == _NAMING:
        if length < _COUNTS.size:
            return None
        count, together = _COUNTS.unpack_from(body)
        end = _COUNTS.size + count * _NAME.size
        if count > MAX_NAMES or end > length:
            return None
        replaces = tuple(_NAME.iter_unpack(body[_COUNTS.size : end]))
        body = body[end:]
    return FoundRecord(
        offset,
        HEADER_SIZE + length,
        crc,
        SpoolRecord(number, window_s, samples, body, replaces, together),
    )


def scan(data: bytes, damaged: Counter[str], lost: list[LostRecord]) -> Iterator[FoundRecord]:
    """Yield the whole records of a file in order; count damaged stretches by reason.

    Records that are damaged, and whose header can still be read, are added to lost.
    """
    position = 0
    searching = False
    # Every place that looks like a header costs a checksum. A file full of such places must not
    # cost more than reading it a few times.
    budget = 4 * len(data) + MAX_BODY
    while 0 <= position < len(data):
        found = parse(data, position)
        if found is not None:
            yield found
            position += found.length
            searching = False
            continue
        reason, end = _damage(data, position)
        if not searching:
            damaged[reason] += 1
            lost += _told(data, position)
        budget -= max(end - position, _LOOK)
        if not searching and reason == "checksum" and data[end : end + 3] in (_PREFIX, b""):
            position = end
        elif budget < 0:
            return
        else:
            searching = True
            position = data.find(_PREFIX, position + 1)


def _checksum(length: int, number: int, window_s: int, samples: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(_COVERED.pack(length, number, window_s, samples)))


def _damage(data: bytes, position: int) -> tuple[str, int]:
    """Return why there is no record at a position, and where it would have ended."""
    if len(data) - position < HEADER_SIZE:
        return "torn", len(data)
    magic, length = _HEADER.unpack_from(data, position)[:2]
    if magic not in (_PLAIN, _NAMING) or length > MAX_BODY:
        return "header", position
    end = position + HEADER_SIZE + length
    return ("torn", position) if end > len(data) else ("checksum", end)


def _told(data: bytes, position: int) -> list[LostRecord]:
    """Return what the header at a position says, if there is a whole one."""
    if len(data) - position < HEADER_SIZE:
        return []
    magic, _, _, number, _, samples = _HEADER.unpack_from(data, position)
    if magic not in (_PLAIN, _NAMING) or samples > _MOST_SAMPLES:
        return []
    return [LostRecord(number, samples)]
