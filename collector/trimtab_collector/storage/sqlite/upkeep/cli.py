"""The subcommands `trimtab collector backup`, `restore`, `check` and `accept-loss`.

Progress goes to stderr, results to stdout. Exit codes: 0 done and sound, 1 not, 2 wrong usage.
"""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab_collector.settings import CollectorSettings

__all__ = ["add_commands", "run"]

_NICE: Final = 5


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands to the parser of `trimtab collector`; without one, `command` is None."""
    # Options before the subcommand hold unless they are repeated after it.
    silent: Any = argparse.SUPPRESS
    shared = argparse.ArgumentParser(add_help=False, argument_default=silent)
    shared.add_argument("--config", metavar="FILE", help="settings file (default: trimtab.toml)")
    shared.add_argument("--data-dir", metavar="VALUE", help="directory of the collector's data")
    shared.add_argument("--json", action="store_true", help="answer in JSON")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="subcommands")
    backup = commands.add_parser(
        "backup",
        parents=[shared],
        help="copy the data while the collector runs, or not",
        description="Copy the data of a collector that runs or not to a new directory, with its "
        "keys and read token. Batches are taken meanwhile, compaction waits.",
    )
    backup.add_argument("target", metavar="DEST", help="directory to make")
    restore = commands.add_parser(
        "restore",
        parents=[shared],
        help="put a backup back; the collector must not run",
        description="Put a backup into an empty data directory, after comparing its checksums. "
        "The collector must not run.",
    )
    restore.add_argument("source", metavar="SRC", help="directory that backup has made")
    restore.add_argument(
        "--force",
        action="store_true",
        default=False,
        help="move a store that is there to a directory before-... in it",
    )
    commands.add_parser(
        "check",
        parents=[shared],
        help="prove the data sound: 0 it is, 1 it is not",
        description="Read all data of a collector that runs or not, decode it and compare its sums "
        "over tiers, roll-ups and accounting. Exit code 0: it is sound; 1: it is not, and why.",
    )
    commands.add_parser(
        "accept-loss",
        parents=[shared],
        help="go on without what a file that began anew has lost",
        description="Go on without what was lost where state.db or metrics.db was missing or empty "
        "beside the other, which /health tells until then. It changes nothing else.",
    )


def run(settings: CollectorSettings, options: argparse.Namespace) -> int:
    """Run a subcommand; returns the exit code. Raises TrimtabError."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    if options.command == "backup":
        return _backup(settings.directory, Path(options.target).absolute(), options.json)
    if options.command == "restore":
        source = Path(options.source).absolute()
        return _restore(source, settings.directory, options.json, force=options.force)
    if options.command == "accept-loss":
        return _accept(settings.directory, options.json)
    return _check(settings, options.json)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _backup(directory: Path, target: Path, as_json: bool) -> int:
    from trimtab_collector.storage.sqlite.upkeep.backup import backup
    from trimtab_collector.storage.sqlite.upkeep.files import megabytes

    manifest = backup(directory, target, _say)
    size = sum(copied.size_bytes for copied in manifest.files)
    if as_json:
        print(json.dumps({"backup": str(target), "sizeBytes": size, **_fields(manifest)}))
    else:
        print(f"backed up {len(manifest.files)} files, {megabytes(size)}, to {target}")
    for name in manifest.damaged:
        _say(f"trimtab collector: {name} is broken and was copied as it is")
    return 0


def _restore(source: Path, directory: Path, as_json: bool, *, force: bool) -> int:
    from trimtab_collector.storage.sqlite.upkeep.restore import restore

    manifest = restore(source, directory, _say, force=force)
    if as_json:
        print(json.dumps({"dataDir": str(directory), **_fields(manifest)}))
        return 0
    if manifest.aside:
        print(f"moved what was there to {directory / manifest.aside}")
    print(f"restored {len(manifest.files)} files of {manifest.made} into {directory}")
    return 0


def _accept(directory: Path, as_json: bool) -> int:
    from trimtab_collector.companions import accept
    from trimtab_collector.storage.sqlite.upkeep.files import refuse_other

    refuse_other(directory)
    what = accept(directory)
    if as_json:
        print(json.dumps({"accepted": what or None}))
    else:
        print(f"accepted: {what}" if what else "nothing is lost that was not accepted")
    return 0


def _check(settings: CollectorSettings, as_json: bool) -> int:
    from trimtab_collector.storage.sqlite.tiers import Retention
    from trimtab_collector.storage.sqlite.upkeep.check import check

    report = check(settings.directory, Retention.of(settings), _say)
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        print(report.text())
    return 0 if report.sound else 1


def _fields(manifest: msgspec.Struct) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    return fields
