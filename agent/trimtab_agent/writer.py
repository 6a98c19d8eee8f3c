"""Writes the batches of a window to the spool, and wakes who sends them. Loop only."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from trimtab_agent.aggregator import Window
from trimtab_agent.faults import Faults
from trimtab_agent.spool import Spool
from trimtab_agent.window import batches_of, parted
from trimtab_core.batches import Batch, GaugeRow, ProcessAccounting, encode
from trimtab_core.errors import TooLargeError

__all__ = ["BatchWriter"]


class BatchWriter:
    """Numbers the batches of one agent and boot, and writes them; wake is called for each."""

    def __init__(
        self,
        spool: Spool,
        agent: str,
        boot: bytes,
        step_s: int,
        wake: Callable[[], None],
        faults: Faults,
    ) -> None:
        self._spool = spool
        self._agent, self._boot, self._step_s = agent, boot, step_s
        self._wake = wake
        self._faults = faults
        self._seq = 0

    async def write(
        self,
        window: Window,
        packed_rows: Iterable[bytes],
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
            self._put(batch, requests)
            self._wake()
            await asyncio.sleep(0)

    def _put(self, batch: Batch, requests: int) -> None:
        """Write a batch, in parts if it cannot be encoded as a whole."""
        batch = replace(batch, seq=self._seq)
        self._seq += 1
        try:
            payload = encode(batch)
        except Exception as error:  # noqa: BLE001 - one batch, whatever is in it
            parts = parted(batch)
            if not isinstance(error, TooLargeError):
                self._faults.note("encode")
            if not parts:
                reason = "too_large" if isinstance(error, TooLargeError) else "malformed"
                self._spool.lose(reason, requests)
            for part in parts:
                self._put(part, requests if part.points else 0)
            return
        self._spool.append(payload, samples=requests, window_s=batch.window_s)
