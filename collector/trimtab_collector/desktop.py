"""Opens an address in the browser of whoever started a command on a desktop.

The address may hold a secret, and everybody on the machine can read the arguments of a browser. So
the browser is given a file that only this user can read, which leads on to the address. It lies in
the home directory, as browsers in a sandbox see nothing else, and is gone after a minute.
"""

import atexit
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


def show(address: str) -> None:
    """Open an address, in a thread that ends with the process; what fails is logged at debug."""
    try:
        # It makes a file that this user alone can read.
        descriptor, name = tempfile.mkstemp(".html", "trimtab-", Path.home())
        file = Path(name)
        atexit.register(file.unlink, missing_ok=True)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(_PAGE.format(address=html.escape(address)))
    except (OSError, RuntimeError) as error:
        logger.debug("no browser was opened error=%s", error)
        return
    threading.Thread(target=_open, args=(file,), name="trimtab-browser", daemon=True).start()


def _open(file: Path) -> None:
    try:
        if webbrowser.open(file.as_uri()):
            time.sleep(_KEPT_S)
    except (OSError, webbrowser.Error) as error:
        logger.debug("no browser was opened error=%s", error)
    file.unlink(missing_ok=True)
