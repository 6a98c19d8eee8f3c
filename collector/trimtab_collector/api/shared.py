"""Answers that many ask for at the same time: computed and encoded once, shared for a second.

Open dashboards ask the same again and again. An answer is shared while nothing was committed or
changed since it was begun, and is at most a second old; who joins one that is being computed waits
for it. Who says that an older one will do (`oldest_s`) also gets one from before the last commits:
where agents commit all the time, nobody would share anything otherwise. Who may ask is checked
before, for each request.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from trimtab_collector.api.executor import ReadExecutor
from trimtab_collector.contract.errors import ApiError

__all__ = ["SharedAnswers"]

_KEPT_S: Final = 1.0
_MOST: Final = 128
_MOST_BYTES: Final = 16 * 1024 * 1024


@dataclass(slots=True)
class _Shared:
    """One answer, or the computation that it is waited for."""

    work: asyncio.Task[bytes]
    #: what was changed and committed until it was begun
    changes: int
    commits: int
    begun_s: float
    size_bytes: int = 0


class SharedAnswers:
    """Up to 128 answers of together up to 16 MiB; loop only, but for `renew`."""

    def __init__(
        self,
        executor: ReadExecutor,
        clock: Callable[[], float] = time.monotonic,
        *,
        apart: bool = False,
    ) -> None:
        """Compute them apart from readers: for answers for anyone, of which there are few kinds."""
        self._executor = executor
        self._apart = apart
        self._clock = clock
        self._lock = threading.Lock()
        self._changes = 0
        self._commits = 0
        #: the answer that was begun last is last
        self._answers: OrderedDict[Hashable, _Shared] = OrderedDict()
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._answers)

    def renew(self, *_changed: object) -> None:
        """Share nothing that was begun before now; any thread, never waits."""
        with self._lock:
            self._changes += 1

    def committed(self, *_batches: object) -> None:
        """Share what was begun before now only with those to whom an older answer will do."""
        with self._lock:
            self._commits += 1

    async def get(
        self, key: Hashable, compute: Callable[[], bytes], by: str, oldest_s: float = 0.0
    ) -> bytes:
        """Return an answer of this key, one that others asked for if there is one.

        One of up to oldest_s will do, even from before what was committed since.
        Raises what computing it raises, and ApiError 503 when too many reads wait.
        """
        shared = self._answers.get(key)
        if shared is not None and self._is_good(shared, oldest_s):
            try:
                return await asyncio.shield(shared.work)
            except ApiError as error:
                if error.status != 503 or self._apart:
                    raise
                # Whoever began it had no place: this caller may have one.
                return await self._compute(compute, by)
        work = asyncio.ensure_future(self._compute(compute, by))
        self._forget(key)
        shared = self._answers[key] = _Shared(work, self._changes, self._commits, self._clock())
        work.add_done_callback(lambda done: self._done(key, shared, done))
        # A caller that stops waiting does not undo it for the others.
        return await asyncio.shield(work)

    async def _compute(self, compute: Callable[[], bytes], by: str) -> bytes:
        if self._apart:
            return await self._executor.run_apart(compute)
        return await self._executor.run(compute, by=by)

    def _is_good(self, shared: _Shared, oldest_s: float) -> bool:
        if shared.changes != self._changes:
            return False
        age_s = self._clock() - shared.begun_s
        if 0 <= age_s < oldest_s:
            return True
        if shared.commits != self._commits:
            return False
        return not shared.work.done() or 0 <= age_s < _KEPT_S

    def _done(self, key: Hashable, shared: _Shared, work: asyncio.Task[bytes]) -> None:
        if work.cancelled() or work.exception() is not None:
            if self._answers.get(key) is shared:
                self._forget(key)
            return
        if self._answers.get(key) is shared:
            shared.size_bytes = len(work.result())
            self.held_bytes += shared.size_bytes
        while len(self._answers) > _MOST or self.held_bytes > _MOST_BYTES:
            self._forget(next(iter(self._answers)))

    def _forget(self, key: Hashable) -> None:
        before = self._answers.pop(key, None)
        if before is not None:
            self.held_bytes -= before.size_bytes
