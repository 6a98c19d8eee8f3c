"""Writes the batches of a window to the spool, and wakes who sends them. Loop only."""

import asyncio
import time
from collections.abc import Callable, Sequence

from trimtab_agent.aggregator import Window
from trimtab_agent.spool import Spool
from trimtab_agent.window import batches_of
from trimtab_core.batches import GaugeRow, ProcessAccounting, encode
from trimtab_core.errors import TooLargeError

__all__ = ["BatchWriter"]


class BatchWriter:
    """Numbers the batches of one agent and boot, and writes them; wake is called for each."""

    def __init__(
        self, spool: Spool, agent: str, boot: bytes, step_s: int, wake: Callable[[], None]
    ) -> None:
        self._spool = spool
        self._agent, self._boot, self._step_s = agent, boot, step_s
        self._wake = wake
        self._seq = 0

    async def write(
        self,
        window: Window,
        packed_rows: Sequence[bytes],
        accounting: Sequence[ProcessAccounting] = (),
        gauges: Sequence[GaugeRow] = (),
    ) -> None:
        """Write a window, at least one batch; what no batch has room for is counted as lost."""
        for batch, requests in batches_of(
            window,
            agent=self._agent,
            boot=self._boot,
            first_seq=self._seq,
            step_s=self._step_s,
            closed_mono_us=time.monotonic_ns() // 1000,
            accounting=accounting,
            gauges=gauges,
            packed_rows=packed_rows,
        ):
            self._seq = batch.seq + 1
            try:
                self._spool.append(encode(batch), samples=requests, window_s=window.start_s)
            except TooLargeError:  # names as long as they may be, all over
                self._spool.lose("too_large", requests)
            self._wake()
            await asyncio.sleep(0)
