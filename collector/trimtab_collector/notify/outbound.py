"""The one guard of everything that the collector sends out by itself: HTTP and SMTP.

A name is resolved here, each address it leads to is checked, and the connection is made to an
address that was checked, so that a second answer of the name server changes nothing. A proxy is
told the address, not the name. TLS is verified against the name.
"""

import asyncio
import base64
import ipaddress
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from trimtab_collector.notify.addresses import AllowedHosts, IPAddress, is_public
from trimtab_collector.notify.channel import DeliveryError
from trimtab_core import addresses
from trimtab_core.errors import SettingsError

__all__ = ["Outbound", "allow", "is_loopback", "reason", "resolve"]

CONNECT_S: Final = 5.0
_MAX_ADDRESSES: Final = 4
_MAX_PROXY_HEAD: Final = 16 * 1024

_Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host as the system finds them; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def reason(error: BaseException | None) -> str:
    """Return why a connection failed, in a line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; see outbound_ca_file"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "it speaks no TLS on this port"
    if isinstance(error, ConnectionError) and error.errno:
        # asyncio puts the address into the text, which stands there already.
        return os.strerror(error.errno)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{error!s:.200}" or type(error).__name__


class Outbound:
    """Opens connections, and only to addresses that were checked; loop only."""

    def __init__(
        self,
        allowed: AllowedHosts | None = None,
        ca_file: str = "",
        proxies: bool = False,
        resolver: _Resolve = resolve,
    ) -> None:
        """Trust the system's certificates, and those of `ca_file` besides.

        proxies says to use HTTPS_PROXY and NO_PROXY of the environment. Raises SettingsError when
        the file or the proxy cannot be used.
        """
        self._resolve = resolver
        self.use(allowed or AllowedHosts(), ca_file, proxies=proxies)

    def use(self, allowed: AllowedHosts, ca_file: str, *, proxies: bool) -> None:
        """Take other settings for the connections that come; any thread.

        Raises SettingsError, and then keeps what it had.
        """
        proxy, tls = _proxy() if proxies else None, _context(ca_file)
        self._allowed, self._proxy, self.tls = allowed, proxy, tls

    def allows(self, host: str, port: int) -> bool:
        """Return whether the operator allowed a host: private, or in the clear."""
        return (host, port) in self._allowed

    def refusal(self, host: str, port: int) -> str:
        """Return why `connect` never reaches a host by these settings; "" when it may.

        Without asking a name server: of names, only those of this machine are known to be refused.
        """
        name = host.rstrip(".")
        if self.allows(host, port):
            return ""
        try:
            is_open = is_public(_read(name))
        except ValueError:
            is_open = not addresses.is_loopback(name)
        return "" if is_open else _not_public(host, port, name)

    async def connect(self, host: str, port: int, *, by_proxy: bool = False) -> socket.socket:
        """Return a TCP connection to a host, not yet in TLS, in at most some 5 s an address.

        by_proxy says that it may lead through the proxy, which is for TLS alone, and never to this
        machine. Raises DeliveryError.
        """
        proxy = self._proxy
        here = addresses.is_loopback(host)
        if not by_proxy or proxy is None or here or proxy_bypass(f"{host}:{port}"):
            return await _first(await self._addresses(host, port), host, port)
        # Behind a proxy, the name of an allowed host need not lead to an address here.
        target = host if self.allows(host, port) else (await self._addresses(host, port))[0]
        name, proxy_port = proxy.hostname or "", proxy.port or 3128
        try:
            found = await self._resolve(name, proxy_port)
        except OSError as error:
            raise DeliveryError(f"expected an address of the proxy {name!r}: {error}") from error
        made = await _first(list(map(_read, found))[:_MAX_ADDRESSES], name, proxy_port)
        try:
            async with asyncio.timeout(CONNECT_S):
                await _tunnel(made, proxy, target, port)
        except (OSError, TimeoutError) as error:
            made.close()
            raise DeliveryError(f"the proxy {name}:{proxy_port}: {reason(error)}") from error
        except BaseException:
            made.close()
            raise
        return made

    async def _addresses(self, host: str, port: int) -> list[IPAddress]:
        """Return the addresses that may be connected to: all of an allowed host, else public."""
        try:
            async with asyncio.timeout(CONNECT_S):
                found = list(map(_read, await self._resolve(host, port)))
        except TimeoutError:
            raise DeliveryError(
                f"the name server did not answer for {host!r:.80}: check the resolver of the "
                "collector's host"
            ) from None
        except (OSError, ValueError) as error:
            why = reason(error)
            raise DeliveryError(
                f"expected an address of {host!r:.80}, got: {why}; check the name, and the "
                "resolver of the collector's host"
            ) from error
        usable = found if self.allows(host, port) else [*filter(is_public, found)]
        if not usable:
            shown = ", ".join(map(str, found[:3])) or "none"
            raise DeliveryError(_not_public(host, port, shown))
        return usable[:_MAX_ADDRESSES]


def allow(host: str, port: int) -> str:
    """Return what the operator does to allow a host."""
    name = f"[{host}]" if ":" in host else host
    return (
        f"to allow it, start the collector with TRIMTAB_COLLECTOR_ALLOW_HOSTS={name:.80}:{port} "
        f"(allow_hosts in trimtab.toml)"
    )


def _not_public(host: str, port: int, shown: str) -> str:
    return f"expected a public address of {host!r:.80}, got {shown:.200}; {allow(host, port)}"


def is_loopback(connection: socket.socket) -> bool:
    """Return whether a connection stays on this machine."""
    return _read(connection.getpeername()[0]).is_loopback


def _read(text: str) -> IPAddress:
    # The scope of a link-local address ("%eth0") is no part of what is compared.
    return ipaddress.ip_address(text.partition("%")[0])


async def _first(addresses: Sequence[IPAddress], host: str, port: int) -> socket.socket:
    """Return a connection to the first address that takes one."""
    failure: BaseException | None = None
    for address in addresses:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_S):
                loop = asyncio.get_running_loop()
                await loop.sock_connect(made, (str(address), port))
        except (OSError, TimeoutError) as error:
            made.close()
            failure = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise DeliveryError(f"{host}:{port}: {reason(failure)}") from failure


async def _tunnel(
    made: socket.socket, proxy: SplitResult, target: IPAddress | str, port: int
) -> None:
    """Ask a proxy for a connection to the target (RFC 9110, section 9.3.6)."""
    name = f"[{target}]" if ":" in str(target) else str(target)
    lines = [f"CONNECT {name}:{port} HTTP/1.1", f"Host: {name}:{port}"]
    if proxy.username:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(login.encode()).decode()}")
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(made, ("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # A byte at a time: what follows the head belongs to the target.
        byte = await loop.sock_recv(made, 1)
        head += byte
        if not byte or len(head) > _MAX_PROXY_HEAD:
            raise DeliveryError("expected an answer of the proxy, got an end or too much")
    status = head[9:12].decode("ascii", "replace")
    if not status.startswith("2"):
        raise DeliveryError(f"the proxy refused {name}:{port} with {status!r}")


def _proxy() -> SplitResult | None:
    text = getproxies_environment().get("https", "")
    if not text:
        return None
    proxy = urlsplit(text if "://" in text else f"http://{text}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise SettingsError(
            f"HTTPS_PROXY: expected http://host:port, got one with scheme {proxy.scheme!r:.20}"
        )
    return proxy


def _context(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        try:
            context.load_verify_locations(cafile=Path(ca_file))
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"outbound_ca_file: expected certificates (PEM) in {ca_file}, got: {error}"
            ) from error
    return context
