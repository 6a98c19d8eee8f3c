"""Where reads are computed: in two threads, so that they never delay ingest."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from trimtab_collector.contract.errors import ApiError

__all__ = ["ReadExecutor"]

_T = TypeVar("_T")
_THREADS: Final = 2
_MAX_WAITING: Final = 64


class ReadExecutor:
    """Runs up to two reads at once and lets up to 64 wait or run; loop only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="trimtab-read")
        self._waiting = 0

    async def run(self, work: Callable[..., _T], *arguments: Any) -> _T:
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
            return await loop.run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish the reads that run, drop those that wait."""
        self._threads.shutdown(wait=True, cancel_futures=True)
