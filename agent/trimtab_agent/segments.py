"""Segment files of the spool: records one after the other, each with its length and checksum.

A record is a header of 36 bytes, little-endian, and its payload:

    magic 4 | payload length u32 | CRC-32 u32 | id u64 | window_s i64 | samples u64

The checksum (zlib.crc32) covers everything but the magic and itself. A file is only ever appended
to; which of its records are done is written beside it, in a companion `.acks` of 12 bytes an entry
(id u64, CRC-32 of it). So the file needs no repair: whatever is damaged is skipped, up to the next
place where a whole record stands.
"""

import os
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from trimtab_core.batches import MAX_BATCH

__all__ = [
    "ACK_SIZE",
    "DONE",
    "HEADER_SIZE",
    "HELD",
    "LEASED",
    "MAX_PAYLOAD",
    "DamagedError",
    "Record",
    "Segment",
]

#: Largest payload of a record: a packed batch.
MAX_PAYLOAD: Final = MAX_BATCH
_HEADER: Final = struct.Struct("<4sIIQqQ")
_COVERED: Final = struct.Struct("<IQqQ")
HEADER_SIZE: Final = _HEADER.size
_MAGIC: Final = b"\xf5TB\x01"
_ACK: Final = struct.Struct("<QI")
ACK_SIZE: Final = _ACK.size
# Ours are at most a segment and a record long; whatever is behind that was not written by us.
_MAX_SEGMENT: Final = 16 * 2**20

#: States of a record: to be sent, handed out, acknowledged or given up.
HELD: Final = 0
LEASED: Final = 1
DONE: Final = 2


class DamagedError(Exception):
    """A record is not what was written; the argument is the reason."""


class Record(NamedTuple):
    """One batch: its id in the spool, the window and the number of samples it speaks of."""

    id: int
    window_s: int
    samples: int
    payload: bytes

    def pack(self) -> bytes:
        """Return the bytes of the record in a segment."""
        length = len(self.payload)
        crc = _checksum(length, self.id, self.window_s, self.samples, self.payload)
        return (
            _HEADER.pack(_MAGIC, length, crc, self.id, self.window_s, self.samples) + self.payload
        )


