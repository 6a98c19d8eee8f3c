"""The envelope of every answer, and the one exception that becomes an error of the API."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import msgspec

__all__ = [
    "CODES",
    "JSON_HEADERS",
    "ApiError",
    "ErrorBody",
    "bad_parameter",
    "epoch",
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


#: code of a refusal -> its status; docs/api.md says when each comes
CODES: Final[Mapping[str, int]] = {
    "bad_json": 400,
    "bad_batch": 400,
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "forbidden_origin": 403,
    "cross_site": 403,
    "wrong_password": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "name_taken": 409,
    "last_admin": 409,
    "set_up": 409,
    "too_many": 409,
    "read_only": 409,
    "ended": 409,
    "too_large": 413,
    "request_uri_too_long": 414,
    "unsupported_media_type": 415,
    "bad_parameter": 422,
    "bad_body": 422,
    "bad_name": 422,
    "bad_password": 422,
    "bad_rule": 422,
    "bad_silence": 422,
    "bad_channel": 422,
    "too_much": 422,
    "unstorable_batch": 422,
    "upgrade_required": 426,
    "too_many_tries": 429,
    "request_header_fields_too_large": 431,
    "internal": 500,
    "busy": 503,
    "unavailable": 503,
}


#: a day within what a datetime holds, in any zone
_FIRST_S: Final = -62_135_510_400.0
_LAST_S: Final = 253_402_214_400.0


class ApiError(Exception):
    """A request that is refused: status, code, and a sentence with what to do.

    Raises ValueError for a code that is not in CODES with this status.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if CODES.get(code) != status:
            raise ValueError(f"expected a code of CODES for status {status}, got {code!r}")
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


def instant(epoch_s: float | None = None, tz: tzinfo = UTC) -> str:
    """Return a time, else now, as ISO 8601 with milliseconds and its offset, Z for UTC.

    A time outside of the years 1 to 9999, which only a broken clock tells, is the nearest in them.
    """
    if epoch_s is None:
        moment = datetime.now(tz)
    else:
        moment = datetime.fromtimestamp(min(max(epoch_s, _FIRST_S), _LAST_S), tz)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch(text: str) -> float:
    """Return epoch seconds of ISO 8601, as `instant` writes it; raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


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
