"""The bearer token of the read API: from the settings, else made once and kept in a file 0600."""

import os
import secrets
from pathlib import Path
from typing import NamedTuple

from trimtab_core.errors import StartupError

__all__ = ["ReadToken", "read_token"]


class ReadToken(NamedTuple):
    """A token, the file that keeps it (None: the settings do), and whether it was made just now."""

    text: str
    path: Path | None
    new: bool


def read_token(directory: Path, configured: str = "") -> ReadToken:
    """Return the token; raises StartupError when its file cannot be read or written."""
    if configured:
        return ReadToken(configured, None, False)
    path = directory / "token"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            text = path.read_text(encoding="utf-8").strip()
            if not text:
                raise StartupError(
                    f"expected a token in {path}, it is empty: delete it and start again"
                ) from None
            return ReadToken(text, path, False)
        text = f"ttr_{secrets.token_hex(32)}"
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise StartupError(
            f"expected a file for the token at {path}, got: {error.strerror}; choose another "
            "directory with --data-dir"
        ) from error
    return ReadToken(text, path, True)
