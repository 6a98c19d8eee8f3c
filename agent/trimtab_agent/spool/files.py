"""The calls that the spool makes to a file system, and the real file system.

The interface is as thin as `os`, so that a test can take the place of the disk and lose data that
was not synchronised, tear a write, run full, or fail at any call.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from trimtab_core.claim import claim
from trimtab_core.ownfiles import make_directory

__all__ = ["Disk", "Files", "opened", "read_all", "write_all"]


class Files(Protocol):
    """Calls to a file system; each raises OSError as the function of `os` of that name does."""

    def claim(self, directory: Path) -> int:
        """Make and lock a directory until the descriptor is closed; raises StartupError."""

    def open(self, path: Path, flags: int) -> int:
        """Open a file; one that is made has mode 0600."""

    def close(self, fd: int) -> None:
        """Close a descriptor."""

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Read up to size bytes."""

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        """Write some of data and return how much."""

    def fdatasync(self, fd: int) -> None:
        """Return when the content and size of a file are on disk."""

    def ftruncate(self, fd: int, size: int) -> None:
        """Cut a file to a size."""

    def unlink(self, path: Path) -> None:
        """Remove a name."""

    def mkdir(self, path: Path) -> None:
        """Make a directory, mode 0700, unless it is there."""

    def names(self, directory: Path) -> list[str]:
        """Return all names in a directory, in any order."""

    def size(self, path: Path) -> int | None:
        """Return the size of a regular file, None for anything else of that name."""

    def sync_directory(self, directory: Path) -> None:
        """Return when the names in a directory are on disk."""


class Disk:
    """The file system of this machine."""

    def claim(self, directory: Path) -> int:
        """See Files. The names of the new directory and of the one above it are synchronised."""
        descriptor = claim(
            directory,
            what="the spool",
            process="agent",
            instead="set data_dir to another directory",
        )
        for above in directory.absolute().parents[:2]:
            try:
                self.sync_directory(above)
            except OSError:
                pass  # another user's, or a kind that cannot be synchronised: nothing more to do
        return descriptor

    def open(self, path: Path, flags: int) -> int:
        """See Files."""
        # What lies in the spool is never a link: somebody else would have put it there.
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def close(self, fd: int) -> None:
        """See Files."""
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """See Files."""
        return os.pread(fd, size, offset)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        """See Files."""
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        """See Files."""
        os.fdatasync(fd)

    def ftruncate(self, fd: int, size: int) -> None:
        """See Files."""
        os.ftruncate(fd, size)

    def unlink(self, path: Path) -> None:
        """See Files."""
        os.unlink(path)

    def mkdir(self, path: Path) -> None:
        """See Files."""
        make_directory(path)

    def names(self, directory: Path) -> list[str]:
        """See Files."""
        return os.listdir(directory)

    def size(self, path: Path) -> int | None:
        """See Files."""
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def sync_directory(self, directory: Path) -> None:
        """See Files."""
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def opened(files: Files, path: Path, flags: int) -> Iterator[int]:
    """Open a file for a block; raises OSError."""
    fd = files.open(path, flags)
    try:
        yield fd
    finally:
        files.close(fd)


def write_all(files: Files, fd: int, data: bytes, offset: int) -> None:
    """Write all of data; raises OSError, and some of it may be written then."""
    written = 0
    while written < len(data):
        written += files.pwrite(fd, data[written:], offset + written)


def read_all(files: Files, fd: int, size: int) -> bytes:
    """Return the first size bytes of a file, fewer if it is shorter; raises OSError."""
    parts: list[bytes] = []
    at = 0
    while at < size and (part := files.pread(fd, size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)
