"""Real batches of two numbered records each, for tests that follow every record."""

from collections.abc import Iterator

from support.stores.batches import a_batch, accounting_of, key_of, point_of
from trimtab_core.batches import Batch, decode, encode

__all__ = ["WINDOW_S", "numbers_in", "numbers_of", "packed"]

#: start of the first window
WINDOW_S = 1_800_000_000


def packed(index: int) -> bytes:
    """Return a batch that claims the records 2 * index and 2 * index + 1."""
    points = {key_of("/a"): point_of([1000 + index]), key_of("/b"): point_of([20])}
    claim = accounting_of([(2 * index, 2)], sent=2 * index + 2)
    window_s = WINDOW_S + index // 2 * 10
    return encode(a_batch(index, points, window_s=window_s, closed_us=1, processes=[claim]))


def numbers_of(batch: Batch) -> Iterator[int]:
    """Yield the numbers of the records that a batch claims."""
    for process in batch.processes:
        for first, count in process.ranges:
            yield from range(first, first + count)


def numbers_in(payload: bytes) -> set[int]:
    """Return the numbers of the records in an encoded batch."""
    return set(numbers_of(decode(payload)))
