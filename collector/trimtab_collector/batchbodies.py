"""Bodies of requests with batches: read whole, within limits of size, time and memory."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from trimtab_collector.budget import ReadingBudget
from trimtab_collector.contract.errors import ApiError

__all__ = ["BatchBodies", "Receive"]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_BODY_S: Final = 30
#: of what bodies may hold that are being read, those of one key have one in so many parts
_SENDERS: Final = 2


class BatchBodies:
    """Reads bodies of at most most_bytes, and most_reading_bytes of all at once; loop only.

    Of those, one sender has half.
    """

    def __init__(self, most_bytes: int, most_reading_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._reading = ReadingBudget(most_reading_bytes, _SENDERS, most_bytes)

    async def read(self, headers: dict[bytes, bytes], receive: Receive, sender: str) -> bytes:
        """Return the body of a request of a sender; raises ApiError 400, 408, 413, 503."""
        stated = headers.get(b"content-length", b"0")
        if stated.isdigit() and (len(stated) > 18 or int(stated) > self._most_bytes):
            raise self._too_large(stated.decode())
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "bad_request", "expected a body, the connection was closed")
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(body) > self._most_bytes:
                raise self._too_large(len(body))
            return body
        held = 0
        pieces = bytearray()
        try:
            async with asyncio.timeout(_BODY_S):
                while True:
                    pieces += body
                    if len(pieces) > self._most_bytes:
                        raise self._too_large(len(pieces))
                    held += len(body)
                    if not self._reading.take(sender, len(body)):
                        message_ = "too many batches arrive at once: send the batch again"
                        raise ApiError(503, "unavailable", message_, headers={"Retry-After": "2"})
                    if not message.get("more_body"):
                        return bytes(pieces)
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ApiError(400, "bad_request", "expected the rest of a body, got none")
                    body = message.get("body", b"")
        except TimeoutError:
            raise ApiError(
                408,
                "request_timeout",
                f"expected the whole body within {_BODY_S} s",
                {"got": len(pieces)},
            ) from None
        finally:
            self._reading.give(sender, held)

    def _too_large(self, size: object) -> ApiError:
        return ApiError(
            413,
            "too_large",
            f"expected a batch of at most {self._most_bytes} bytes, got {size!s:.18}: "
            "split it or drop it",
            headers={"Connection": "close"},
        )
