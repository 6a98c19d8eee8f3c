"""Rows as lines of JSON in a file that is rotated by size: metrics.jsonl, metrics.jsonl.1, ..."""

import errno
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from time import monotonic
from typing import Final

from trimtab.metrics.metric import MetricRow
from trimtab.sinks.sink import Stored, json_of

__all__ = ["FileSink"]

#: how long to wait for who writes into the same file: one that was stopped holds the lock for ever
_PATIENCE_S: Final = 2.0
_RETRY_S: Final = 0.01


class FileSink:
    """Appends rows to a file; any thread, and any process that stores into the same one.

    Before it grows beyond max_bytes the file is renamed to end in `.1`, the one before to `.2` and
    so on; `files` of them are kept, the current one included. Each line is an object as
    `export_json` makes it. A lock lies beside it (`.lock`), held while rows are written.
    """

    def __init__(self, path: str | Path, *, max_bytes: int = 10_000_000, files: int = 5) -> None:
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._files = max(1, files)

    def store(self, rows: Sequence[MetricRow]) -> Stored:
        """Append rows; when the disk refuses, none of those that do not fit whole."""
        lines = [(json.dumps(json_of(row)) + "\n").encode() for row in rows]
        stored = 0
        try:
            with _locked(self._path):
                while stored < len(lines):
                    stored += self._append(lines[stored:])
        except OSError as error:
            return Stored(stored, f"{self._path}: {error.strerror or error}")
        return Stored(stored)

    def _append(self, lines: Sequence[bytes]) -> int:
        """Write as many lines as the file may still hold, at least one; return how many."""
        with self._path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size and size + len(lines[0]) > self._max_bytes:
                self._rotate()
                return 0
            count, end = 0, size
            while count < len(lines) and (not end or end + len(lines[count]) <= self._max_bytes):
                end += len(lines[count])
                count += 1
            # A process that was killed while writing left half a line: ours must not join it.
            cut = size and _last_byte(file) != b"\n"
            data = (b"\n" if cut else b"") + b"".join(lines[:count])
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(size)
                raise
            return count

    def _rotate(self) -> None:
        self._numbered(self._files - 1).unlink(missing_ok=True)
        for number in range(self._files - 2, -1, -1):
            if self._numbered(number).exists():
                self._numbered(number).rename(self._numbered(number + 1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path


def _last_byte(file: FileIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows: one process a file
        yield
        return
    with path.with_name(path.name + ".lock").open("ab") as lock:
        until_s = monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() >= until_s:
                    raise OSError(errno.EAGAIN, "another process holds its lock") from None
                time.sleep(_RETRY_S)
        yield
