"""The log files of a collector, written by a thread of their own.

Whoever logs never waits for a disk: lines wait in a bounded queue, and are counted as lost beyond
it or where the disk does not take them.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.logs import LogHealth
from trimtab_collector.logs.rotation import RotatedFile, open_all
from trimtab_core.logs import PlainFormatter, RateLimited, plain, veiled

__all__ = ["COMBINED", "ERRORS", "PERFORMANCE", "LogFiles"]

#: names of files, of which the last has every line
PERFORMANCE: Final = "performance"
ERRORS: Final = "error"
COMBINED: Final = "combined"
_NAMES: Final = (PERFORMANCE, ERRORS, COMBINED)
_MOST_LINES: Final = 10_000
_MOST_BYTES: Final = 4 * 1024 * 1024
_LONGEST_TEXT: Final = 4096
_MOST_TRACE: Final = 50
_CLOSE_S: Final = 2.0
_LEVELS: Final = {"CRITICAL": "error"}

logger = logging.getLogger("trimtab.logs")


class LogFiles:
    """performance.log, error.log and combined.log in a directory; `write` from any thread.

    Raises StartupError when the directory cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        keep: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = {
            name: RotatedFile(directory / f"{name}.log", max_bytes, keep) for name in _NAMES
        }
        open_all(directory, self._files.values())
        self._clock = clock
        self._lines: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._writing = False
        self._trouble = ""
        self._written = 0
        self._lost = 0
        self._log = RateLimited(logger)
        self._handler = _Handler(self)
        self._thread = threading.Thread(target=self._run, name="trimtab-logs", daemon=True)

    def start(self) -> None:
        """Write from now on, also what the collector itself logs."""
        self._thread.start()
        logging.getLogger().addHandler(self._handler)

    def write(self, name: str, level: str, kind: str, fields: Mapping[str, Any]) -> None:
        """Add a line to a file, and to combined.log; never waits and never raises.

        Texts are made plain, cut where they are long, and go without what looks like a secret.
        """
        head = {"time": instant(self._clock()), "level": level, "kind": kind}
        line = msgspec.json.encode({**head, **_plain(fields)}) + b"\n"
        with self._changed:
            if (
                self._closing
                or len(self._lines) >= _MOST_LINES
                or self._bytes + len(line) > _MOST_BYTES
            ):
                self._lost += 1
                return
            self._lines.append((name, line))
            self._bytes += len(line)
            self._changed.notify_all()

    @property
    def trouble(self) -> str:
        """Why lines are not written, else empty; any thread."""
        return self._trouble

    def health(self) -> LogHealth:
        """Return how the files do; any thread."""
        with self._changed:
            return LogHealth(
                trouble=self._trouble or None,
                written=self._written,
                lost=self._lost,
                waiting=len(self._lines),
            )

    def flush(self, timeout_s: float = _CLOSE_S) -> bool:
        """Wait until everything is written or lost; False when the time is over."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines and not self._writing, timeout_s)

    def close(self) -> None:
        """Write what waits, for two seconds at most, and close the files."""
        logging.getLogger().removeHandler(self._handler)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)
        else:
            self._close_files()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closing)
                lines, self._lines = self._lines, deque()
                self._bytes = 0
                self._writing = True
                if not lines:
                    break
            self._store(lines)
        self._close_files()
        with self._changed:
            self._writing = False
            self._changed.notify_all()

    def _close_files(self) -> None:
        for file in self._files.values():
            file.close()

    def _store(self, lines: deque[tuple[str, bytes]]) -> None:
        written, trouble = 0, ""
        for name, line in lines:
            try:
                for each in {name, COMBINED}:
                    self._files[each].write(line)
                written += 1
            except Exception as error:  # noqa: BLE001 - one line; the thread writes the next
                why = error.strerror if isinstance(error, OSError) else None
                trouble = f"log files are not written: {why or error!r:.200}"
        with self._changed:
            self._written += written
            self._lost += len(lines) - written
            before, self._trouble = self._trouble, trouble
            self._writing = False
            self._changed.notify_all()
        if trouble and not before:
            self._log.warning("trouble", "%s", trouble)


class _Handler(logging.Handler):
    """Brings what the collector logs into the files."""

    def __init__(self, files: LogFiles) -> None:
        super().__init__()
        self._files = files
        self._format = PlainFormatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record: warnings and errors into error.log, everything into combined.log."""
        try:
            level = _LEVELS.get(record.levelname, record.levelname.lower())
            fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
            trace = self._format.trace(record)
            if trace:
                fields["trace"] = trace[-_MOST_TRACE:]
            name = ERRORS if record.levelno >= logging.WARNING else COMBINED
            self._files.write(name, level, "log", fields)
        except Exception:  # noqa: BLE001 - logging must not end what logs; this prints why
            self.handleError(record)


def _plain(value: Any) -> Any:
    """Return a value whose texts are plain and of bounded length."""
    if isinstance(value, str):
        text = value[:_LONGEST_TEXT]
        return plain(veiled(text)) + ("..." if len(value) > _LONGEST_TEXT else "")
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
