"""Which proxy, if any, a request to the collector takes.

Only https goes through a proxy, which then sees a host name and nothing else; with plain http it
would see the agent's key. This machine itself is never asked through one.
"""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from trimtab_core.addresses import WebAddress
from trimtab_core.errors import SettingsError

__all__ = ["ENVIRONMENT", "NONE", "proxy_for"]

#: Take the proxy that the environment names.
ENVIRONMENT: Final = "environment"
#: Take no proxy.
NONE: Final = "none"
_NAMES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_EXCEPTIONS: Final = ("no_proxy", "NO_PROXY")


def proxy_for(
    address: WebAddress, choice: str, environ: Mapping[str, str], setting: str = "collector_proxy"
) -> str:
    """Return the URL of the proxy by which to reach an address; empty for none.

    choice is `environment` (HTTPS_PROXY or ALL_PROXY, but not for what NO_PROXY names), `none`, or
    the URL of a proxy. Raises SettingsError, without the URL since it may hold a password.
    """
    if choice == NONE:
        return ""
    named = choice != ENVIRONMENT
    if named:
        proxy = _checked(choice, setting)
        if not address.tls and not address.loopback:
            raise SettingsError(
                f"{setting}: expected an https address behind a proxy, got {address}: with http "
                "the proxy would see the key"
            )
    if not address.tls or address.loopback:
        return ""
    if named:
        return proxy
    found = next((name for name in _NAMES if environ.get(name)), "")
    exceptions = next((environ[name] for name in _EXCEPTIONS if environ.get(name)), "")
    if not found or _is_excepted(address, exceptions):
        return ""
    text = environ[found]
    return _checked(text if "://" in text else f"http://{text}", found)


def _checked(url: str, setting: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise SettingsError(
            f"{setting}: expected a proxy as http://HOST:PORT or https://HOST:PORT, or "
            f"`{ENVIRONMENT}` or `{NONE}` (what came is not shown)"
        )
    return url


def _is_excepted(address: WebAddress, exceptions: str) -> bool:
    """Tell whether NO_PROXY names a host: itself, a parent domain, its network, or `*`."""
    host = address.host.lower().rstrip(".")
    for entry in exceptions.lower().split(","):
        name = entry.strip()
        if name == "*":
            return True
        if _in_network(host, name):
            return True
        name, _, port = name.rpartition(":") if _has_port(name) else (name, "", "")
        name = name.strip("[]").lstrip("*").lstrip(".").rstrip(".")
        if port and port != str(address.port):
            continue
        if name and (host == name or host.endswith(f".{name}")):
            return True
    return False


def _has_port(name: str) -> bool:
    return name.count(":") == 1 or "]:" in name


def _in_network(host: str, name: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
