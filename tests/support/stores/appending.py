"""Batches put into a store of this process, as the collector would."""

import asyncio
from collections.abc import Mapping

from trimtab_collector.storage.store import Received, Store
from trimtab_core.batches import Batch, decode, encode
from trimtab_core.rows import unpack_rows

__all__ = ["append", "received"]


def received(
    store: Store,
    batch: Batch,
    totals: Mapping[tuple[str, str], tuple[int, int]] | None = None,
    key: str = "",
) -> Received:
    """Return a batch as ingest hands it to the store, sent with a key.

    totals are requests and background records by service; without them the batch has one service.
    """
    raw = encode(batch)
    batch = decode(raw)
    window_s = batch.window_s if batch.live else batch.window_s - batch.window_s % 10
    numbered = store.number(batch, window_s, lambda _: None)
    if totals is None:
        requests = int(numbered.columns.value("requests").sum())
        totals = {numbered.services[0]: (requests, 0)} if numbered.services else {}
    read_s = window_s + batch.step_s
    rows = unpack_rows(batch.rows)
    return Received(batch, raw, numbered, window_s, batch.closed_us, read_s, totals, *rows, key)


def append(store: Store, *batches: Batch, key: str = "") -> list[bool]:
    """Append batches at once, sent with a key, and return which of them were duplicates."""

    async def work() -> list[bool]:
        waiting = [store.append(received(store, batch, key=key)) for batch in batches]
        return list(await asyncio.gather(*waiting))

    return asyncio.run(work())
