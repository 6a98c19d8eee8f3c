"""Unpacks msgpack of a peer within bounds: bytes, lists and maps, entries of each.

An empty list of one byte becomes an object of 56 bytes, so bytes alone bound nothing.
"""

from typing import Any, Final

import msgpack

from trimtab_core.errors import BatchError

__all__ = ["MAX_MAP", "unpacked"]

#: Entries of a map. Keys that are numbers can be chosen so that all collide in Python's dict: a map
#: of 20,000 took 0.35 s. Texts cannot, their hashes are seeded; our largest map has some 30.
MAX_MAP: Final = 128

#: Bytes that begin no list and no map. What is left without them is at least their number.
_OTHERS: Final = bytes(
    byte for byte in range(256) if not (0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF)
)


def unpacked(data: bytes, *, containers: int, items: int, text: int, binary: int = 0) -> Any:
    """Return the value in data.

    Raises BatchError for what is malformed, has more than so many lists and maps, entries in a
    list, 128 in a map, characters in a text, or bytes in a binary.
    """
    budget = containers

    def counted(container: Any) -> Any:
        nonlocal budget
        budget -= 1
        if budget < 0:
            raise ValueError(f"more than {containers} lists and maps")
        return container

    # Counting is a call for each; where the bytes cannot be so many, there is nothing to count.
    is_suspect = len(data) > containers and len(data.translate(None, _OTHERS)) > containers
    hook = counted if is_suspect else None
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=False,
            list_hook=hook,
            object_hook=hook,
            max_array_len=items,
            max_map_len=min(items, MAX_MAP),
            max_str_len=text,
            max_bin_len=binary,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise BatchError(f"expected msgpack, got {type(error).__name__}: {error!s:.100}") from error
