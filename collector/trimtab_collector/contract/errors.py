"""The envelope of every answer, and the one exception that becomes an error of the API."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

__all__ = [
    "JSON_HEADERS",
    "ApiError",
    "ErrorBody",
    "bad_parameter",
    "failure",
    "instant",
    "success",
]

#: headers of every answer of the collector
JSON_HEADERS: Final[list[tuple[bytes, bytes]]] = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class ApiError(Exception):
    """A request that is refused: status, code, and a sentence with what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.headers = dict(headers or {})


def bad_parameter(name: str, expected: str, got: str) -> ApiError:
    """Return the refusal of a parameter."""
    return ApiError(
        422,
        "bad_parameter",
        f"parameter {name!r:.40}: expected {expected}, got {got!r:.80}",
        {"parameter": name[:40]},
    )


def instant(epoch_s: float | None = None) -> str:
    """Return a time, else now, as ISO 8601 in UTC with milliseconds and Z."""
    moment = datetime.now(UTC) if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def success(data: Any) -> bytes:
    """Return the body of an answer."""
    return msgspec.json.encode({"success": True, "data": data, "timestamp": instant()})


class ErrorBody(msgspec.Struct):
    """A refusal: a code to branch on, and a sentence with what to do."""

    code: str
    message: str
    details: dict[str, Any]


def failure(error: ApiError) -> bytes:
    """Return the body of a refusal."""
    body = ErrorBody(error.code, error.message, error.details)
    return msgspec.json.encode({"success": False, "error": body, "timestamp": instant()})
