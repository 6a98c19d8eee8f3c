"""Records that wait for the agent, as chunks with their clock pair, in bounded memory."""

from collections import deque
from time import monotonic_ns, time_ns
from typing import Final

from trimtab_core.records import RECORD_SIZE

__all__ = ["FRAME_RECORDS", "Chunk", "ChunkBacklog"]

#: 48 kB: taking, packing and sending a frame holds the GIL for about 0.03 ms.
FRAME_RECORDS: Final = 1024
_FRAME_BYTES: Final = FRAME_RECORDS * RECORD_SIZE
#: Memory of a chunk besides its records.
_CHUNK_BYTES: Final = 256
_FREE_CHUNKS: Final = 100
#: Chunks this close in time are joined while they wait.
_JOIN_US: Final = 1_000_000


class Chunk:
    """Records that were taken at one time, at most a frame of them."""

    __slots__ = ("data", "mono_us", "since", "wall_us")

    def __init__(self, wall_us: int, mono_us: int, since: float, data: bytearray) -> None:
        self.wall_us = wall_us
        self.mono_us = mono_us
        #: monotonic seconds before which none of its records was appended
        self.since = since
        self.data = data


class ChunkBacklog:
    """The chunks of an emitter, oldest first; over most_bytes the oldest go, counted.

    Belongs to the emitter's thread; others may read `held_bytes` and `dropped`.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._chunks: deque[Chunk] = deque()
        self.held_bytes = 0
        #: the oldest one, while the frame that holds it is being sent: it stays
        self.in_flight: Chunk | None = None
        #: records dropped, by reason
        self.dropped: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._chunks)

    @property
    def first(self) -> Chunk | None:
        """Return the oldest chunk."""
        return self._chunks[0] if self._chunks else None

    def add(self, data: bytes, since: float) -> None:
        """Add records that were taken just now, none of them appended before since."""
        wall_us, mono_us = time_ns() // 1000, monotonic_ns() // 1000
        last = self._chunks[-1] if self._chunks else None
        joins = (
            last is not None
            and last is not self.in_flight
            and 0 <= mono_us - last.mono_us < _JOIN_US
            and len(last.data) + len(data) <= _FRAME_BYTES
        )
        if joins and last is not None:
            last.data += data
        else:
            for start in range(0, len(data), _FRAME_BYTES):
                part = bytearray(data[start : start + _FRAME_BYTES])
                self._chunks.append(Chunk(wall_us, mono_us, since, part))
        self.held_bytes += len(data)
        while self._size() > self._most_bytes and len(self._chunks) > 1:
            # A frame that has begun is finished.
            self._drop(1 if self._chunks[0] is self.in_flight else 0, "agent_away")

    def _size(self) -> int:
        # A quiet app makes many small chunks while the agent is away: their own cost counts, too.
        return self.held_bytes + max(0, len(self._chunks) - _FREE_CHUNKS) * _CHUNK_BYTES

    def sent(self) -> int:
        """Forget the chunk in flight, which was sent to its end; return how many records it had."""
        if self.in_flight is None:
            return 0
        chunk = self._chunks.popleft()
        self.held_bytes -= len(chunk.data)
        self.in_flight = None
        return len(chunk.data) // RECORD_SIZE

    def set_aside(self) -> bool:
        """Drop the chunk in flight, of which no frame can be made; tell whether there is one."""
        if self.in_flight is None:
            return False
        self.in_flight = None
        self._drop(0, "unsendable")
        return True

    def count_lost(self, size_bytes: int) -> None:
        """Count records that could not be added."""
        lost = size_bytes // RECORD_SIZE
        self.dropped["unsendable"] = self.dropped.get("unsendable", 0) + lost

    def _drop(self, index: int, reason: str) -> None:
        chunk = self._chunks[index]
        del self._chunks[index]
        self.held_bytes -= len(chunk.data)
        self.dropped[reason] = self.dropped.get(reason, 0) + len(chunk.data) // RECORD_SIZE
