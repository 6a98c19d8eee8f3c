"""Opens an address in the browser of whoever started a command on a desktop.

The address may hold a secret, and everybody on the machine can read the arguments of a browser. So
the browser is given a file that only this user can read, which leads on to the address. It lies in
the home directory, as browsers in a sandbox see nothing else, and is gone after a minute.
"""

import html
import logging
import os
import tempfile
import threading
import time
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["has_desktop", "show"]

logger = logging.getLogger("trimtab.desktop")

_KEPT_S: Final = 60.0
_PAGE: Final = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>trimtab</title>
<p><a href="{address}">trimtab</a></p>
"""


def has_desktop(environ: Mapping[str, str], platform: str, *, is_terminal: bool) -> bool:
    """Tell whether somebody sits before this machine who would see a browser open."""
    if not is_terminal or environ.get("CI") or environ.get("SSH_CONNECTION"):
        return False
    return platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def show(address: str, home: Path | None = None, kept_s: float = _KEPT_S) -> threading.Thread:
    """Open an address in a thread that goes with the process; what fails is logged at debug."""
    thread = threading.Thread(
        target=_show, args=(address, home, kept_s), name="trimtab-browser", daemon=True
    )
    thread.start()
    return thread


def _show(address: str, home: Path | None, kept_s: float) -> None:
    try:
        page = _PAGE.format(address=html.escape(address))
        # mkstemp makes it readable by this user alone.
        descriptor, name = tempfile.mkstemp(".html", "trimtab-", home or Path.home())
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(page)
            if webbrowser.open(Path(name).as_uri()):
                time.sleep(kept_s)
        finally:
            Path(name).unlink(missing_ok=True)
    except (OSError, RuntimeError, webbrowser.Error) as error:
        logger.debug("no browser was opened error=%s", error)
