"""Where answers are computed: in threads, so that they never delay ingest.

Readers have two threads and 64 places, of which one caller takes 32 at most. Changes have a thread
and 64 places of their own: no number of reads keeps an admin from changing something. Answers for
anyone are computed apart from both, and are shared (api/shared.py): no number of requests without a
token costs more than one computation per second, or takes a place from a reader.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from trimtab_collector.contract.errors import ApiError

__all__ = ["ReadExecutor"]

_T = TypeVar("_T")
_THREADS: Final = 2
_MAX_WAITING: Final = 64
#: of one caller
_MAX_OWN: Final = _MAX_WAITING // 2


class ReadExecutor:
    """Runs up to two reads and one change at once; up to 64 of each wait or run; loop only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="trimtab-read")
        #: for the endpoints for anyone, started when they are first needed
        self._apart = ThreadPoolExecutor(_THREADS, thread_name_prefix="trimtab-anyone")
        #: changes, one after the other: no number of reads delays them
        self._changes = ThreadPoolExecutor(1, thread_name_prefix="trimtab-change")
        self._changing = 0
        #: reads that wait or run, by who asked
        self._reading: Counter[str] = Counter()

    async def run(self, work: Callable[..., _T], *arguments: Any, by: str = "") -> _T:
        """Return what a read returns, and raise what it raises; ApiError 503 when too many wait.

        by is the id of a caller, who has half of the places at most; none is the collector itself.
        """
        with self._read_place(by):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    async def change(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Do the same with a change, one after the other."""
        if self._changing >= _MAX_WAITING:
            raise _busy(f"{self._changing} changes wait already")
        self._changing += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._changes, work, *arguments)
        finally:
            self._changing -= 1

    async def run_apart(self, work: Callable[[], _T]) -> _T:
        """Do the same in a thread that readers do not use; the caller bounds how many wait."""
        return await asyncio.get_running_loop().run_in_executor(self._apart, work)

    @contextmanager
    def _read_place(self, by: str) -> Iterator[None]:
        waiting, own = self._reading.total(), self._reading[by]
        if waiting >= _MAX_WAITING:
            raise _busy(f"{waiting} reads wait already")
        if by and own >= _MAX_OWN:
            raise _busy(f"{own} reads of yours wait already")
        self._reading[by] += 1
        try:
            yield
        finally:
            self._reading[by] -= 1
            if not self._reading[by]:
                del self._reading[by]

    def close(self) -> None:
        """Finish the reads that run, drop those that wait."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._changes.shutdown(wait=True, cancel_futures=True)
        self._apart.shutdown(wait=True, cancel_futures=True)


def _busy(what: str) -> ApiError:
    return ApiError(503, "busy", f"{what}: ask again", headers={"Retry-After": "1"})
