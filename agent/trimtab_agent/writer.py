"""Writes the batches of a window to the spool, and wakes who sends them. Loop only."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from trimtab_agent.admission import Admission
from trimtab_agent.app import App
from trimtab_agent.contents import Contents
from trimtab_agent.faults import Faults
from trimtab_agent.spool import Spool
from trimtab_agent.window import batches_of, parted
from trimtab_core.batches import MAX_BATCH, Batch, encode
from trimtab_core.errors import TooLargeError

__all__ = ["BatchWriter"]


class BatchWriter:
    """Numbers the batches of one agent and boot, and writes them; wake is called for each.

    apps are the app processes by the name each has, as they are known at any time.
    """

    def __init__(
        self,
        spool: Spool,
        agent: str,
        boot: bytes,
        step_s: int,
        wake: Callable[[], None],
        faults: Faults,
        apps: Mapping[bytes, App],
    ) -> None:
        self._spool = spool
        self.admission = Admission(spool, step_s)
        self._apps = apps
        self._agent, self._boot, self._step_s = agent, boot, step_s
        self._wake = wake
        self._faults = faults
        self._seq = 0

    async def write(self, contents: Contents) -> None:
        """Write a window, at least one batch; what no batch has room for is counted as lost.

        While the spool is filling, whoever has more in it than a fair share (`Admission`) writes
        batches of his own: of his requests with as many of their series as have room in what is
        left to him, and as many measures and events. The rest of these are dropped and counted.
        """
        if not self.admission.look():
            await self._write(contents)
            return
        apps = list(self._apps.values())
        wanted = contents.sizes(apps)
        limits = self.admission.limits(wanted)
        if not limits:
            self.admission.note(wanted, await self._write(contents))
            return
        for holder, part in contents.parted(limits, apps).items():
            if holder not in limits:
                others = {each: size for each, size in wanted.items() if each not in limits}
                self.admission.note(others, await self._write(part))
                continue
            requests, rest = part.fitted(limits[holder])
            written = await self._write(requests)
            written += await self._write(rest, max(0, limits[holder] - written))
            self.admission.note({holder: 1}, written)

    async def _write(self, contents: Contents, most: int | None = None) -> int:
        """Write batches, drop those beyond so many bytes; return how many bytes were written."""
        written = 0
        for batch, requests in self._batches(contents, MAX_BATCH if most is None else most // 2):
            left = MAX_BATCH if most is None else most - written
            written += self._put(batch, requests, left)
            self._wake()
            await asyncio.sleep(0)
        return written

    def _batches(self, contents: Contents, row_bytes: int) -> Iterator[tuple[Batch, int]]:
        return batches_of(
            contents.window,
            agent=self._agent,
            boot=self._boot,
            first_seq=self._seq,
            step_s=self._step_s,
            closed_mono_us=time.monotonic_ns() // 1000,
            accounting=contents.accounting,
            gauges=contents.gauges,
            packed_rows=contents.packed_rows(row_bytes),
        )

    def _put(self, batch: Batch, requests: int, most: int) -> int:
        """Write a batch, in parts if it cannot be encoded as a whole; return the bytes written."""
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
            written = 0
            for part in parts:
                written += self._put(part, requests if part.points else 0, most - written)
            return written
        if len(payload) > most:
            self._spool.lose("share", requests)
            return 0
        self._spool.append(payload, samples=requests, window_s=batch.window_s)
        return len(payload)
