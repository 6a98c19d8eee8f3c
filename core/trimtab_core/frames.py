"""Frames on the socket between app and agent: u32 big-endian length, then msgpack `[type, ...]`.

A frame has at most 256 KiB (5,400 records). That also bounds the memory of a reader per connection,
and what a hostile frame can unpack to (about 16 MB of empty lists).
"""

import struct
from collections.abc import Iterator
from typing import Any, Final, Protocol

import msgpack

from trimtab_core.errors import FrameError
from trimtab_core.unpacking import MAX_MAP

__all__ = ["MAC_BYTES", "MAX_FRAME", "FrameReader", "Sealing", "encode"]

#: Largest payload of a frame, in bytes, without its length prefix.
MAX_FRAME: Final = 256 * 1024
#: Bytes that a seal adds to a payload.
MAC_BYTES: Final = 16
_LENGTH: Final = struct.Struct(">I")
_MAX_ITEMS: Final = 70_000


class Sealing(Protocol):
    """Makes and checks the MACs of frames (`trimtab_core.seal`)."""

    def mac(self, payload: bytes, /) -> bytes:
        """Return the MAC of the next frame."""

    def check(self, payload: memoryview, /) -> memoryview:
        """Return the next payload without its MAC; raises FrameError for a wrong one."""


def encode(message: list[Any], seal: Sealing | None = None) -> bytes:
    """Return the frame of a message; raises FrameError if it would be longer than MAX_FRAME.

    With a seal it ends in a MAC, and frames must be sent in the order in which they were made.
    """
    payload: bytes = msgpack.packb(message, use_bin_type=True)
    if len(payload) + (0 if seal is None else MAC_BYTES) > MAX_FRAME:
        raise FrameError(
            f"a frame holds at most {MAX_FRAME} bytes, {message[0]!r} has {len(payload)}"
        )
    if seal is not None:
        payload += seal.mac(payload)
    return _LENGTH.pack(len(payload)) + payload


def decode(payload: bytes | bytearray | memoryview) -> list[Any]:
    """Return the message in a frame's payload; raises FrameError if it is not one."""
    try:
        message = msgpack.unpackb(
            payload,
            raw=False,
            strict_map_key=False,
            max_array_len=_MAX_ITEMS,
            max_map_len=MAX_MAP,
            max_str_len=MAX_FRAME,
            max_bin_len=MAX_FRAME,
            max_ext_len=0,
        )
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        # UnicodeDecodeError, ExtraData, FormatError and StackError (depth) are ValueErrors.
        raise FrameError(f"expected msgpack in a frame, got {type(error).__name__}") from error
    if not isinstance(message, list) or not message or not isinstance(message[0], str):
        raise FrameError("expected a frame of the form [type, ...]")
    return message


class FrameReader:
    """Cuts a byte stream into messages; keeps at most one unfinished frame.

    Not thread-safe. After a FrameError nothing more can be read: close the connection.
    """

    __slots__ = ("_buffer", "_needed", "joined", "limit", "seal")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        #: length of the unfinished frame in bytes, 0 until it is known
        self._needed = 0
        #: largest payload accepted; may be changed between two frames
        self.limit = limit
        #: how often an unfinished frame was read on; it stays while one frame does not end
        self.joined = 0
        #: checks the MACs of the frames that follow; may be set between two frames
        self.seal: Sealing | None = None

    @property
    def held(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._buffer)

    def feed(self, data: bytes | memoryview) -> Iterator[list[Any]]:
        """Yield the messages that data completes; raises FrameError at a malformed frame.

        The buffer behind data may be reused when the iterator has ended.
        """
        held: bytes | bytearray | memoryview = data
        if self._buffer:
            self._buffer += data
            # A frame that comes in many pieces is parsed once, when it is whole, without a copy.
            if len(self._buffer) < self._needed:
                return
            held, self._buffer = self._buffer, bytearray()
            self.joined += 1
        self._needed = 0
        start, end = 0, len(held)
        view = memoryview(held)
        while end - start >= 4:
            (length,) = _LENGTH.unpack_from(view, start)
            if length > self.limit:
                raise FrameError(f"a frame holds at most {self.limit} bytes, one claims {length}")
            if not length:
                raise FrameError("expected a frame of the form [type, ...], got an empty one")
            stop = start + 4 + length
            if stop > end:
                self._needed = stop - start
                break
            payload = view[start + 4 : stop]
            message = decode(payload if self.seal is None else self.seal.check(payload))
            start = stop
            yield message
        self._buffer += view[start:]
