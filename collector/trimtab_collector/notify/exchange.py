"""One HTTP request to a receiver: sent whole, answered with a status, over a guarded connection.

It is HTTP/1.1 (RFC 9112) without reuse of connections. Redirects are not followed, and the body of
an answer is not read: nothing of it may be shown.
"""

import asyncio
import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from trimtab_collector.notify.channel import DeliveryError
from trimtab_collector.notify.outbound import Outbound, allow, reason
from trimtab_core.errors import SettingsError

__all__ = ["Target", "obstacle", "post"]

#: for all of it: name, connection, TLS, request, answer
EXCHANGE_S: Final = 15.0
#: largest head of an answer
_MAX_HEAD: Final = 64 * 1024
_MAX_RETRY_AFTER_S: Final = 3600.0
#: the same request will be refused again: it is malformed, too large or for what is gone
_LASTING: Final = frozenset({400, 410, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class Target:
    """An address to send to."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str, where: str) -> "Target":
        """Return the parts of an address; raises SettingsError that begins with `where`."""
        # An address may hold a token, so it is not shown.
        wanted = f"{where}: expected an address such as https://host/path"
        if not url.isascii() or not url.isprintable() or " " in url or len(url) > 2000:
            raise SettingsError(f"{wanted}, got one with other characters or over 2000 of them")
        try:
            parts = urlsplit(url)
            port = parts.port or (80 if parts.scheme == "http" else 443)
        except ValueError as error:
            raise SettingsError(f"{wanted}, got: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{wanted}, got one with scheme {parts.scheme!r:.20}")
        if parts.username is not None:
            raise SettingsError(f"{wanted}, got one with a login: set authorization instead")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, parts.hostname, port, path)

    @property
    def place(self) -> str:
        """Host and port, as in the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (80 if self.scheme == "http" else 443)
        return host if usual else f"{host}:{self.port}"

    def below(self, path: str) -> "Target":
        """Return the address of a path below this one."""
        return Target(self.scheme, self.host, self.port, self.path.rstrip("/") + path)


async def post(outbound: Outbound, target: Target, body: bytes, headers: Mapping[str, str]) -> None:
    """Send a body; return when the receiver took it (2xx).

    Raises DeliveryError for everything else, within EXCHANGE_S.
    """
    place = target.place
    if wrong := _in_the_clear(outbound, target):
        raise DeliveryError(wrong)
    try:
        async with asyncio.timeout(EXCHANGE_S):
            status, fields = await _exchange(outbound, target, body, headers)
    except TimeoutError:
        raise DeliveryError(f"{place} did not answer within {EXCHANGE_S:g} s") from None
    except (OSError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
        raise DeliveryError(f"{place}: {reason(error)}") from error
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise DeliveryError(f"{place} answered {status}: redirects are not followed")
    retry_after_s = _retry_after(fields.get("retry-after", ""), time.time())
    raise DeliveryError(
        f"{place} answered {status}", lasting=status in _LASTING, retry_after_s=retry_after_s
    )


def obstacle(outbound: Outbound, target: Target) -> str:
    """Return why nothing can ever be posted there by the settings; "" when it may."""
    return outbound.refusal(target.host, target.port) or _in_the_clear(outbound, target)


def _in_the_clear(outbound: Outbound, target: Target) -> str:
    if target.scheme != "http" or outbound.allows(target.host, target.port):
        return ""
    return f"expected https, got http to {target.place}; {allow(target.host, target.port)}"


async def _exchange(
    outbound: Outbound, target: Target, body: bytes, headers: Mapping[str, str]
) -> tuple[int, Mapping[str, str]]:
    """Return status and headers of the answer."""
    secure = target.scheme == "https"
    connection = await outbound.connect(target.host, target.port, by_proxy=secure)
    try:
        # The transport owns the connection, and closes it when this fails.
        reader, writer = await asyncio.open_connection(
            sock=connection,
            limit=_MAX_HEAD,
            ssl=outbound.tls if secure else None,
            server_hostname=target.host if secure else None,
        )
    except OSError:
        raise  # also of a certificate, which is a ValueError besides
    except ValueError:
        # TLS refused the name, so that there never was a transport.
        connection.close()
        raise
    try:
        writer.write(_head(target, len(body), headers) + body)
        await writer.drain()
        while True:
            status, fields = _read_head(await reader.readuntil(b"\r\n\r\n"))
            # Interim answers (RFC 9110, section 15.2) announce the one that counts.
            if status >= 200:
                return status, fields
    finally:
        # The end of TLS is not waited for: nothing follows the answer.
        (writer.transport.abort if secure else writer.close)()


def _head(target: Target, length: int, headers: Mapping[str, str]) -> bytes:
    fields = {
        "Host": target.place,
        "User-Agent": "trimtab",
        "Content-Length": str(length),
        "Connection": "close",
        **headers,
    }
    if any(not (name + text).isprintable() for name, text in fields.items()):
        raise DeliveryError("expected headers of printable characters", lasting=True)
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {text}" for name, text in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        raise DeliveryError("expected an answer of HTTP/1.1, got something else")
    pairs = (line.partition(":") for line in lines)
    return int(rest[:3]), {name.strip().lower(): text.strip() for name, _, text in pairs}


def _retry_after(text: str, now_s: float) -> float:
    """Return the seconds that a Retry-After names (RFC 9110, section 10.2.3), 0 for none."""
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), _MAX_RETRY_AFTER_S)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0.0
    return min(max(moment.timestamp() - now_s, 0.0), _MAX_RETRY_AFTER_S)
