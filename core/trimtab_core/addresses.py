"""Hosts, ports and URLs as people write them: IPv6 in brackets, loopback told from the rest."""

import ipaddress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from trimtab_core.errors import SettingsError

__all__ = [
    "API",
    "DASHBOARD",
    "WebAddress",
    "bare",
    "host_and_port",
    "is_loopback",
    "joined",
    "network_of",
    "web_address",
]

#: what the path of every endpoint of the collector's API begins with
API: Final = "/api/performance"
#: where the collector's dashboard is; its pages lie below
DASHBOARD: Final = "/performance/dashboard"
_PORTS: Final = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine alone: a loopback address or `localhost`."""
    try:
        found = ipaddress.ip_address(bare(host))
    except ValueError:
        return host.lower() == "localhost"
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def bare(host: str) -> str:
    """Return a host without the brackets of an IPv6 address."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def joined(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_and_port(text: str) -> tuple[str, int] | None:
    """Return host and port of `host:port` or `[IPv6]:port`; None for anything else."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        return None
    if not host or (":" in host) != (host[0] == "[" and host[-1] == "]"):
        return None
    return bare(host), int(port)


def network_of(address: str) -> str:
    """Return what stands for one client: an address of IPv4, the first 64 bits of one of IPv6.

    Whoever has an IPv6 network may take any address of it, so what is counted by client is counted
    by this. A text that is no address stands for itself.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.IPv6Address(int(found) >> 64 << 64))
    return str(found)


class WebAddress(NamedTuple):
    """An address of HTTP: where to connect, and the path below which everything lies."""

    scheme: str
    host: str
    port: int
    #: empty, or `/prefix` without a slash at its end
    prefix: str

    @property
    def tls(self) -> bool:
        """Whether it is https."""
        return self.scheme == "https"

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.prefix}"


def web_address(url: str, setting: str) -> WebAddress:
    """Return the parts of an http or https URL; raises SettingsError that names the setting."""
    expected = f"{setting}: expected https://HOST[:PORT][/PREFIX] or http://, got {url!r:.200}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"{expected}: {error}") from None
    if parts.username is not None or parts.password is not None:
        # Not shown: whatever stands there was meant to be secret.
        raise SettingsError(f"{setting}: expected a URL without a user and password in it")
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise SettingsError(expected)
    if parts.query or parts.fragment:
        raise SettingsError(f"{expected}: nothing may follow the path")
    prefix = parts.path.rstrip("/")
    if not url.isascii() or any(char.isspace() or char == "%" for char in prefix) or "//" in prefix:
        raise SettingsError(f"{expected}: expected plain characters")
    return WebAddress(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], prefix)
