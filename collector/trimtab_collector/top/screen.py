"""The terminal while `trimtab top` has it: another screen, keys at once, only changes written.

What it changes it puts back, however the program ends but by SIGKILL.
"""

import os
import termios
import tty
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["Screen"]

#: alternate screen, no cursor, no wrapping at the right edge, nothing on it
_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[0m\x1b[2J"
_LEAVE: Final = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_CLEAR: Final = "\x1b[0m\x1b[2J"
#: terminals that know synchronized updates show what is between at once; others pass over it
_BEGIN: Final = "\x1b[?2026h"
_END: Final = "\x1b[?2026l"


class Screen:
    """A terminal that shows lines; one thread.

    Raises OSError when the terminal is gone.
    """

    def __init__(self, input_fd: int, output_fd: int, encoding: str) -> None:
        self._input_fd = input_fd
        self._output_fd = output_fd
        self._encoding = encoding
        self._before: list[Any] | None = None
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        found = os.get_terminal_size(self._output_fd)
        return found.columns or 80, found.lines or 24

    def enter(self) -> None:
        """Take the terminal over; Ctrl-C and Ctrl-Z stay signals."""
        self._lines = []
        try:
            self._before = termios.tcgetattr(self._input_fd)
            tty.setcbreak(self._input_fd, termios.TCSADRAIN)
            self._write(_ENTER)
        except termios.error as error:
            self.leave()
            raise OSError(*error.args) from error
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Give the terminal back as it was; again is harmless."""
        before, self._before = self._before, None
        if before is None:
            return
        with suppress(OSError):
            self._write(_LEAVE)
        with suppress(OSError, termios.error):
            # What was typed and not read is not for the shell.
            termios.tcsetattr(self._input_fd, termios.TCSAFLUSH, before)

    def draw(self, lines: Sequence[str], *, whole: bool = False) -> None:
        """Show lines, which end in no attribute; only those that changed are written."""
        parts = []
        if whole or len(lines) != len(self._lines):
            parts.append(_CLEAR)
            self._lines = [""] * len(lines)
        for number, (line, former) in enumerate(zip(lines, self._lines, strict=True), 1):
            if line != former:
                parts.append(f"\x1b[{number};1H{line}")
        self._lines = [*lines]
        if parts:
            self._write("".join([_BEGIN, *parts, _END]))

    def _write(self, text: str) -> None:
        data = text.encode(self._encoding, "replace")
        while data:
            data = data[os.write(self._output_fd, data) :]
