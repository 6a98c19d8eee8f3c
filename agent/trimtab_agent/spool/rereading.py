"""Reads what an earlier version left in the spool by the present rules for statements.

Its batches may hold texts that a shape has no more, such as a password in `ALTER ROLE`. If one
does, all batches move, in their order, to new segments, as they are or with shapes for their
statements; what identifies them stays, so that a repeat is harmless. The old segments are unlinked.
The name of an empty file beside them says by which rules they were read, so this happens once.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trimtab_agent.spool.files import Files, opened, read_all, write_all
from trimtab_agent.spool.layout import SpoolRecord
from trimtab_agent.spool.replacement import Replacement
from trimtab_agent.spool.segments import DONE, HELD, TRIED, DamagedError, Place, Segment
from trimtab_agent.spool.shelf import Shelf
from trimtab_agent.spool.tally import Tally
from trimtab_core.batches import MAX_BATCH
from trimtab_core.errors import BatchError, TooLargeError
from trimtab_core.redaction import redacted_payload
from trimtab_core.shapes import SHAPES

__all__ = ["read_again"]

logger = logging.getLogger("trimtab.spool")

_MARK: Final = f"shapes-{SHAPES}"
#: batches that are moved at once
_BATCHES: Final = 10


def read_again(
    files: Files, directory: Path, shelf: Shelf, replacement: Replacement, tally: Tally
) -> None:
    """Bring a spool that was just opened to the present rules; 1 to 3 ms per batch, once.

    What the disk refuses is done at the next start.
    """
    try:
        names = files.names(directory)
        segments = list(shelf.segments)
        if _MARK in names or not (segments or "quarantine" in names):
            return
        if any(_is_stale(segment) for segment in segments):
            if not all(_move(shelf, replacement, segment) for segment in _sealed(segments)):
                logger.warning("the spool has no room to read its batches again: at the next start")
                return
            logger.warning(
                "batches of an earlier version held texts of statements that may be secrets; they "
                "are shapes now segments=%d",
                len(segments),
            )
        _read_quarantine(files, directory / "quarantine")
        files.close(files.open(directory / _MARK, os.O_WRONLY | os.O_CREAT))
    except OSError as error:
        tally.fault(error)


def _again(payload: bytes) -> bytes | None:
    try:
        return redacted_payload(payload)
    except (BatchError, TooLargeError, ValueError):
        return None  # the collector will say what is wrong with it


def _is_stale(segment: Segment) -> bool:
    """Tell whether a batch in a file has to be changed, even one that is done."""
    for position in range(len(segment.states)):
        try:
            if _again(segment.read(position).payload) is not None:
                return True
        except DamagedError:
            continue
    return False


def _sealed(segments: Sequence[Segment]) -> Sequence[Segment]:
    for segment in segments:
        segment.sealed = True
    return segments


def _move(shelf: Shelf, replacement: Replacement, segment: Segment) -> bool:
    """Move what is left in a segment to new ones; False when the disk does not take it."""
    left = [place for place, state in enumerate(segment.states) if state != DONE]
    for at in range(0, len(left), _BATCHES):
        old: list[Place] = []
        new: list[SpoolRecord] = []
        states: list[int] = []
        for position in left[at : at + _BATCHES]:
            state = segment.states[position]
            if state not in (HELD, TRIED):
                return False
            record = shelf.read(segment, position)
            if record is None:
                continue
            payload = _again(record.payload) or record.payload
            old.append((segment, position))
            states.append(state)
            new.append(SpoolRecord(shelf.claim_id(), record.window_s, record.samples, payload))
        if old and not replacement.put(old, new, states, segment.lane):
            return False
    return True


def _read_quarantine(files: Files, directory: Path) -> None:
    """Put batches with shapes in the place of batches that were put aside."""
    try:
        names = files.names(directory)
    except FileNotFoundError:
        return
    for name in filter(lambda each: each.endswith(".batch"), names):
        path = directory / name
        with opened(files, path, os.O_RDONLY) as fd:
            payload = _again(read_all(files, fd, MAX_BATCH))
        if payload is not None:
            with opened(
                files,
                path.with_name(f"{path.stem}-again.batch"),
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
            ) as fd:
                write_all(files, fd, payload, 0)
            files.unlink(path)
