"""Segment files of the spool: records one after the other, and a file that says which are done.

A segment file is only appended to, and synchronised after each append. Which of its records are
done is written to a companion `.acks`, in 12 bytes per record (id u64, CRC-32 of it). So a segment
never needs a repair: what is damaged is skipped, up to the next whole record.

The name says which lane a file is in: `<number>.seg` holds batches as they were appended,
`<number>-<step>.seg` batches that were merged to windows of step seconds, or moved along with them.
"""

import os
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from struct import Struct
from typing import Final

from trimtab_agent.spool.files import Files, opened, read_all, write_all
from trimtab_agent.spool.layout import LostRecord, SpoolRecord, crc_of, parse, scan

__all__ = [
    "ACK_SIZE",
    "DONE",
    "HELD",
    "LEASED",
    "TRIED",
    "DamagedError",
    "Place",
    "Segment",
]

_ACK: Final = Struct("<QI")
ACK_SIZE: Final = _ACK.size
_NAME: Final = re.compile(r"(\d{8,18})(?:-(\d{1,4}))?\.seg")
# A segment ends with the record that fills it; the spool wrote nothing beyond this.
_MAX_SEGMENT: Final = 16 * 2**20

#: States of a record: to be sent; leased; acknowledged or dropped; to be sent again although the
#: collector may have it, because it was sent and no answer came.
HELD: Final = 0
LEASED: Final = 1
DONE: Final = 2
TRIED: Final = 3


class DamagedError(Exception):
    """A record on disk differs from what was written; the argument is the reason."""


