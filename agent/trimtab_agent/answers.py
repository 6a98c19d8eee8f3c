"""A request to the collector and its answer, bounded in time and size whoever answers.

A proxy in between may send megabytes, or a byte at a time for ever, and the client's timeouts apply
to single reads. It may also answer in the collector's place: what was cut off, or is not in the
form of the collector's answers, is no yes.
"""

import asyncio
import json
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx

__all__ = ["Answer", "ask", "no_cookies"]

_MAX_BODY: Final = 64 * 1024
_MOST_WATCH_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; body is cut after 64 KiB."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_receipt(self) -> bool:
        """Whether it says, as only the collector does, that a batch was received."""
        try:
            return self.status == 202 and isinstance(self._decoded()["duplicate"], bool)
        except (ValueError, KeyError, TypeError, RecursionError):
            return False

    @property
    def is_refusal(self) -> bool:
        """Whether it says in the collector's form why a batch is refused."""
        try:
            return self.status >= 400 and isinstance(self._decoded()["error"]["code"], str)
        except (ValueError, KeyError, TypeError, RecursionError):
            return False

    @property
    def watch_s(self) -> float | None:
        """For how long one-second summaries are wanted, None when the body does not say."""
        try:
            seconds = float(self._decoded()["watchSeconds"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return min(seconds, _MOST_WATCH_S) if seconds > 0 else 0.0

    @property
    def sentence(self) -> str:
        """Why the request was refused: the collector's sentence, or else the status."""
        if 300 <= self.status < 400:
            target = self.headers.get("location", "")
            return (
                f"it redirects to {target!r:.200}, where nothing was sent: if that is the "
                "collector, set collector_url to it"
            )
        if self.status < 300:
            kind = self.headers.get("content-type", "a body without a type")
            return (
                f"expected the collector's answer, got {self.status} {kind!r:.100}: something "
                "else answers in its place, such as a proxy with a page of its own"
            )
        try:
            return str(self._decoded()["error"]["message"])[:300]
        except (ValueError, KeyError, TypeError, RecursionError):
            return f"HTTP {self.status}"

    @property
    def refused_service(self) -> tuple[str, str] | None:
        """The environment and service that the key may not write, where that is the cause."""
        try:
            details = self._decoded()["error"]["details"]
            environment, service = details["environment"], details["service"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        are_texts = isinstance(environment, str) and isinstance(service, str)
        return (environment, service) if self.status == 403 and are_texts else None

    def _decoded(self) -> Any:
        return json.loads(self.body)


def no_cookies() -> CookieJar:
    """Return a jar that stays empty: whoever answers could fill another one without bound."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


async def ask(client: httpx.AsyncClient, request: httpx.Request, within_s: float) -> Answer:
    """Send a request and return its answer.

    Raises httpx.HTTPError, or OSError (TimeoutError among them) when no headers came in time.
    """
    until = asyncio.get_running_loop().time() + within_s
    async with asyncio.timeout_at(until):
        response = await client.send(request, stream=True)
    body = bytearray()
    try:
        async with asyncio.timeout_at(until):
            # Not decompressed: a body that is compressed, which we do not ask for, may be a bomb.
            async for piece in response.aiter_raw():
                body += piece
                if len(body) >= _MAX_BODY:
                    break
    except (httpx.HTTPError, OSError):
        pass
    finally:
        await response.aclose()
    return Answer(response.status_code, response.headers, bytes(body[:_MAX_BODY]))
