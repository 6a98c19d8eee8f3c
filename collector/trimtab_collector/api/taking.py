"""The body of a request: JSON of at most 256 KiB, of the type that the endpoint takes."""

from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request

from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.mistakes import UNKNOWN, mistake

__all__ = ["read_body"]

_MAX_BYTES: Final = 256 * 1024


async def read_body(request: Request, kind: type[Any]) -> Any:
    """Return the body as a kind of Struct.

    Raises ApiError 415 for another type of content, 413 for too much, 400 for what is not JSON, and
    422 for JSON of another shape.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise ApiError(
            415,
            "unsupported_media_type",
            f"expected Content-Type: application/json, got {content_type or 'none'!r:.80}",
        )
    data = bytearray()
    try:
        async for part in request.stream():
            data += part
            if len(data) > _MAX_BYTES:
                raise ApiError(413, "too_large", f"expected a body of at most {_MAX_BYTES} bytes")
    except ClientDisconnect:
        raise ApiError(400, "bad_json", "expected a whole body, got a part of it") from None
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        message = f"{mistake(error, _untyped(bytes(data)), kind)}: see /openapi.json"
        raise ApiError(422, "bad_body", message) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, "bad_json", f"expected a body of JSON, got: {error!s:.200}") from error


def _untyped(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UNKNOWN
