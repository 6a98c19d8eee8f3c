"""Which addresses nothing may be sent to unless the operator says so.

A webhook's address is chosen by whoever may write channels. Without this check the collector would
knock, in that person's name, at what only it can reach: its own machine, the private network, the
metadata service of a cloud.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trimtab_core.errors import SettingsError

__all__ = ["AllowedHosts", "IPAddress", "is_public"]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

#: prefixes that hold an IPv4 address in their last 32 bits (RFC 6052, RFC 4291)
_EMBEDDING: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::ffff:0:0/96", "::/96")))
#: IPv6 addresses of the internet; all others are of special use, or not given to anybody
_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
#: the registries of special addresses (RFC 6890): versions of Python know more or fewer of them
_CLOSED: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
            "168.63.129.16/32",  # the wire server of Azure, within public addresses
            "2001::/23",  # Teredo and others: what they lead to is not in them
            *("2001:db8::/32", "3fff::/20"),
        ),
    )
)


def is_public(address: IPAddress) -> bool:
    """Return whether an address is one of the internet's, also by what is embedded in it.

    False for private, loopback, link-local (metadata), carrier-grade NAT, multicast, unspecified
    and reserved addresses, for IPv6 forms of them (mapped, NAT64, 6to4), and for Teredo.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return is_public(inner)
        if address not in _GLOBAL:
            return False
    if any(address in network for network in _CLOSED if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """The hosts that the operator allowed: by name or address, on one port or on all.

    A host is allowed as it is written in the address of a channel: a name that merely leads to an
    allowed address is not.
    """

    #: host in lower case and port; 0 is every port
    entries: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def of(cls, texts: Sequence[str]) -> "AllowedHosts":
        """Return those of the setting: `host`, `host:port`, `[v6]:port`; raises SettingsError."""
        return cls(frozenset(map(_entry, texts)))

    def __contains__(self, place: tuple[str, int]) -> bool:
        """Return whether a host is allowed on a port."""
        host, port = place
        host = host.lower().rstrip(".")
        return (host, 0) in self.entries or (host, port) in self.entries


def _entry(text: str) -> tuple[str, int]:
    host, port = text.strip().lower(), "0"
    bare = _address(host)
    if bare is None and ":" in host:
        host, _, port = host.rpartition(":")
    host = host.removeprefix("[").removesuffix("]").rstrip(".")
    plain = host.isprintable() and not set(host) & set("/@ []*?#")
    if not host or not plain or not port.isdecimal() or int(port) > 65_535:
        raise SettingsError(
            f"allow_hosts: expected host or host:port, such as alertmanager:9093, got {text!r:.80}"
        )
    return host, int(port)


def _address(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
