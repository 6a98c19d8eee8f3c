"""The files of a data directory: which are of the store, who holds it, how one is copied.

A backup is a directory of such files and a manifest, which is written last.
"""

import hashlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from trimtab_collector.storage.sqlite.compactor import METRICS, locked
from trimtab_collector.storage.sqlite.tierfile import DAMAGED, is_damage
from trimtab_core.claim import claim
from trimtab_core.errors import StartupError, TrimtabError

__all__ = [
    "KEYS",
    "MANIFEST",
    "RESTORING",
    "WAIT_S",
    "Copied",
    "MaintenanceError",
    "Manifest",
    "Say",
    "clear",
    "copy_database",
    "copy_plain",
    "entered",
    "megabytes",
    "own_files",
    "refuse_other",
    "refuse_unfinished",
    "stopped",
    "synchronise",
]

MANIFEST: Final = "manifest.json"
KEYS: Final = "keys.db"
#: holds the files of a restore that is complete and has not all moved to its place
RESTORING: Final = ".restoring"
_OWN: Final = re.compile(
    r"((10s|1m|10m)-\d{8}|1h-\d{6}|metrics|keys)\.db(-wal|-shm|-journal)?|token|agent-key"
)
#: pages copied between two looks at the time
_PAGES: Final = 4096
#: how long a compaction may go on before a backup or check gives up
WAIT_S: Final = 120.0

#: takes a line for the operator
Say = Callable[[str], None]


class MaintenanceError(TrimtabError):
    """A backup or restore did not succeed; what was there before still is."""


class Copied(msgspec.Struct, rename="camel"):
    """A file of a backup."""

    name: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, rename="camel"):
    """What a backup holds; `store` is the version of its tables."""

    format: int
    trimtab: str
    store: int
    made: str
    files: list[Copied]
    #: files that are broken, copied as they are
    damaged: list[str] = []
    #: in a restore: where the files go that were there before
    aside: str = ""


def own_files(directory: Path) -> list[Path]:
    """Return the files of a store in a directory, by name; locks and directories are none."""
    return sorted(
        path
        for path in directory.iterdir()
        if (_OWN.fullmatch(path.name) or DAMAGED in path.name) and not path.is_dir()
    )


def refuse_unfinished(directory: Path) -> None:
    """Raise StartupError when a restore into a directory was cut short."""
    if (directory / RESTORING).exists():
        raise StartupError(
            f"expected a whole store in {directory}, a restore into it was cut short: run "
            "trimtab collector restore again, it goes on from there"
        )


def refuse_other(directory: Path) -> None:
    """Raise StartupError for a directory that holds no whole store."""
    refuse_unfinished(directory)
    if not (directory / METRICS).is_file():
        raise StartupError(
            f"expected a collector's data in {directory}, got no {METRICS}: name its directory "
            "with --data-dir"
        )


@contextmanager
def stopped(directory: Path) -> Iterator[None]:
    """Hold a directory, made when it is not there, so that no collector runs in it meanwhile.

    Raises StartupError when one does.
    """
    descriptor = claim(
        directory,
        what="a collector's data",
        process="collector",
        instead="choose another with --data-dir",
    )
    try:
        with locked(directory, WAIT_S):
            yield
    finally:
        os.close(descriptor)


def copy_database(source: Path, target: Path, say: Say) -> bool:
    """Copy a SQLite file as it is at one moment; True when it was whole, else its bytes are taken.

    Others may write to it meanwhile. Raises sqlite3.Error and OSError.
    """
    target.touch(0o600, exist_ok=False)
    try:
        address = f"{source.absolute().as_uri()}?mode=rw"
        with (
            closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=5)) as one,
            closing(sqlite3.connect(target, isolation_level=None)) as other,
        ):
            # Whoever is cut short leaves a directory that is no backup; it is synchronised whole.
            other.execute("PRAGMA journal_mode = OFF")
            other.execute("PRAGMA synchronous = OFF")
            # A transaction of its own: else each write of another begins the copy anew.
            one.execute("BEGIN")
            one.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            one.backup(
                other, pages=_PAGES, progress=lambda _, left, all_: _tell(say, source, left, all_)
            )
            one.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        if not is_damage(error) or source.name in (METRICS, KEYS):
            raise
        target.unlink()
        copy_plain(source, target)
        return False
    return True


def _tell(say: Say, source: Path, left: int, pages: int) -> None:
    if left:
        say(f"{source.name}: {100 * (pages - left) // pages} %")


def copy_plain(source: Path, target: Path) -> None:
    """Copy the bytes of a file into a new one that only its owner may read; raises OSError."""
    with source.open("rb") as stream, os.fdopen(_created(target), "wb") as copy:
        while piece := stream.read(1024 * 1024):
            copy.write(piece)


def _created(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def entered(path: Path) -> Copied:
    """Bring a file to the disk and return its entry in a manifest; raises OSError."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return Copied(path.name, os.fstat(stream.fileno()).st_size, digest)


def synchronise(directory: Path) -> None:
    """Bring the names in a directory to the disk; raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear(directory: Path) -> None:
    """Take a directory away that a backup or restore has begun, if it holds nothing else.

    Raises StartupError when it does.
    """
    if not directory.exists():
        return
    try:
        for path in [*own_files(directory), directory / MANIFEST]:
            path.unlink(missing_ok=True)
        directory.rmdir()
    except OSError as error:
        raise StartupError(
            f"expected what was left by an earlier run at {directory}, got other things "
            f"({error.strerror}): move it away"
        ) from error


def megabytes(size_bytes: int) -> str:
    """Return a size for people."""
    return f"{size_bytes / 1e6:.1f} MB"
