"""Records that wait to be summed up: by series key, in lists that are filled at the speed of C."""

import struct
import sys
from collections import defaultdict, deque
from typing import Final

from trimtab_core.messages import Samples
from trimtab_core.records import FLAG_CONTEXT, FLAG_QUEUED, FLAG_STREAMED, RECORD, RECORD_SIZE

__all__ = ["WaitingRecords", "distribute"]

#: Columns that are zero in most frames: the flag that says otherwise, the name, and the place in a
#: record, counted in words of 32 bits and then in words of 16 bits.
_RARE_WORDS: Final = (
    (FLAG_STREAMED, "ttfb_us", 4),
    (FLAG_QUEUED, "queue_us", 5),
    (FLAG_CONTEXT, "db_us", 6),
    (FLAG_CONTEXT, "external_us", 7),
    (FLAG_CONTEXT, "cache_us", 8),
)
_RARE_HALVES: Final = (
    (FLAG_CONTEXT, "db_calls", 20),
    (FLAG_CONTEXT, "external_calls", 21),
    (FLAG_CONTEXT, "cache_hits", 22),
    (FLAG_CONTEXT, "cache_misses", 23),
)


class WaitingRecords(dict[int, list[int]]):
    """Records of one app in one window, by series key: duration and bytes of each as one word."""

    def __init__(self) -> None:
        super().__init__()
        self.rare: dict[tuple[int, str], int] = defaultdict(int)
        #: all flags that occur in the keys
        self.flags = 0
        #: how many there are
        self.count = 0

    def __missing__(self, key: int) -> list[int]:
        self.flags |= key >> 24 & 0xFF
        words = self[key] = []
        return words


def distribute(samples: Samples, waiting: WaitingRecords) -> None:
    """Put the records of a frame into the lists of their series keys."""
    data, size = samples.data, samples.record_size
    if sys.byteorder == "big":
        data = _swapped(data, size)
    view = memoryview(data)
    quads = view.cast("Q")
    keys = quads[0 :: size // 8].tolist()
    # One C loop: for each record, the word of duration and bytes onto the list of its key.
    deque(map(list.append, map(waiting.__getitem__, keys), quads[1 :: size // 8]), maxlen=0)
    flags = waiting.flags
    rare: list[tuple[str, list[int]]] = []
    if flags & (FLAG_STREAMED | FLAG_QUEUED | FLAG_CONTEXT):
        words, halves = view.cast("I"), view.cast("H")
        for flag, name, at in _RARE_WORDS:
            if flags & flag:
                rare.append((name, words[at :: size // 4].tolist()))
        for flag, name, at in _RARE_HALVES:
            if flags & flag:
                rare.append((name, halves[at :: size // 2].tolist()))
    for name, column in rare:
        for key, value in zip(keys, column, strict=True):
            if value:
                waiting.rare[key, name] += value


def _swapped(data: bytes, record_size: int) -> bytes:
    """Return little-endian records with big-endian fields, for a big-endian machine."""
    native = struct.Struct(RECORD.format.replace("<", "="))
    rest = bytes(record_size - RECORD_SIZE)
    return b"".join(
        native.pack(*RECORD.unpack_from(data, start)) + rest
        for start in range(0, len(data), record_size)
    )
