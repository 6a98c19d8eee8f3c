"""Whether the terminal in which a process was started is still there.

SIGHUP says two things: that a terminal was closed, and, to a service, that it shall read its
settings again. Only the first leaves a terminal that is gone.
"""

import os

__all__ = ["Terminal"]


class Terminal:
    """The terminal of standard error, if the process has one when this is made."""

    def __init__(self) -> None:
        self._had = _is_there()

    @property
    def is_gone(self) -> bool:
        """Whether there was a terminal and it was closed."""
        return self._had and not _is_there()


def _is_there() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False
