"""The files of a data directory: which belong to the store, its locks, and how they are copied.

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

from trimtab_collector.room import RESERVE
from trimtab_collector.storage.sqlite.compactor import METRICS, locked
from trimtab_collector.storage.sqlite.tierfile import DAMAGED
from trimtab_collector.storage.sqlite.tierschema import is_damage
from trimtab_core.claim import claim
from trimtab_core.errors import StartupError, TrimtabError

__all__ = [
    "KEYS",
    "MANIFEST",
    "RESTORING",
    "STAGING",
    "STATE",
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
STATE: Final = "state.db"
#: directory with the files of a complete restore, not all of which have moved to their places
#: where a restore puts its files until they are complete
STAGING: Final = ".restore"
RESTORING: Final = ".restoring"
_OWN: Final = re.compile(
    r"((10s|1m|10m)-\d{8}|1h-\d{6}|metrics|keys|state)\.db(-wal|-shm|-journal)?|token|agent-key|"
    + RESERVE
)
#: pages copied between two checks of the time
_PAGES: Final = 4096
#: time that a backup or check waits for a compaction before it gives up
WAIT_S: Final = 120.0

#: receives a line for the operator
Say = Callable[[str], None]


class MaintenanceError(TrimtabError):
    """A backup or restore failed; what was there before is unchanged."""


class Copied(msgspec.Struct, rename="camel"):
    """A file of a backup."""

    name: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, rename="camel"):
    """The content of a backup; `store` is the version of its tables."""

    format: int
    trimtab: str
    store: int
    made: str
    files: list[Copied]
    #: broken files, copied as they are
    damaged: list[str] = []
    #: in a restore: where the files that were there before are moved
    aside: str = ""


def own_files(directory: Path) -> list[Path]:
    """Return the files of a store in a directory, by name, without locks and directories."""
    return sorted(
        path
        for path in directory.iterdir()
        if (_OWN.fullmatch(path.name) or DAMAGED in path.name) and not path.is_dir()
    )


def refuse_unfinished(directory: Path) -> None:
    """Raise StartupError if a restore into a directory was interrupted."""
    if (directory / RESTORING).exists():
        raise StartupError(
            f"expected a whole store in {directory}, a restore into it was cut short: run "
            "trimtab collector restore again, it goes on from there"
        )
    if (directory / STAGING).exists() and not (directory / METRICS).exists():
        raise StartupError(
            f"expected a store in {directory}, a restore into it was cut short before anything was "
            f"in its place: run trimtab collector restore again, or remove {STAGING} to begin anew"
        )


def refuse_other(directory: Path) -> None:
    """Raise StartupError for a directory without a complete store."""
    refuse_unfinished(directory)
    if not (directory / METRICS).is_file():
        raise StartupError(
            f"expected a collector's data in {directory}, got no {METRICS}: name its directory "
            "with --data-dir"
        )


@contextmanager
def stopped(directory: Path) -> Iterator[None]:
    """Lock a directory, making it if needed, so that no collector runs in it meanwhile.

    Raises StartupError if one does.
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
    """Copy a SQLite file as it is at one moment; of a broken one, copy the bytes and return False.

    Others may write to it meanwhile. Raises sqlite3.Error and OSError.
    """
    target.touch(0o600, exist_ok=False)
    try:
        address = f"{source.absolute().as_uri()}?mode=rw"
        with (
            closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=5)) as one,
            closing(sqlite3.connect(target, isolation_level=None)) as other,
        ):
            # An interrupted copy leaves no valid backup; a complete one is synchronised at the end.
            other.execute("PRAGMA journal_mode = OFF")
            other.execute("PRAGMA synchronous = OFF")
            # In a transaction, because otherwise each write of others restarts the copy.
            one.execute("BEGIN")
            one.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            one.backup(
                other, pages=_PAGES, progress=lambda _, left, all_: _tell(say, source, left, all_)
            )
            one.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        if not is_damage(error) or source.name in (METRICS, KEYS, STATE):
            raise
        target.unlink()
        copy_plain(source, target)
        return False
    return True


def _tell(say: Say, source: Path, left: int, pages: int) -> None:
    if left:
        say(f"{source.name}: {100 * (pages - left) // pages} %")


def copy_plain(source: Path, target: Path) -> None:
    """Copy the bytes of a file to a new one that only its owner may read; raises OSError."""
    with source.open("rb") as stream, os.fdopen(_created(target), "wb") as copy:
        while piece := stream.read(1024 * 1024):
            copy.write(piece)


def _created(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def entered(path: Path) -> Copied:
    """Synchronise a file to the disk and return its entry for a manifest; raises OSError."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return Copied(path.name, os.fstat(stream.fileno()).st_size, digest)


def synchronise(directory: Path) -> None:
    """Synchronise the names in a directory to the disk; raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear(directory: Path) -> None:
    """Delete a directory that a backup or restore has begun, if it holds nothing else.

    Raises StartupError if it does.
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
    """Return a size as text."""
    return f"{size_bytes / 1e6:.1f} MB"
