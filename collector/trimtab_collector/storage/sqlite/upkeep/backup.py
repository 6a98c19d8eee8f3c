"""A backup of a data directory, while its collector runs or not.

Compaction and retention wait meanwhile, so tier files do not change; they are copied first. Batches
that arrive are accepted as usual: they are only in metrics.db, which is copied after the tiers. In
the opposite order a batch could be in neither copy.
"""

import os
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from trimtab_collector.room import RESERVE
from trimtab_collector.storage.sqlite.compactor import METRICS, locked
from trimtab_collector.storage.sqlite.tierfile import DAMAGED
from trimtab_collector.storage.sqlite.upkeep.files import (
    KEYS,
    MANIFEST,
    STATE,
    WAIT_S,
    MaintenanceError,
    Manifest,
    Say,
    clear,
    copy_database,
    copy_plain,
    entered,
    megabytes,
    own_files,
    refuse_other,
    synchronise,
)
from trimtab_core.errors import StartupError

__all__ = ["FORMAT", "backup"]

#: version of the manifest
FORMAT: Final = 1
_BESIDE: Final = ("-wal", "-shm", "-journal")


def backup(directory: Path, target: Path, say: Say) -> Manifest:
    """Copy the store of a directory to target, a new directory, which will hold its secrets.

    The backup is there completely or not at all. Raises StartupError if there is no store or target
    exists, MaintenanceError if the copy fails.
    """
    _check(directory, target)
    partial = target.with_name(target.name + ".partial")
    with locked(directory, WAIT_S):
        clear(partial)
        try:
            partial.mkdir(mode=0o700, parents=True)
            manifest = _copy(directory, partial, say)
            (partial / MANIFEST).touch(0o600)
            (partial / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
            entered(partial / MANIFEST)
            synchronise(partial)
            os.rename(partial, target)
            synchronise(target.parent)
        except (OSError, sqlite3.Error) as error:
            with suppress(StartupError):
                clear(partial)
            raise MaintenanceError(f"expected a backup at {target}, got: {error}") from error
    return manifest


def _check(directory: Path, target: Path) -> None:
    refuse_other(directory)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise StartupError(f"expected {target} to be new or empty, it is not: choose another name")


def _copy(directory: Path, partial: Path, say: Say) -> Manifest:
    """Copy all files, metrics.db after the tiers; returns what was copied."""
    sources = [
        path
        for path in own_files(directory)
        if not path.name.endswith(_BESIDE) and path.name != RESERVE
    ]
    sources.sort(key=lambda path: path.name in (METRICS, KEYS, STATE))
    found = Manifest(FORMAT, version("trimtab"), 0, _now(), [])
    for place, source in enumerate(sources, 1):
        target = partial / source.name
        if DAMAGED in source.name or source.suffix != ".db":
            copy_plain(source, target)
        elif not copy_database(source, target, say):
            found.damaged.append(source.name)
        copied = entered(target)
        found.files.append(copied)
        broken = ", which is broken" if source.name in found.damaged else ""
        size = megabytes(copied.size_bytes)
        say(f"copied {copied.name}{broken}, {size} ({place} of {len(sources)})")
    # Not through SQLite, which would leave files of its own beside it.
    with (partial / METRICS).open("rb") as stream:
        found.store = int.from_bytes(stream.read(64)[60:], "big")
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
