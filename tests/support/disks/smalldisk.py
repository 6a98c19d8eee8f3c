"""A disk of a few megabytes that a test may fill to the last byte."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.lacking import lack

__all__ = ["SmallDisk", "small_disk"]


class SmallDisk:
    """A file system of its own at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """Take all room that is left."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                assert self.free_bytes == 0

    def leave(self, size_bytes: int) -> None:
        """Take all room but so much."""
        self.fill()
        with self._ballast.open("r+b") as file:
            file.truncate(max(0, self._ballast.stat().st_size - size_bytes))

    def give_back(self) -> None:
        """Let go of what `fill` and `leave` took."""
        self._ballast.unlink()


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Yield a new small disk; skips where it cannot be had, and fails there with CI=true."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        lack("mounting a small disk needs root and the mount command")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