class Segment:
    """One segment file and the state of its records; not thread-safe.

    In memory a record costs 25 bytes; payloads stay on disk. Positions count the good records of
    the file from 0. Files are opened for each call, so that a segment somebody removed is noticed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: end of the last good record, where the next one goes
        self.size = 0
        #: no record is added any more: full, or a write to it failed
        self.sealed = False
        #: the file could not be read when the spool was opened
        self.unreadable = False
        #: why the whole segment was dropped; empty while it is in use
        self.dropped = ""
        #: records that could not be read, by reason
        self.damaged: Counter[str] = Counter()
        self.ids = array("Q")
        self.offsets = array("I")
        self.lengths = array("I")
        self.samples = array("Q")
        self.states = bytearray()
        #: largest id that the file or its companion speaks of, 0 when they speak of none
        self.highest = 0
        self._acks_bytes = 0

    @property
    def number(self) -> int:
        """Number in the file name, larger than that of every older segment."""
        return int(self.path.stem)

    @property
    def disk_bytes(self) -> int:
        """Bytes on disk, with room for an acknowledgement of every record."""
        return self.size + self._acks_bytes + ACK_SIZE * len(self.ids)

    @property
    def finished(self) -> bool:
        """Whether every record is done, so that the file may go."""
        return not self.unreadable and self.states.count(DONE) == len(self.states)

    @classmethod
    def create(cls, path: Path) -> "Segment":
        """Return a new empty segment; raises OSError."""
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _sync_directory(path.parent)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "Segment":
        """Return the segment of a file, whatever state it is in; raises nothing."""
        segment = cls(path)
        try:
            segment.size = file_size = path.stat().st_size
            with _opened(path, os.O_RDONLY) as fd:
                segment._scan(_read(fd, min(file_size, _MAX_SEGMENT)))
            if file_size > _MAX_SEGMENT:
                segment.damaged["too_long"] += 1
        except OSError:
            segment.damaged["unreadable"] += 1
            segment.unreadable = segment.sealed = True
            return segment
        if segment.size < file_size:
            # Records are never written behind damage: the bytes there count as they lie.
            segment.size = file_size
            segment.sealed = True
        segment._load_acks()
        return segment

    def append(self, record: Record) -> None:
        """Write a record and wait until it is on disk.

        Raises OSError; the file then ends where it ended before, or with a tail that is skipped.
        """
        packed = record.pack()
        with _opened(self.path, os.O_WRONLY) as fd:
            try:
                written = 0
                while written < len(packed):
                    written += os.pwrite(fd, packed[written:], self.size + written)
                os.fdatasync(fd)
            except OSError:
                os.ftruncate(fd, self.size)
                raise
        self._index(record.id, self.size, len(record.payload), record.samples)
        self.size += len(packed)

    def read(self, position: int) -> Record:
        """Return a record as it is on disk; raises DamagedError or OSError."""
        offset, length = self.offsets[position], self.lengths[position]
        with _opened(self.path, os.O_RDONLY) as fd:
            data = os.pread(fd, HEADER_SIZE + length, offset)
        record = _parse(data, 0)
        if record is None or record.id != self.ids[position]:
            raise DamagedError("checksum")
        return record

    def acknowledge(self, position: int) -> None:
        """Mark a record as done and remember it beside the file.

        Not synchronised: after a power cut it is sent again, which is harmless. Raises OSError
        when it could not be written; the record is done all the same.
        """
        self.states[position] = DONE
        number = self.ids[position]
        with _opened(self._acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fd:
            os.write(fd, _ACK.pack(number, _crc_of(number)))

    def unlink(self) -> None:
        """Remove the file and its companion; raises OSError when the file stays."""
        self.path.unlink(missing_ok=True)
        try:
            self._acks.unlink(missing_ok=True)
        except OSError:
            pass  # a companion without its segment is removed when the spool is opened

    @property
    def _acks(self) -> Path:
        return self.path.with_suffix(".acks")

    def _index(self, number: int, offset: int, length: int, samples: int) -> None:
        self.highest = max(self.highest, number)
        self.ids.append(number)
        self.offsets.append(offset)
        self.lengths.append(length)
        self.samples.append(samples)
        self.states.append(HELD)

    def _scan(self, data: bytes) -> None:
        position = self.size = 0
        searching = False
        # Every place that looks like a header costs a checksum: a file of nothing else must not
        # cost more than reading it a few times.
        budget = 4 * len(data) + MAX_PAYLOAD
        while 0 <= position < len(data):
            record = _parse(data, position)
            if record is not None:
                self._index(record.id, position, len(record.payload), record.samples)
                position += HEADER_SIZE + len(record.payload)
                self.size = position
                searching = False
                continue
            reason, end = _damage(data, position)
            if not searching:
                self.damaged[reason] += 1
            budget -= max(end - position, HEADER_SIZE)
            if not searching and reason == "checksum" and data[end : end + 4] in (_MAGIC, b""):
                position = end
            elif budget < 0:
                return
            else:
                searching = True
                position = data.find(_MAGIC, position + 1)

    def _load_acks(self) -> None:
        try:
            data = self._acks.read_bytes()
            whole = len(data) // ACK_SIZE * ACK_SIZE
            if whole < len(data):
                os.truncate(self._acks, whole)
        except OSError:
            return
        self._acks_bytes = whole
        done = {number for number, crc in _ACK.iter_unpack(data[:whole]) if crc == _crc_of(number)}
        # An id must not be given twice: the new record would pass for acknowledged.
        self.highest = max(self.highest, max(done, default=0))
        for position, number in enumerate(self.ids):
            if number in done:
                self.states[position] = DONE


def _crc_of(number: int) -> int:
    return zlib.crc32(number.to_bytes(8, "little"))


def _checksum(length: int, number: int, window_s: int, samples: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_COVERED.pack(length, number, window_s, samples)))


def _parse(data: bytes, position: int) -> Record | None:
    """Return the record at a position, None when no whole and unharmed one stands there."""
    if len(data) - position < HEADER_SIZE:
        return None
    magic, length, crc, number, window_s, samples = _HEADER.unpack_from(data, position)
    start = position + HEADER_SIZE
    if magic != _MAGIC or length > MAX_PAYLOAD or start + length > len(data):
        return None
    payload = data[start : start + length]
    if _checksum(length, number, window_s, samples, payload) != crc:
        return None
    return Record(number, window_s, samples, payload)


def _damage(data: bytes, position: int) -> tuple[str, int]:
    """Return why no record stands at a position, and where it would have ended."""
    if len(data) - position < HEADER_SIZE:
        return "torn", len(data)
    magic, length = _HEADER.unpack_from(data, position)[:2]
    if magic != _MAGIC or length > MAX_PAYLOAD:
        return "header", position
    end = position + HEADER_SIZE + length
    return ("torn", position) if end > len(data) else ("checksum", end)


def _read(fd: int, size: int) -> bytes:
    parts = []
    while size > 0:
        part = os.read(fd, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _sync_directory(directory: Path) -> None:
    with _opened(directory, os.O_RDONLY) as fd:
        os.fsync(fd)
