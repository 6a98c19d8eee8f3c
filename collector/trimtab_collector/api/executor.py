"""Where answers are computed: in threads, so that they never delay ingest.

Readers have two threads and 64 places. Answers for anyone are computed apart from them, and are
kept for a moment: no number of requests without a token costs more than one computation per second,
or takes a place from a reader.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from trimtab_collector.contract.errors import ApiError

__all__ = ["KeptAnswer", "ReadExecutor"]

_T = TypeVar("_T")
_THREADS: Final = 2
_MAX_WAITING: Final = 64
#: how long an answer for anyone is kept
_KEPT_S: Final = 1.0


class ReadExecutor:
    """Runs up to two reads at once and lets up to 64 wait or run; loop only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="trimtab-read")
        #: for the endpoints for anyone, started when they are first needed
        self._apart = ThreadPoolExecutor(_THREADS, thread_name_prefix="trimtab-anyone")
        #: changes, one after the other: no number of reads delays them
        self._changes = ThreadPoolExecutor(1, thread_name_prefix="trimtab-change")
        self._waiting = 0

    async def run(self, work: Callable[..., _T], *arguments: Any, change: bool = False) -> _T:
        """Return what work returns, and raise what it raises; ApiError 503 when too many wait."""
        if self._waiting >= _MAX_WAITING:
            raise ApiError(
                503,
                "busy",
                f"{self._waiting} reads wait already: ask again",
                headers={"Retry-After": "1"},
            )
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            threads = self._changes if change else self._threads
            return await loop.run_in_executor(threads, work, *arguments)
        finally:
            self._waiting -= 1

    async def run_apart(self, work: Callable[[], _T]) -> _T:
        """Do the same in a thread that readers do not use; the caller bounds how many wait."""
        return await asyncio.get_running_loop().run_in_executor(self._apart, work)

    def close(self) -> None:
        """Finish the reads that run, drop those that wait."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._changes.shutdown(wait=True, cancel_futures=True)
        self._apart.shutdown(wait=True, cancel_futures=True)


class KeptAnswer:
    """One answer for everyone, at most a second old; loop only."""

    def __init__(
        self,
        executor: ReadExecutor,
        compute: Callable[[], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor = executor
        self._compute = compute
        self._clock = clock
        self._answer = b""
        self._until_s = -1.0
        self._refresh: asyncio.Task[bytes] | None = None

    async def get(self) -> bytes:
        """Return the answer; all who wait for a new one share one computation, or its failure."""
        if self._clock() < self._until_s:
            return self._answer
        if self._refresh is None:
            self._refresh = asyncio.create_task(self._new())
        # A caller that stops waiting does not undo it for the others.
        return await asyncio.shield(self._refresh)

    async def _new(self) -> bytes:
        try:
            self._answer = await self._executor.run_apart(self._compute)
            self._until_s = self._clock() + _KEPT_S
            return self._answer
        finally:
            self._refresh = None
