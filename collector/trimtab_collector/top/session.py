"""Shows `trimtab top` until a key or a signal ends it: terminal, keys, answers, signals."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from trimtab_collector.top.drawing import Surroundings, frame
from trimtab_collector.top.keys import KeyDecoder
from trimtab_collector.top.polling import TopPoller
from trimtab_collector.top.printing import painter, shows_unicode
from trimtab_collector.top.screen import Screen
from trimtab_collector.top.state import TopState
from trimtab_collector.top.survey import Survey, TopRead

__all__ = ["Session"]

#: an escape that nothing follows for so long is the key of that name
_ESCAPE_S: Final = 0.05
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_NOTED: Final = (signal.SIGWINCH, signal.SIGTSTP)


class Session:
    """One terminal that shows one collector; used by the main thread, which gets the signals."""

    def __init__(self, state: TopState, survey: Survey, address: str, interval_s: float) -> None:
        self._state = state
        self._survey = survey
        self._address = address
        self._interval_s = interval_s
        encoding = sys.stdout.encoding or "ascii"
        self._ascii = not shows_unicode()
        self._screen = Screen(sys.stdin.fileno(), sys.stdout.fileno(), encoding)
        self._paint = painter()
        self._keys = KeyDecoder()
        self._answered_s = time.monotonic()
        self._signals, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)

    def run(self, renew: Callable[[], None]) -> int:
        """Show frames until `q` is pressed; a signal ends it too, with 128 and its number.

        Raises SystemExit for the signal, after the terminal is as it was.
        """
        poller = TopPoller(self._survey, self._interval_s, renew=renew, wake=self._wake)
        poller.start(self._state.question)
        # In this order, so that the terminal is restored before the next signal can end anything.
        with _signals(self._wakeup), self._screen:
            try:
                return self._loop(poller)
            except OSError:
                # The terminal has gone.
                return 128 + signal.SIGHUP

    def _loop(self, poller: TopPoller) -> int:
        while True:
            self._draw()
            wait_s = _ESCAPE_S if self._keys.waits else 1 - time.time() % 1
            ready, _, _ = select.select([sys.stdin, self._signals], [], [], wait_s)
            pressed = self._keys.flush() if self._keys.waits and not ready else []
            if self._signals in ready:
                self._obey(os.read(self._signals, 4096))
            if sys.stdin in ready:
                data = os.read(sys.stdin.fileno(), 4096)
                if not data:
                    return 128 + signal.SIGHUP
                pressed = self._keys.feed(data)
            for key in pressed:
                if not self._state.press(key):
                    return 0
            self._take(poller.take())
            if self._state.paused:
                # Nobody is asked, so nobody is silent.
                self._answered_s = time.monotonic()
            poller.ask(self._state.question, paused=self._state.paused)

    def _take(self, result: TopRead | str | None) -> None:
        if isinstance(result, str):
            self._state.failed(result)
        elif result is not None:
            self._answered_s = time.monotonic()
            self._state.took(result)

    def _obey(self, signals: bytes) -> None:
        """Do what noted signals ask for; a change of the size is seen at the next frame."""
        if signal.SIGTSTP in signals:
            self._screen.leave()
            os.kill(os.getpid(), signal.SIGSTOP)
            # Here it goes on after `fg`.
            self._screen.enter()
        if signal.SIGWINCH in signals:
            self._state.redraw = True

    def _draw(self) -> None:
        width, height = self._screen.size
        around = Surroundings(
            self._address,
            time.strftime("%H:%M:%S"),
            time.monotonic() - self._answered_s,
            self._interval_s,
            self._ascii,
        )
        lines = [self._paint(line) for line in frame(self._state, width, height, around)]
        self._screen.draw(lines, whole=self._state.redraw)
        self._state.redraw = False

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._wakeup, b"\0")


@contextmanager
def _signals(wakeup: int) -> Iterator[None]:
    """Raise SystemExit for the first signal that ends, and note the others in a pipe."""

    def end(number: int, _frame: FrameType | None) -> None:
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    def note(_number: int, _frame: FrameType | None) -> None:
        """The pipe has it already."""

    handlers = {**dict.fromkeys(_ENDING, end), **dict.fromkeys(_NOTED, note)}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    former = signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        for number, handler in before.items():
            signal.signal(number, handler)
