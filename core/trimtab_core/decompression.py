"""Unpacks zstd of a peer within bounds: size before and after, window, one frame only."""

import threading
from typing import Final

import zstandard

from trimtab_core.errors import BatchError, TooLargeError

__all__ = ["decompressed"]

_MAX_WINDOW: Final = 8 * 1024 * 1024
_PIECE: Final = 64 * 1024
_SMALL: Final = 128 * 1024


class _Local(threading.local):
    """One decompressor per thread: making one costs as much as a batch, sharing one is unsafe."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)


_local: Final = _Local()


def decompressed(data: bytes, most: int) -> bytes:
    """Return what one zstd frame unpacks to.

    Size claims in the frame are not trusted. Raises TooLargeError for data, or what it unpacks to,
    of more than so many bytes, BatchError for any other fault.
    """
    if len(data) > most:
        raise TooLargeError(f"a packed batch holds at most {most} bytes, got {len(data)}")
    pieces: list[bytes] = []
    size = 0
    try:
        if data and 0 < zstandard.frame_content_size(data) <= min(_SMALL, most):
            # Trusted with so little, the one-shot call takes less time.
            return _local.decompressor.decompress(data, allow_extra_data=False)
        # In pieces: the one-shot call trusts the size stated in the frame, and a single read of the
        # limit would allocate the limit for every batch.
        # Across frames: whatever follows the first one makes the body too long, and is refused.
        with _local.decompressor.stream_reader(data, read_across_frames=True) as reader:
            while size <= most and (piece := reader.read(_PIECE)):
                pieces.append(piece)
                size += len(piece)
    except (zstandard.ZstdError, MemoryError) as error:
        raise BatchError(f"expected one zstd frame, got {error}") from error
    if size > most:
        raise TooLargeError(f"a batch holds at most {most} bytes unpacked")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
