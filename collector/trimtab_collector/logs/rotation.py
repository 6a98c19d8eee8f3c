"""A log file that is renamed away when it is full; the latest few are kept."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from trimtab_core.errors import StartupError

__all__ = ["RotatedFile", "open_all"]

#: the group may read, so that a shipper of logs need not be root
_MODE: Final = 0o640
_DIRECTORY_MODE: Final = 0o750


def open_all(directory: Path, files: Iterable["RotatedFile"]) -> None:
    """Make a directory and the files in it that are missing; raises StartupError."""
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        for file in files:
            file.open()
    except OSError as error:
        raise StartupError(
            f"expected a directory for log files that can be written at {directory}, got: "
            f"{error.strerror}; choose another with log_dir"
        ) from error


class RotatedFile:
    """Lines of one file; from one thread. `NAME.1` is the newest of those before it.

    Takes at most max_bytes a file, but for a single line that is longer, and keeps `keep` of the
    files before.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._descriptor = -1
        self._size = 0

    def open(self) -> None:
        """Open the file, made where it is missing; raises OSError."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, _MODE)
        with suppress(PermissionError):
            # The mask of the process may have taken the group's right away.
            os.fchmod(self._descriptor, _MODE)
        self._size = os.fstat(self._descriptor).st_size

    def write(self, line: bytes) -> None:
        """Write a line whole or not at all; raises OSError."""
        if self._descriptor < 0:
            self.open()
        if self._size and self._size + len(line) > self._max_bytes:
            self._rotate()
        written = os.write(self._descriptor, line)
        if written < len(line):
            # A disk that is full takes a part: half a line would spoil the one after it.
            os.ftruncate(self._descriptor, self._size)
            raise OSError(28, "No space left on device", str(self.path))
        self._size += written

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _rotate(self) -> None:
        self.close()
        for number in range(self._keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        with suppress(FileNotFoundError):
            os.replace(self.path, f"{self.path}.1")
        self.open()
