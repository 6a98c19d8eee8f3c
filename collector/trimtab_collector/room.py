"""Room on the disk for a start, which needs some although it writes nothing.

SQLite opens a file in WAL mode with an index beside it (`-shm`, 32 KiB), which goes with a clean
stop and is made anew after a kill. On a full disk it cannot be made. So a small file holds that
room while the collector runs and after; a start on a full disk lets go of it. Where that is not
enough, the start waits and says so: a full disk says nothing about a store.
"""

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from trimtab_core.errors import StartupError
from trimtab_core.logs import RateLimited

__all__ = ["RESERVE", "NoRoomError", "hold_room", "opened_with_room"]

_T = TypeVar("_T")
logger = logging.getLogger("trimtab.room")

#: the file that holds room
RESERVE: Final = "reserve"
#: for the indexes of metrics.db, of state.db and of some tier files
_RESERVE_BYTES: Final = 256 * 1024
#: a disk without room for as much is full
_LEAST_BYTES: Final = 64 * 1024
#: room is held again where there is so many times as much
_PLENTY: Final = 8
_RETRY_S: Final = 1.0
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
#: what SQLite reports where it could not make, extend or write a file
_MAYBE_FULL: Final = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


class NoRoomError(StartupError):
    """The disk has no room for what a start needs; nothing is said about what is stored."""


def hold_room(directory: Path) -> None:
    """Make the file that holds room, if it is missing and the disk has far more than that."""
    path = directory / RESERVE
    try:
        found = os.statvfs(directory)
        held = path.stat().st_size if path.exists() else 0
    except OSError:
        return
    if held < _RESERVE_BYTES and found.f_bavail * found.f_frsize > _PLENTY * _RESERVE_BYTES:
        _write(path, _RESERVE_BYTES)


def opened_with_room(directory: Path, work: Callable[[], _T], *, waits: bool) -> _T:
    """Return what work returns; if the disk is full, let go of the room held, or wait.

    work opens files in the directory, and may be repeated. waits is for the process that has
    locked the directory; for another one a full disk is a StartupError. Raises what work raises for
    any other reason.
    """
    log = RateLimited(logger)
    if waits and not _has_room(directory):
        # Before anything is opened: files that were left in the middle of a merge need some, too.
        _let_go(directory)
    while True:
        try:
            return work()
        except (OSError, sqlite3.Error) as error:
            if not _is_full(directory, error):
                raise
            if not waits:
                raise NoRoomError(
                    f"expected some room on the disk of {directory} to open its files, got none "
                    f"({error}): make room and try again; what is stored is not in question"
                ) from error
            log.warning(
                "full",
                "the disk of %s is full: the start waits for room (%d KiB), and goes on by itself",
                directory,
                _RESERVE_BYTES // 1024,
            )
        time.sleep(_RETRY_S)


def _is_full(directory: Path, error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code not in _MAYBE_FULL:
        return code == sqlite3.SQLITE_FULL
    # SQLite says "disk I/O error" to this, too; a quota does not show in the room of the disk.
    return not _has_room(directory)


def _has_room(directory: Path) -> bool:
    return _write(directory / f".{RESERVE}", _LEAST_BYTES, keep=False)


def _let_go(directory: Path) -> None:
    try:
        (directory / RESERVE).unlink()
        logger.warning("the disk of %s is full: the room held for a start is used", directory)
    except OSError:
        pass


def _write(path: Path, size_bytes: int, *, keep: bool = True) -> bool:
    """Tell whether a file of that size could be written; it stays if it is to be kept."""
    fits = True
    try:
        # Through no link that somebody has put here. Random, because some file systems compress.
        with open(os.open(path, _FLAGS, 0o600), "wb") as file:
            file.write(os.urandom(size_bytes))
    except OSError as error:
        fits = error.errno not in _FULL
    if not (fits and keep):
        try:
            path.unlink(missing_ok=True)
        except OSError:
            pass
    return fits
