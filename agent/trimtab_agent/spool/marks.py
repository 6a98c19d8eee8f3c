"""Remembers over a clean stop which batches were never sent, in a file beside the segments.

A batch that was sent and not answered may be in the collector. It may be sent again as it is, under
its own id, but never as part of a merged batch, which has another id. To write that down before
each sending, durably, would cost as much as the spool itself. So a batch found on opening counts as
sent, unless the list of the last clean stop says otherwise. Opening takes that list and makes sure
that it is gone before anything is sent. After a kill or a power cut there is no list, and the
batches found then are never merged.
"""

import os
import struct
import zlib
from pathlib import Path
from typing import Final

from trimtab_agent.spool.files import Files, opened, read_all, write_all
from trimtab_agent.spool.segments import HELD, TRIED
from trimtab_agent.spool.shelf import Shelf

__all__ = ["keep_marks", "take_marks"]

_FILE: Final = "untried"
_NAME: Final = struct.Struct("<QI")
_SUM: Final = struct.Struct("<I")
_MOST: Final = 4 * 2**20


def keep_marks(files: Files, directory: Path, shelf: Shelf) -> None:
    """Write the list of batches that were never sent; if that fails, all count as sent."""
    data = b"".join(
        _NAME.pack(*segment.name(position))
        for segment, position in shelf.places()
        if segment.states[position] == HELD
    )
    if not data:
        return
    try:
        with opened(files, directory / _FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            write_all(files, fd, _SUM.pack(zlib.crc32(data)) + data, 0)
    except OSError:
        pass  # a list that was cut off has a wrong checksum and is ignored


def take_marks(files: Files, directory: Path, shelf: Shelf) -> None:
    """Apply the list of the last clean stop, and remove it."""
    path = directory / _FILE
    try:
        with opened(files, path, os.O_RDONLY) as fd:
            data = read_all(files, fd, _MOST)
        files.unlink(path)
        files.sync_directory(directory)
    except OSError:
        return
    if len(data) % _NAME.size != _SUM.size or _SUM.pack(zlib.crc32(data[4:])) != data[:4]:
        return
    untried = set(_NAME.iter_unpack(data[_SUM.size :]))
    for segment, position in shelf.places():
        if segment.states[position] == TRIED and segment.name(position) in untried:
            segment.states[position] = HELD
