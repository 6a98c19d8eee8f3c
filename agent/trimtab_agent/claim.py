"""A directory that belongs to one process at a time."""

import errno
import fcntl
import os
from pathlib import Path

from trimtab_core.errors import StartupError

__all__ = ["claim"]


def claim(directory: Path, what: str) -> int:
    """Make directory (0700) and lock it; return the descriptor that holds the lock until closed.

    The directory itself is locked: a lock file could not be made on a full disk. Raises
    StartupError when it cannot be used or another process has it.
    """
    shown = repr(str(directory))
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "it may not be read and written")
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StartupError(
            f"expected a directory for the {what} that this user may write, got {shown}: "
            f"{error.strerror}; set data_dir to another one"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StartupError(
            f"expected a directory of its own for the {what}, but another agent uses {shown}; "
            f"stop that one or set data_dir to another directory"
        ) from error
    return lock
