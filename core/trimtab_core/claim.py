"""A directory that belongs to one process at a time.

The directory itself is locked, with flock(2), which also works on a full disk: a lock file could
not be made there. The kernel releases the lock when the process ends, however it ends.
"""

import errno
import fcntl
import os
from pathlib import Path

from trimtab_core.errors import StartupError
from trimtab_core.ownfiles import make_directory

__all__ = ["claim", "is_claimed"]


def is_claimed(directory: Path) -> bool:
    """Return whether a process has a directory; False where that cannot be known."""
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return False


def claim(directory: Path, *, what: str, process: str, instead: str) -> int:
    """Make directory (0700) and lock it; return the descriptor that holds the lock until closed.

    Raises StartupError when it cannot be used, another process has it, or another user may have put
    it there. Its sentence says what
    the directory is for (what), which kind of process has it (process: `agent`), and what to do
    about it (instead: `set data_dir to another directory`).
    """
    shown = repr(str(directory))
    try:
        make_directory(directory)
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StartupError(
            f"expected a directory for {what} that this user may read and write, got {shown}: "
            f"{error.strerror}; {instead}"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StartupError(
            f"expected a directory of its own for {what}, but another {process} uses {shown}; "
            f"stop that one or {instead}"
        ) from error
    except OSError as error:
        os.close(lock)
        raise StartupError(
            f"expected a directory for {what} that can be locked, got {shown}: {error.strerror}; "
            f"{instead}, on a local disk"
        ) from error
    return lock