class Segment:
    """One segment file and the state of its records; not thread-safe.

    A record takes 39 bytes of memory; payloads stay on disk. A position is the index of a record
    among the undamaged ones of the file. Files are opened for each call, so that a segment that
    somebody removed is noticed.
    """

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self.path = path
        matched = _NAME.fullmatch(path.name)
        #: number in the file name, larger than that of every older segment of its lane
        self.number = int(matched[1]) if matched else 0
        #: step of the windows that its batches were merged to; 0 for batches as they were appended
        self.lane = int(matched[2] or 0) if matched else 0
        #: end of the last good record, where the next one goes
        self.size = 0
        #: takes no more records: it is full, or a write to it failed
        self.sealed = False
        #: a write failed and could not be undone: there may be a record behind `size`
        self.unsure = False
        #: the file could not be read when the spool was opened
        self.unreadable = False
        #: why the whole segment was dropped; empty while it is in use
        self.dropped = ""
        #: records that could not be read, by reason
        self.damaged: Counter[str] = Counter()
        #: those of them whose headers tell what they were, until they are booked
        self.lost: list[LostRecord] = []
        self.ids = array("Q")
        self.crcs = array("I")
        self.windows = array("q")
        self.offsets = array("I")
        #: bytes in front of each payload, and bytes of the payload
        self.heads = array("H")
        self.lengths = array("I")
        self.samples = array("Q")
        self.states = bytearray()
        #: position -> a record found there that replaces others, without its payload
        self.replacing: dict[int, SpoolRecord] = {}
        #: largest id in the file or its companion, 0 without any
        self.highest = 0
        self._acks_found = 0
        self._acks_end = 0

    @staticmethod
    def is_name(name: str) -> bool:
        """Tell whether a file of that name is a segment."""
        return _NAME.fullmatch(name) is not None

    @property
    def order(self) -> tuple[int, int]:
        """A key that sorts segments by age of their batches: coarser lanes are older."""
        return -self.lane, self.number

    @property
    def disk_bytes(self) -> int:
        """Bytes on disk, including those that acknowledging every record will take."""
        return self.size + self._acks_found + ACK_SIZE * len(self.ids)

    @property
    def finished(self) -> bool:
        """Whether every record is done, so that the file may be removed."""
        return not self.unreadable and self.states.count(DONE) == len(self.states)

    @classmethod
    def create(cls, files: Files, directory: Path, number: int, lane: int) -> "Segment":
        """Return a new empty segment whose name is on disk; raises OSError."""
        segment = cls(files, directory / (f"{number:08d}" + (f"-{lane}" if lane else "") + ".seg"))
        _unlink(files, segment._acks)  # one left over would be about other records
        files.close(files.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            files.sync_directory(directory)
        except OSError:
            _unlink(files, segment.path)
            raise
        return segment

    @classmethod
    def open(cls, files: Files, path: Path) -> "Segment":
        """Return the segment in a file, damaged or not; raises nothing."""
        segment = cls(files, path)
        file_size = 0
        try:
            segment.size = file_size = files.size(path) or 0
            with opened(files, path, os.O_RDONLY) as fd:
                data = read_all(files, fd, min(file_size, _MAX_SEGMENT))
        except OSError:
            segment.damaged["unreadable"] += 1
            segment.unreadable = segment.sealed = True
            segment._load_acks()
            return segment
        segment._index(data)
        if file_size > _MAX_SEGMENT:
            segment.damaged["too_long"] += 1
        if segment.size < file_size:
            # No record is written behind damage; the damaged bytes count as disk space.
            segment.size = file_size
            segment.sealed = True
        segment._load_acks()
        return segment

    def first(self, *, newest: bool) -> int:
        """Return the position of the newest or oldest record to be sent, -1 when there is none."""
        if newest:
            return max(self.states.rfind(HELD), self.states.rfind(TRIED))
        held, tried = self.states.find(HELD), self.states.find(TRIED)
        return min(held, tried) if held >= 0 and tried >= 0 else max(held, tried)

    def append(self, records: Sequence[SpoolRecord], state: int = HELD) -> int:
        """Write records, wait until they are on disk, and return the position of the first.

        Raises OSError; the file then ends where it did before, unless `unsure` is set.
        """
        packed = [record.pack() for record in records]
        with opened(self._files, self.path, os.O_WRONLY) as fd:
            try:
                write_all(self._files, fd, b"".join(packed), self.size)
                self._files.fdatasync(fd)
            except OSError:
                self._cut(fd)
                raise
        first = len(self.ids)
        for record, data in zip(records, packed, strict=True):
            self._add(record, self.size, len(data), crc_of(data), state)
            self.size += len(data)
        if not first:
            self._begin_acks()
        return first

    def sync(self) -> None:
        """Return when everything in the file is on disk; raises OSError."""
        with opened(self._files, self.path, os.O_WRONLY) as fd:
            self._files.fdatasync(fd)

    def trim(self) -> None:
        """Remove whatever is behind the last record; raises OSError."""
        with opened(self._files, self.path, os.O_WRONLY) as fd:
            self._files.ftruncate(fd, self.size)
            self._files.fdatasync(fd)
        self.unsure = False

    def read(self, position: int) -> SpoolRecord:
        """Return a record from disk; raises DamagedError or OSError."""
        with opened(self._files, self.path, os.O_RDONLY) as fd:
            size = self.heads[position] + self.lengths[position]
            data = self._files.pread(fd, size, self.offsets[position])
        found = parse(data, 0)
        if found is None or (found.record.id, found.crc) != self.name(position):
            raise DamagedError("checksum")
        return found.record

    def name(self, position: int) -> tuple[int, int]:
        """Return id and checksum of a record, which together name it."""
        return self.ids[position], self.crcs[position]

    def acknowledge(self, positions: Iterable[int], *, durable: bool = False) -> None:
        """Mark records as done and remember it beside the file.

        Without durable it is not synchronised: after a power cut they are sent again, which is
        harmless. Raises OSError if it could not be written; in memory they are done all the same.
        """
        numbers = []
        for position in positions:
            self.states[position] = DONE
            numbers.append(self.ids[position])
        self.note_done(numbers, durable=durable)

    def note_done(self, numbers: Iterable[int], *, durable: bool) -> None:
        """Remember ids as done, even those of records that cannot be read; raises OSError."""
        data = b"".join(_ACK.pack(number, _check(number)) for number in numbers)
        with opened(self._files, self._acks, os.O_WRONLY | os.O_CREAT) as fd:
            # Behind the last whole entry: one that a full disk cut short is overwritten.
            write_all(self._files, fd, data, self._acks_end)
            if durable:
                self._files.fdatasync(fd)
        if durable:
            self._files.sync_directory(self.path.parent)
        self._acks_end += len(data)

    def note_lost(self, numbers: Sequence[int]) -> None:
        """Remember ids of damaged records as done; raises OSError."""
        self.note_done(numbers, durable=False)
        self._acks_found += ACK_SIZE * len(numbers)

    def unlink(self) -> None:
        """Remove the file and its companion; raises OSError when the file stays.

        The companion is removed when the file is gone for good: a file that came back after a power
        cut without its companion would hold batches that were replaced.
        """
        _unlink(self._files, self.path)
        try:
            self._files.sync_directory(self.path.parent)
            _unlink(self._files, self._acks)
        except OSError:
            pass  # a companion without its segment is removed when the spool is opened

    @property
    def _acks(self) -> Path:
        return self.path.with_suffix(".acks")

    def _cut(self, fd: int) -> None:
        self.unsure = True
        try:
            self._files.ftruncate(fd, self.size)
            self._files.fdatasync(fd)
        except OSError:
            return
        self.unsure = False

    def _add(self, record: SpoolRecord, offset: int, length: int, crc: int, state: int) -> None:
        self.highest = max(self.highest, record.id)
        self.ids.append(record.id)
        self.crcs.append(crc)
        self.windows.append(record.window_s)
        self.offsets.append(offset)
        self.heads.append(length - len(record.payload))
        self.lengths.append(len(record.payload))
        self.samples.append(record.samples)
        self.states.append(state)

    def _index(self, data: bytes) -> None:
        self.size = 0
        for found in scan(data, self.damaged, self.lost):
            # Nothing here says whether it was sent before.
            self._add(found.record, found.offset, found.length, found.crc, TRIED)
            if found.record.replaces:
                self.replacing[len(self.ids) - 1] = found.record._replace(payload=b"")
            self.size = found.offset + found.length

    def _begin_acks(self) -> None:
        """Make the companion: beside an empty segment it tells that records are lost."""
        try:
            self._files.close(self._files.open(self._acks, os.O_WRONLY | os.O_CREAT))
        except OSError:
            pass  # nothing is in it yet

    def _load_acks(self) -> None:
        try:
            self._acks_found = self._files.size(self._acks) or 0
            if not self.size:
                # It is made with the first record: an empty segment without it was just begun.
                self.damaged["empty"] += 1
                self.sealed = True
            self._acks_end = self._acks_found // ACK_SIZE * ACK_SIZE
            with opened(self._files, self._acks, os.O_RDONLY) as fd:
                data = read_all(self._files, fd, min(self._acks_end, _MAX_SEGMENT))
        except OSError:
            return
        done = {
            number
            for number, crc in _ACK.iter_unpack(data[: len(data) // ACK_SIZE * ACK_SIZE])
            if crc == _check(number)
        }
        # An id must not be used twice: the new record would count as acknowledged.
        self.highest = max(self.highest, max(done, default=0))
        for position, number in enumerate(self.ids):
            if number in done:
                self.states[position] = DONE
        self.lost = [each for each in self.lost if each.id not in done]


#: A record in the spool: its segment and its position there.
Place = tuple[Segment, int]


def _check(number: int) -> int:
    return zlib.crc32(number.to_bytes(8, "little"))


def _unlink(files: Files, path: Path) -> None:
    try:
        files.unlink(path)
    except FileNotFoundError:
        pass
