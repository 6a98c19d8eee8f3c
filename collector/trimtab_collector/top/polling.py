"""Asks the collector again and again in a thread of its own, so that keys never wait for it."""

import threading
import time
from collections.abc import Callable
from typing import Final

from trimtab_collector.asking import AskError
from trimtab_collector.top.survey import Survey, TopQuestion, TopRead
from trimtab_core.errors import TrimtabError

__all__ = ["TopPoller"]

#: seconds until the next try after one that failed; the last goes on
_BACK_OFF_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
_UNAUTHORIZED: Final = 401


class TopPoller:
    """Reads a frame each interval, and at once when the question changes.

    Every method but those of the thread is for the thread that shows. Only the latest result is
    kept. A try that fails is followed by others, further and further apart.
    """

    def __init__(
        self,
        survey: Survey,
        interval_s: float,
        *,
        renew: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        """Call renew when the collector no longer knows who asks, wake for each result."""
        self._survey = survey
        self._interval_s = interval_s
        self._renew = renew
        self._wake = wake
        self._changed = threading.Condition()
        self._question = TopQuestion()
        self._asked: TopQuestion | None = None
        self._paused = False
        self._result: TopRead | str | None = None
        self._failures = 0
        self._due_s = 0.0

    def start(self, question: TopQuestion) -> None:
        """Begin to ask; the thread does not keep the program from ending."""
        self._question = question
        threading.Thread(target=self._run, name="trimtab-top", daemon=True).start()

    def ask(self, question: TopQuestion, *, paused: bool) -> None:
        """Say what is to be asked from here on; while paused, each question once."""
        with self._changed:
            if (question, paused) != (self._question, self._paused):
                self._question, self._paused = question, paused
                self._changed.notify()

    def take(self) -> TopRead | str | None:
        """Return the result that was not yet taken: a frame, or why there is none."""
        with self._changed:
            result, self._result = self._result, None
        return result

    def _run(self) -> None:
        while True:
            question = self._next()
            begun_s = time.monotonic()
            result = self._try(question)
            with self._changed:
                self._result = result
                now_s = time.monotonic()
                if isinstance(result, str):
                    wait_s = _BACK_OFF_S[min(self._failures, len(_BACK_OFF_S) - 1)]
                    self._failures += 1
                    self._due_s = now_s + max(wait_s, self._interval_s)
                else:
                    self._failures = 0
                    # A collector that answers slowly is left in peace for as long as it took.
                    self._due_s = max(begun_s + self._interval_s, now_s + (now_s - begun_s))
            self._wake()

    def _next(self) -> TopQuestion:
        """Return what to ask, when it is time to."""
        with self._changed:
            while True:
                wait_s = self._due_s - time.monotonic()
                new = self._question != self._asked
                if (new and not self._failures) or (wait_s <= 0 and (new or not self._paused)):
                    self._asked = self._question
                    return self._question
                self._changed.wait(max(wait_s, 0.0) if new or not self._paused else None)

    def _try(self, question: TopQuestion) -> TopRead | str:
        try:
            try:
                return self._survey.read(question)
            except AskError as error:
                if error.status != _UNAUTHORIZED:
                    raise
                self._renew()
                return self._survey.read(question)
        except TrimtabError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - the border of the thread: it is shown instead
            return f"reading failed unexpectedly: {error!r}"
