"""Small text files of the kernel (/proc, cgroup) that are read often, and rates of counters."""

import os
from pathlib import Path
from typing import Final

__all__ = ["KernelFile", "Rates"]

_MOST: Final = 65536


class KernelFile:
    """One file, kept open so that reading it again takes about 2 us. Not thread-safe.

    Methods return None, or nothing, if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def text(self) -> str | None:
        """Return the first 64 KiB, None when there is no such file or it cannot be read."""
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._fd, _MOST, 0).decode("ascii", "replace")
        except OSError:
            # If the cgroup was replaced by another of its name, the next reading opens that.
            self.close()
            return None

    def number(self) -> int | None:
        """Return the whole number in the file; None for `max` or anything else."""
        text = (self.text() or "").strip()
        return int(text) if text.removeprefix("-").isdecimal() else None

    def fields(self) -> dict[str, int]:
        """Return the numbers of lines of the form `name number`, whatever follows."""
        found = {}
        for line in (self.text() or "").splitlines():
            words = line.split(None, 2)
            if len(words) > 1 and words[1].isdecimal():
                found[words[0]] = int(words[1])
        return found

    def pressure(self) -> float | None:
        """Return the share of the last 10 s in which some task waited (PSI), 0 to 1."""
        for line in (self.text() or "").splitlines():
            if line.startswith("some avg10="):
                try:
                    return float(line.split(" ")[1].removeprefix("avg10=")) / 100
                except ValueError:
                    return None
        return None

    def close(self) -> None:
        """Close the file; a later reading opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Rates:
    """Growth of counters between two readings; a reset counter has none until the next reading."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, float]] = {}

    def grown(self, name: str, value: float, now_s: float) -> tuple[float, float] | None:
        """Return (growth, seconds) since the last reading of this name; None when there is none."""
        before = self._before.get(name)
        self._before[name] = (value, now_s)
        if before is None or value < before[0] or now_s <= before[1]:
            return None
        return value - before[0], now_s - before[1]

    def rate(self, name: str, value: float, now_s: float) -> float | None:
        """Return the growth per second since the last reading; None when there is none."""
        grown = self.grown(name, value, now_s)
        return grown[0] / grown[1] if grown else None
