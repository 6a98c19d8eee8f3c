"""A wall clock that jumps, for one process: Debian's libfaketime. The monotonic clock goes on."""

import glob
from pathlib import Path

from support.lacking import lack

__all__ = ["WallClock"]

_LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class WallClock:
    """The wall clock of the processes that are started with `env`; `jump` moves it while they run.

    Skips the test where the package is not installed; with CI=true it fails instead.
    """

    def __init__(self, directory: Path) -> None:
        found = sorted(glob.glob(_LIBRARY))
        if not found:
            reason = "a clock that jumps needs Debian's package faketime: apt install faketime"
            lack(reason)
        self._file = directory / "faketime"
        self.jump(0)
        self.env = {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            # One is the name in old releases, the other in new ones.
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def jump(self, offset_s: int) -> None:
        """Set the clock to the true time and so many seconds."""
        whole = self._file.with_suffix(".new")
        whole.write_text(f"{offset_s:+d}\n")
        whole.rename(self._file)
