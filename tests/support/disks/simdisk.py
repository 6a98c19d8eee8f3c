"""A disk in memory behind the spool's file layer: it can lose power, fill up, and fail."""

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

__all__ = ["Killed", "SimDisk"]


class Killed(BaseException):
    """The process ends here; nothing of it runs any more."""


class _File:
    """What a process sees of a file, and what is on the platter."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.kept = bytearray()
        #: stretches (begin, end) that differ, or may
        self.dirty: list[tuple[int, int]] = []

    def write_back(self, begin: int, end: int) -> None:
        """Put a stretch of what is seen on the platter."""
        end = min(end, len(self.seen))
        if begin < end:
            self.kept.extend(bytes(max(0, end - len(self.kept))))
            self.kept[begin:end] = self.seen[begin:end]

    def sync(self) -> None:
        """Put all of it there, its size too."""
        self.kept = bytearray(self.seen)
        self.dirty.clear()


class SimDisk:
    """The Files of a spool. What was not synchronised survives a kill, and not surely a cut.

    `faults` maps the name of a call to the errno it fails with; `countdown` calls from now the
    process is killed, in the middle of a write if that is the call.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.files: dict[Path, _File] = {}
        self._kept_names: dict[Path, _File] = {}
        self._open: dict[int, _File] = {}
        self._next = 100
        self.faults: dict[str, int] = {}
        self.unreadable: set[Path] = set()
        self.capacity: int | None = None
        self.countdown: int | None = None
        #: some call was refused since this was last cleared
        self.refused = False

    # What happens to a machine

    def kill(self) -> None:
        """End the process: what it wrote is still seen."""
        self._open.clear()
        self.countdown = None

    def cut_power(self) -> None:
        """Lose any part of what was not synchronised."""
        self.kill()
        names: dict[Path, _File] = {}
        for path in sorted({*self.files, *self._kept_names}):
            side = self.files if self.random.random() < 0.5 else self._kept_names
            file = side.get(path)
            if file is not None:
                names[path] = file
        for file in {id(file): file for file in names.values()}.values():
            self._tear(file)
        self.files = names
        self._kept_names = dict(names)

    def write_back(self) -> None:
        """Put some pages on the platter, in no order."""
        for file in self.files.values():
            for begin, end in file.dirty:
                first = self.random.randint(begin, end)
                file.write_back(first, self.random.randint(first, end))

    def damage(self, path: Path, change: Callable[[bytearray], None]) -> None:
        """Change a file on the platter."""
        file = self.files[path]
        change(file.seen)
        file.sync()

    def delete(self, path: Path) -> None:
        """Remove a file for good."""
        self.files.pop(path, None)
        self._kept_names.pop(path, None)

    def _tear(self, file: _File) -> None:
        for begin, end in file.dirty:
            at = begin
            while at < end:
                until = min(end, at + self.random.choice((1, 7, 64, 512)))
                if self.random.random() < 0.5:
                    file.write_back(at, until)
                at = until
        sizes = sorted((len(file.kept), len(file.seen)))
        size = self.random.choice((*sizes, self.random.randint(*sizes)))
        del file.kept[size:]
        file.kept.extend(bytes(size - len(file.kept)))
        file.seen = bytearray(file.kept)
        file.dirty.clear()

    # Files

    def claim(self, directory: Path) -> int:
        return self._call("claim") or 1

    def open(self, path: Path, flags: int) -> int:
        self._call("open")
        if path in self.unreadable and not flags & os.O_CREAT:
            raise OSError(errno.EACCES, "Permission denied", str(path))
        file = self.files.get(path)
        if file is None:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
            file = self.files[path] = _File()
        elif flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        elif flags & os.O_TRUNC:
            self._cut(file, 0)
        self._next += 1
        self._open[self._next] = file
        return self._next

    def close(self, fd: int) -> None:
        self._open.pop(fd, None)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self._call("pread")
        return bytes(self._open[fd].seen[offset : offset + size])

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        file = self._open[fd]
        try:
            self._call("pwrite")
        except Killed:
            self._write(file, data[: self.random.randint(0, len(data))], offset)
            raise
        if self.capacity is not None:
            room = self.capacity - sum(len(each.seen) for each in self.files.values())
            grown = offset + len(data) - len(file.seen)
            if grown > room:
                data = data[: len(data) - (grown - max(room, 0))]
                self.refused = True
                if not data:
                    raise OSError(errno.ENOSPC, "No space left on device")
        self._write(file, data, offset)
        return len(data)

    def fdatasync(self, fd: int) -> None:
        file = self._open[fd]
        try:
            self._call("fdatasync")
        except OSError:
            # As Linux does it: some pages made it, and the others are not tried again.
            for begin, end in file.dirty:
                file.write_back(begin, self.random.randint(begin, end))
            file.dirty.clear()
            raise
        file.sync()

    def ftruncate(self, fd: int, size: int) -> None:
        self._call("ftruncate")
        self._cut(self._open[fd], size)

    def unlink(self, path: Path) -> None:
        self._call("unlink")
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        del self.files[path]

    def mkdir(self, path: Path) -> None:
        self._call("mkdir")

    def names(self, directory: Path) -> list[str]:
        self._call("names")
        return [path.name for path in self.files if path.parent == directory]

    def size(self, path: Path) -> int | None:
        self._call("size")
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return len(self.files[path].seen)

    def sync_directory(self, directory: Path) -> None:
        self._call("sync_directory")
        self._kept_names = dict(self.files)

    def _call(self, name: str) -> int:
        if self.countdown is not None:
            self.countdown -= 1
            if self.countdown < 0:
                raise Killed
        if name in self.faults:
            self.refused = True
            raise OSError(self.faults[name], os.strerror(self.faults[name]))
        return 0

    def _write(self, file: _File, data: bytes, offset: int) -> None:
        file.seen.extend(bytes(max(0, offset - len(file.seen))))
        file.seen[offset : offset + len(data)] = data
        file.dirty.append((offset, offset + len(data)))

    def _cut(self, file: _File, size: int) -> None:
        del file.seen[size:]
        file.seen.extend(bytes(size - len(file.seen)))
        file.dirty = [(begin, min(end, size)) for begin, end in file.dirty if begin < size]
