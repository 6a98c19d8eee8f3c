"""A program in a terminal of its own: keys go in, and what a person would see comes out."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pyte

from support.processes.servers import clean_environment, wait_for

__all__ = ["TerminalProgram"]


class TerminalProgram:
    """Runs a command in a pseudo terminal of a size; a terminal emulator reads what it writes."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], size: tuple[int, int] = (80, 24)
    ) -> None:
        self._command = [*command]
        self._env = clean_environment() | {"TERM": "xterm-256color"} | dict(env)
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._outer, self._inner = pty.openpty()
        self._resize(*size)
        #: everything that was written, as bytes
        self.written = b""
        #: what the terminal was set to before the program had it
        self.before: list[Any] = termios.tcgetattr(self._inner)
        self.child: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self.child = subprocess.Popen(
            self._command,
            env=self._env,
            stdin=self._inner,
            stdout=self._inner,
            stderr=self._inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.child.kill()
        self.child.wait(10)
        os.close(self._inner)
        self._reading.join(10)
        os.close(self._outer)

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def attributes(self) -> list[Any]:
        """What the terminal is set to now."""
        return termios.tcgetattr(self._inner)

    @property
    def cursor_hidden(self) -> bool:
        with self._lock:
            return bool(self._screen.cursor.hidden)

    def line_with(self, text: str) -> str:
        """Return the first line with a text, "" without one."""
        return next((line for line in self.lines if text in line), "")

    def wait_text(self, text: str, timeout_s: float = 20.0) -> str:
        """Return the first line with a text, once there is one."""

        def seen() -> str:
            ended = self.child.poll() is not None and not self._reading.is_alive()
            line = self.line_with(text)
            assert line or not ended, f"it ended with {self.child.returncode}, no {text!r}"
            return line

        try:
            return wait_for(seen, f"{text!r} on the screen", timeout_s)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *self.lines])) from None

    def wait_gone(self, text: str, timeout_s: float = 20.0) -> None:
        """Wait until no line has a text."""
        wait_for(lambda: not self.line_with(text), f"no {text!r} on the screen", timeout_s)

    def press(self, keys: str) -> None:
        """Send keys, as a terminal sends them."""
        os.write(self._outer, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal another size; the program gets SIGWINCH."""
        with self._lock:
            self._screen.resize(lines, columns)
        self._resize(columns, lines)

    def signal(self, number: int) -> None:
        self.child.send_signal(number)

    def stopped(self) -> bool:
        """Whether the program is stopped, as by Ctrl-Z."""
        with open(f"/proc/{self.child.pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "T"

    def resume(self) -> None:
        self.child.send_signal(signal.SIGCONT)

    def wait_exit(self) -> int:
        """Return the exit code."""
        return self.child.wait(20)

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._outer, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._outer, 65536)
            except OSError:
                return
            with self._lock:
                self.written += data
                self._stream.feed(data)
