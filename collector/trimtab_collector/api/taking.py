"""The body of a request: JSON of at most 256 KiB, of the type that the endpoint takes.

Of those who are not let in yet it is 8 KiB: a name, a password, a token. What all bodies hold that
are being read is bounded too, apart for these and for callers; one address has a quarter of it.
"""

from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request

from trimtab_collector.budget import ReadingBudget
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.mistakes import UNKNOWN, mistake
from trimtab_core.addresses import network_of

__all__ = ["Bodies"]

_MAX_BYTES: Final = 256 * 1024
_MAX_READING_BYTES: Final = 16 * 1024 * 1024
_ANYONE_BYTES: Final = 8 * 1024
_ANYONE_READING_BYTES: Final = 8 * 1024 * 1024
#: one address has one in so many parts of them
_SENDERS: Final = 4


class Bodies:
    """Reads bodies of up to some bytes each, and some bytes of all at once; loop only."""

    def __init__(
        self, most_bytes: int = _MAX_BYTES, most_reading_bytes: int = _MAX_READING_BYTES
    ) -> None:
        self._most_bytes = most_bytes
        self._reading = ReadingBudget(most_reading_bytes, _SENDERS, most_bytes)

    @classmethod
    def of_anyone(cls) -> "Bodies":
        """Return what reads bodies of those who are not let in yet."""
        return cls(_ANYONE_BYTES, _ANYONE_READING_BYTES)

    async def read(self, request: Request, kind: type[Any]) -> Any:
        """Return the body as a kind of Struct.

        Raises ApiError 415 for another type of content, 413 for too much, 503 when too much of
        others is being read, 400 for what is not JSON, and 422 for JSON of another shape.
        """
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            raise ApiError(
                415,
                "unsupported_media_type",
                f"expected Content-Type: application/json, got {content_type or 'none'!r:.80}",
            )
        data = await self._whole(request)
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.ValidationError as error:
            message = f"{mistake(error, _untyped(bytes(data)), kind)}: see /openapi.json"
            raise ApiError(422, "bad_body", message) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            message = f"expected a body of JSON, got: {error!s:.200}"
            raise ApiError(400, "bad_json", message) from error

    async def _whole(self, request: Request) -> bytes:
        stated = request.headers.get("content-length", "")
        if len(stated) > 18 or (stated.isdigit() and int(stated) > self._most_bytes):
            raise self._too_large()
        data = bytearray()
        held = 0
        sender = network_of(request.client.host) if request.client else ""
        try:
            async for part in request.stream():
                if len(data) + len(part) > self._most_bytes:
                    raise self._too_large()
                data += part
                held += len(part)
                if not self._reading.take(sender, len(part)):
                    raise ApiError(
                        503,
                        "busy",
                        "too many bodies are being read: send it again",
                        headers={"Retry-After": "2", "Connection": "close"},
                    )
        except ClientDisconnect:
            raise ApiError(400, "bad_json", "expected a whole body, got a part of it") from None
        finally:
            self._reading.give(sender, held)
        return bytes(data)

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            "too_large",
            f"expected a body of at most {self._most_bytes} bytes",
            headers={"Connection": "close"},
        )


def _untyped(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNKNOWN
