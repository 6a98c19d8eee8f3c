"""Opening the store's SQLite files to write."""

import sqlite3
from pathlib import Path

from trimtab_core.ownfiles import touch_own

__all__ = ["connect", "lenient"]


def connect(path: Path, timeout_s: float, *, any_thread: bool = False) -> sqlite3.Connection:
    """Return a connection to a file, made with mode 0600 if needed.

    Raises sqlite3.Error, and StartupError for what somebody else may have put there.
    """
    try:
        touch_own(path)
    except OSError as error:
        raise sqlite3.OperationalError(f"cannot open {path}: {error.strerror}") from error
    return sqlite3.connect(
        path, isolation_level=None, timeout=timeout_s, check_same_thread=not any_thread
    )


def lenient(data: bytes) -> str:
    """Return the text of a column; of damaged bytes, one that no checksum fits."""
    return data.decode("utf-8", "replace")
