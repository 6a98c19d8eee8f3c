"""Batches that the collector refused for good, put aside for a person to look at."""

import re
from pathlib import Path
from typing import Final

__all__ = ["FILES", "put_aside"]

#: How many files are kept; an older one goes for each new one.
FILES: Final = 16


def put_aside(directory: Path, number: int, payload: bytes, reason: str) -> None:
    """Write a batch to `<id>-<reason>.batch` in directory, and keep the newest 16 of them.

    Ids grow, so the names sort by age. Raises OSError.
    """
    directory.mkdir(mode=0o700, exist_ok=True)
    for path in sorted(directory.glob("*.batch"))[: -(FILES - 1)]:
        path.unlink(missing_ok=True)
    slug = re.sub(r"[^A-Za-z0-9]+", "-", reason)[:60].strip("-") or "refused"
    path = directory / f"{number:010d}-{slug}.batch"
    path.touch(mode=0o600)
    path.write_bytes(payload)
