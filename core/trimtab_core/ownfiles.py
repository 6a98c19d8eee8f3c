"""Files and directories of agent and collector: whole or not there, and nobody else's.

A file is written under another name, synchronised and renamed, so that a crash leaves the file
before, or the new one, never a part of it. What lies in a directory that others can write to may
have been put there by them: there, links are not followed, and files and directories of other users
are refused. Whatever is made has its mode set, whatever the umask is: 0600, directories 0700.
"""

import contextlib
import errno
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Final

from trimtab_core.errors import StartupError

__all__ = ["check_own", "make_directory", "read_own", "touch_own", "write_own"]

#: no file that `read_own` reads is larger
_MOST_BYTES: Final = 65_536
#: a part that is this old was left by a crash, seconds
_LEFT_S: Final = 60
_PART: Final = ".part-"
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def read_own(path: Path) -> str:
    """Return the stripped text of a file; empty if there is none, or one that a crash left empty.

    A file of this user that others could write to is theirs to write to no longer. Raises OSError,
    ValueError for what is no text, and StartupError for what somebody else may have put there.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        safe = _is_private(path.parent)
        descriptor = os.open(path, flags if safe else flags | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ""
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refused(path, "a link") from error
        raise
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        _check(path, found, safe)
        if found.st_mode & _OTHERS_WRITE and found.st_uid == os.geteuid():
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~_OTHERS_WRITE)
        data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"expected a file of at most {_MOST_BYTES} bytes at {path}")
    # Zeros are what some file systems leave of a file that was not synchronised.
    return data.decode().strip("\0 \t\r\n")


def write_own(path: Path, data: str | bytes) -> None:
    """Write a file of mode 0600 anew; it is there as before, or whole. Raises OSError.

    Whatever bears the name now is replaced, a link too; it is on the disk when this returns.
    """
    _forget_parts(path)
    part = path.with_name(f"{path.name}{_PART}{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(part, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(data.encode() if isinstance(data, str) else data)
            stream.flush()
            os.fsync(descriptor)
        os.rename(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    with contextlib.suppress(OSError):  # a file system that cannot: it was renamed all the same
        _sync(path.parent)


def touch_own(path: Path) -> None:
    """Make an empty file of mode 0600 unless there is one, and check it; for others to open.

    Raises OSError, and StartupError for what somebody else may have put there.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    check_own(path)


def check_own(path: Path) -> None:
    """Raise StartupError for what somebody else may have put there, OSError if there is nothing.

    A link to a directory may be one of this user or of root: they may put it on another disk.
    """
    safe = _is_private(path.parent)
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        if not safe and (found.st_uid not in _trusted(path) or not path.is_dir()):
            raise _refused(path, "a link")
        found = path.stat()
    _check(path, found, safe)


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, of mode 0700, unless they are there.

    Raises OSError, and StartupError for a directory that somebody else may have put there.
    """
    missing = []
    above = directory
    while not os.path.lexists(above):
        missing.append(above)
        above = above.parent
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            each.mkdir(mode=0o700)
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
    check_own(directory)


def _check(path: Path, found: os.stat_result, safe: bool) -> None:
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise _refused(path, "something else")
    if not safe and found.st_uid not in _trusted(path):
        raise _refused(path, f"one of the user with the id {found.st_uid}")


def _is_private(directory: Path) -> bool:
    """Return whether only this user and root can have put there what is in a directory."""
    found = directory.stat()
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & _OTHERS_WRITE


def _trusted(path: Path) -> frozenset[int]:
    """Return the users whose entries are taken; root takes those of the directory's own user."""
    here = os.geteuid()
    return frozenset({0, here} if here else {0, path.parent.stat().st_uid})


def _refused(path: Path, got: str) -> StartupError:
    return StartupError(
        f"expected a file or directory of this user (id {os.geteuid()}) or of root at "
        f"{str(path)!r}, got {got}: remove it, and let nobody else write to {str(path.parent)!r}"
    )


def _forget_parts(path: Path) -> None:
    """Remove what crashes have left of earlier writes; another process may be writing now."""
    before_s = time.time() - _LEFT_S
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            if name.startswith(path.name + _PART):
                part = path.with_name(name)
                if part.lstat().st_mtime < before_s:
                    part.unlink()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
