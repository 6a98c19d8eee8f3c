"""A backup put back into a data directory.

Its files are copied beside the store and checked. Then one rename marks them as complete, and they
move to their places. If it is interrupted before that rename, nothing has happened; after it, no
collector starts in the directory, and the next run continues where this one ended. What was there
before is moved aside, never deleted.
"""

import os
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from trimtab_collector.storage.sqlite.compactor import METRICS
from trimtab_collector.storage.sqlite.schema import VERSION
from trimtab_collector.storage.sqlite.tierfacts import facts_of
from trimtab_collector.storage.sqlite.tiers import files_of
from trimtab_collector.storage.sqlite.tierschema import VersionError, open_reader
from trimtab_collector.storage.sqlite.upkeep.backup import FORMAT
from trimtab_collector.storage.sqlite.upkeep.files import (
    MANIFEST,
    RESTORING,
    STAGING,
    MaintenanceError,
    Manifest,
    Say,
    clear,
    copy_plain,
    entered,
    megabytes,
    own_files,
    stopped,
    synchronise,
)
from trimtab_core.errors import StartupError

__all__ = ["read_manifest", "restore"]

#: first version of the store whose journal never gives an id twice
_NUMBERED: Final = 2
_NAME: Final = re.compile(r"[\w-][\w.-]*")


def restore(source: Path, directory: Path, say: Say, *, force: bool = False) -> Manifest:
    """Restore the backup at source into a directory; with force, even if it has a store.

    Returns its manifest, with the place of what was there before. Raises StartupError if the
    directory is not free, MaintenanceError if the backup is incomplete or cannot be copied.
    """
    manifest = read_manifest(source)
    with stopped(directory):
        try:
            before = _finish(directory)
            if before is not None:
                say(f"finished the restore of the backup of {before.made}, which was cut short")
                if before.files == manifest.files:
                    return before
            if own_files(directory) and not force:
                raise StartupError(
                    f"expected {directory} to be empty, it has a store: choose another with "
                    "--data-dir, or move that one aside with --force"
                )
            staging = directory / STAGING
            clear(staging)
            try:
                _stage(source, staging, manifest, say)
                _raise_numbers(staging, manifest)
                manifest.aside = _aside(directory) if own_files(directory) else ""
                _write(staging / MANIFEST, manifest)
            except BaseException:
                clear(staging)
                raise
            synchronise(staging)
            os.rename(staging, directory / RESTORING)
            synchronise(directory)
            _finish(directory)
        except (OSError, sqlite3.Error) as error:
            raise MaintenanceError(
                f"expected to restore {source} into {directory}, got: {error}"
            ) from error
    return manifest


def read_manifest(source: Path) -> Manifest:
    """Return the manifest of a backup; raises StartupError if it is none, or of a later version."""
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise StartupError(
            f"expected a backup with its {MANIFEST} at {source}, got: {error}; one that was cut "
            "short has none"
        ) from error
    if manifest.format != FORMAT or not 0 < manifest.store <= VERSION:
        raise StartupError(
            f"expected a backup of this version at {source}, got one by trimtab "
            f"{manifest.trimtab}: restore it with that version or a later one"
        )
    names = {copied.name for copied in manifest.files}
    if METRICS not in names or not all(_NAME.fullmatch(name) for name in names):
        raise StartupError(f"expected the files of a store in {source / MANIFEST}, got {names!r}")
    return manifest


def _stage(source: Path, staging: Path, manifest: Manifest, say: Say) -> None:
    """Copy all files and compare them with the manifest; raises MaintenanceError."""
    staging.mkdir(mode=0o700)
    for place, expected in enumerate(manifest.files, 1):
        copy_plain(source / expected.name, staging / expected.name)
        got = entered(staging / expected.name)
        if got != expected:
            raise MaintenanceError(
                f"expected {source / expected.name} as it was backed up ({expected.size_bytes} "
                f"bytes, sha256 {expected.sha256}), got {got.size_bytes} bytes, sha256 "
                f"{got.sha256}: nothing is restored"
            )
        size = megabytes(got.size_bytes)
        say(f"copied {got.name}, {size} ({place} of {len(manifest.files)})")


def _raise_numbers(staging: Path, manifest: Manifest) -> None:
    """Give new batches journal ids that no tier file has marked as merged."""
    highest = 0
    for _, _, path in files_of(staging):
        if path.name not in manifest.damaged:
            try:
                with closing(open_reader(path)) as connection:
                    highest = max(highest, facts_of(connection).highest)
            except VersionError:
                continue
    address = f"{(staging / METRICS).absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
        if manifest.store < _NUMBERED or not highest:
            return
        found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'")
        if (found.fetchone() or (0,))[0] < highest:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM sqlite_sequence WHERE name = 'journal'")
            connection.execute("INSERT INTO sqlite_sequence VALUES ('journal', ?)", (highest,))
            connection.execute("COMMIT")
    entered(staging / METRICS)


def _finish(directory: Path) -> Manifest | None:
    """Move the files of a complete restore to their places; None if there is none.

    It may be interrupted anywhere and called again.
    """
    restoring = directory / RESTORING
    if not restoring.exists():
        return None
    manifest = msgspec.json.decode((restoring / MANIFEST).read_bytes(), type=Manifest)
    names = [copied.name for copied in manifest.files]
    if manifest.aside and all((restoring / name).exists() for name in names):
        # No file has moved yet, so everything here is from before.
        aside = directory / manifest.aside
        aside.mkdir(mode=0o700, exist_ok=True)
        for path in own_files(directory):
            os.rename(path, aside / path.name)
        synchronise(aside)
        synchronise(directory)
    for name in names:
        if (restoring / name).exists():
            os.rename(restoring / name, directory / name)
    synchronise(directory)
    clear(restoring)
    synchronise(directory)
    return manifest


def _write(path: Path, manifest: Manifest) -> None:
    path.touch(0o600)
    path.write_bytes(msgspec.json.encode(manifest))
    entered(path)


def _aside(directory: Path) -> str:
    """Return an unused name for a directory."""
    name = f"before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    number = 1
    while (directory / name).exists():
        number += 1
        name = f"{name.partition('.')[0]}.{number}"
    return name
