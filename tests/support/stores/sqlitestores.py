"""Batches put into a SQLite store of this process, as the collector would."""

import asyncio

from trimtab_collector.storage.columns import columns_of_batch
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.store import Received
from trimtab_core.batches import Batch, decode, encode
from trimtab_core.rows import unpack_rows

__all__ = ["append", "received"]


def received(store: SQLiteStore, batch: Batch) -> Received:
    raw = encode(batch)
    batch = decode(raw)
    known = store.series.know(batch.series)
    window_s = batch.window_s - batch.window_s % 10
    columns = columns_of_batch(batch, known.ids, window_s)
    requests = int(columns.value("requests").sum())
    totals = {known.services[0]: (requests, 0)} if known.services else {}
    read_s = window_s + batch.step_s
    rows = unpack_rows(batch.rows)
    return Received(batch, raw, columns, window_s, batch.closed_us, read_s, totals, *rows)


def append(store: SQLiteStore, *batches: Batch) -> list[bool]:
    """Append batches at once and return which of them were duplicates."""

    async def work() -> list[bool]:
        waiting = [store.append(received(store, batch)) for batch in batches]
        return list(await asyncio.gather(*waiting))

    return asyncio.run(work())
