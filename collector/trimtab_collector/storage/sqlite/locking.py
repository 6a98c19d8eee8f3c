"""One collector a directory: the lock that it holds while it runs."""

import fcntl
import os
from pathlib import Path

from trimtab_core.errors import StartupError

__all__ = ["lock"]


def lock(directory: Path) -> int:
    """Make and lock a directory; returns the descriptor that holds the lock.

    Raises StartupError when it cannot be written or another collector has it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartupError(
            f"expected a directory that can be written at {directory}, got: {error.strerror}; "
            "choose another with --data-dir"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StartupError(
            f"expected {directory} to be free, another collector works in it: stop that one or "
            "choose another directory with --data-dir"
        ) from error
    return descriptor
