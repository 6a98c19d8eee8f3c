"""Keeps batches that the collector refused for good, for a person to look at."""

import os
import re
from pathlib import Path
from typing import Final

from trimtab_agent.spool.files import Files, opened, write_all

__all__ = ["FILES", "put_aside"]

#: Files that are kept; over it the oldest goes.
FILES: Final = 16


def put_aside(files: Files, directory: Path, number: int, payload: bytes, reason: str) -> None:
    """Write a batch to `<id>-<reason>.batch` in directory, and keep the newest 16 of them.

    Ids grow, so the names sort by age. Raises OSError.
    """
    files.mkdir(directory)
    kept = sorted(name for name in files.names(directory) if name.endswith(".batch"))
    for name in kept[: -(FILES - 1)]:
        files.unlink(directory / name)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", reason)[:60].strip("-") or "refused"
    path = directory / f"{number:010d}-{slug}.batch"
    with opened(files, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
        write_all(files, fd, payload, 0)
