"""What a request passes first: who it is from behind proxies, its path behind a prefix, HSTS.

Headers by which proxies say who the client is are believed only from trusted proxies, and are taken
out of every request, so that nothing further in can read them again. Of the two families,
X-Forwarded-* and Forwarded (RFC 7239), only the one is looked at that the settings name: most
proxies pass on the other as a client sent it.
"""

import ipaddress
import itertools
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, Final, NamedTuple

from trimtab_collector.settings import CollectorSettings
from trimtab_core.addresses import host_and_port, is_loopback, web_address
from trimtab_core.errors import SettingsError

__all__ = ["Front", "Hop", "Proxies", "elements"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Scope = MutableMapping[str, Any]
_Application = Callable[[Any, Any, Any], Awaitable[None]]

#: headers of proxies; none of them gets further
_TAKEN: Final = frozenset(
    {
        *(b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"),
        *(b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-server", b"x-real-ip"),
    }
)
#: the last hops that are looked at, and the longest header
_MOST_HOPS: Final = 32
_MOST_TEXT: Final = 4096
_HOST: Final = re.compile(
    r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?"
)
_SCHEMES: Final = ("http", "https")
_MOST_ELEMENT: Final = 512
_NAME_AND_VALUE: Final = r"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]+)"""
_PAIR: Final = re.compile(_NAME_AND_VALUE)
_ELEMENT: Final = re.compile(rf"\s*{_NAME_AND_VALUE}(?:\s*;\s*{_NAME_AND_VALUE})*\s*")
_DAY_S: Final = 24 * 3600


class Hop(NamedTuple):
    """What one proxy says of the request that it got; empty where it says nothing."""

    client: str
    scheme: str = ""
    host: str = ""


class Proxies:
    """Which addresses are trusted proxies, and what they say; raises SettingsError."""

    def __init__(self, networks: Iterable[str], header: str = "x-forwarded") -> None:
        self._networks = tuple(_network(text) for text in networks)
        self._standard = header == "forwarded"

    def trusts(self, host: str) -> bool:
        """Tell whether a host is the address of a trusted proxy."""
        address = _address(host)
        return address is not None and any(
            address.version == network.version and address in network for network in self._networks
        )

    def origin(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> Hop:
        """Return where a request comes from: by its peer alone, or by what trusted ones say.

        The client is the last hop, seen from here, that no trusted proxy is. Where a proxy names no
        address (`unknown`), it is the client itself.
        """
        client = _plain(peer)
        found = Hop(client)
        if not self._networks or not self.trusts(client):
            return found
        for hop in itertools.islice(self._hops(headers), _MOST_HOPS):
            address = _address(hop.client)
            if address is None:
                return found
            found = Hop(str(address), hop.scheme or found.scheme, hop.host or found.host)
            if not self.trusts(found.client):
                break
        return found

    def _hops(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Hop]:
        """Yield what each proxy says, the nearest one first."""
        texts: dict[bytes, str] = {}
        for name, value in headers:
            if name in _TAKEN:
                before = texts.get(name)
                text = value.decode("latin-1")
                texts[name] = text if before is None else f"{before},{text}"
        if self._standard:
            for pairs in elements(texts.get(b"forwarded", "")[-_MOST_TEXT:]):
                yield Hop(
                    pairs.get("for", ""), _scheme(pairs.get("proto", "")), _host(pairs.get("host"))
                )
            return
        clients = _listed(texts.get(b"x-forwarded-for"))
        schemes = _listed(texts.get(b"x-forwarded-proto"))
        hosts = _listed(texts.get(b"x-forwarded-host"))
        for place in range(1, len(clients) + 1):
            # Counted from the end: a proxy that adds no scheme or host leaves the last one.
            yield Hop(
                clients[-place], _scheme(_beside(schemes, place)), _host(_beside(hosts, place))
            )


class Front:
    """ASGI application around the collector's; `use` from any thread."""

    def __init__(self, app: _Application, settings: CollectorSettings) -> None:
        self._app = app
        base = web_address(settings.base_url, "base_url") if settings.base_url else None
        self._prefix = base.prefix if base else ""
        self.use(settings)

    def use(self, settings: CollectorSettings) -> None:
        """Trust other proxies and say another HSTS from now on; raises SettingsError."""
        self._proxies = Proxies(settings.trusted_proxies, settings.forwarded_header)
        seconds = settings.hsts_days * _DAY_S
        self._hsts = (b"strict-transport-security", b"max-age=%d" % seconds) if seconds else None

    async def __call__(self, scope: _Scope, receive: Any, send: Any) -> None:
        """Hand a request on as if its client had come here itself."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        self._place(scope)
        if self._prefix:
            _strip(scope, self._prefix)
        # Agents need no header for browsers, and each costs time.
        if self._hsts and scope["scheme"] == "https" and not scope["path"].startswith("/agent/"):
            send = _with_hsts(scope, send, self._hsts)
        await self._app(scope, receive, send)

    def _place(self, scope: _Scope) -> None:
        """Set client, scheme and host of a request to what they were at the outermost proxy."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        peer, port = scope.get("client") or ("", 0)
        told = not _TAKEN.isdisjoint([name for name, _ in headers])
        if not told and not peer.startswith("::ffff:"):
            return
        found = self._proxies.origin(peer, headers)
        if found.client != peer:
            scope["client"] = (found.client, port if found.client == _plain(peer) else 0)
        if found.scheme:
            ws = scope["type"] == "websocket"
            scope["scheme"] = found.scheme.replace("http", "ws") if ws else found.scheme
        if told:
            scope["headers"] = headers = [row for row in headers if row[0] not in _TAKEN]
        if found.host:
            rest = [row for row in headers if row[0] != b"host"]
            scope["headers"] = [(b"host", found.host.encode()), *rest]


def elements(text: str) -> Iterator[dict[str, str]]:
    """Yield the elements of a Forwarded header (RFC 7239, section 4), the last one first.

    Names are in lower case. Each proxy adds its element at the end, so it ends at the first mistake
    from there: what lies before it came from further out, and may be made up.
    """
    end = len(text)
    while end > 0:
        start = text.rfind(",", 0, end)
        while not (found := _ELEMENT.fullmatch(text, start + 1, end)):
            # A comma may stand within quotes.
            if start < 0 or end - start > _MOST_ELEMENT:
                return
            start = text.rfind(",", 0, start) if start > 0 else -1
        yield {match[1].lower(): _unquoted(match[2]) for match in _PAIR.finditer(found[0])}
        end = start


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _network(text: str) -> _Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise SettingsError(
            f"trusted_proxies: expected addresses and networks such as 10.0.0.5 or 10.0.0.0/8, "
            f"got {text!r:.80}"
        ) from None


def _address(text: str) -> _Address | None:
    """Return the address in `IP`, `IP:port` or `[IPv6]:port`."""
    with_port = host_and_port(text)
    try:
        found = ipaddress.ip_address(with_port[0] if with_port else text.strip("[]"))
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _plain(host: str) -> str:
    """Return an address as it is written without being mapped to IPv6, any other text as it is."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in text[-_MOST_TEXT:].split(",")] if text else []


def _beside(texts: list[str], place: int) -> str:
    return texts[-min(place, len(texts))] if texts else ""


def _scheme(text: str) -> str:
    text = text.strip().lower()
    return text if text in _SCHEMES else ""


def _host(text: str | None) -> str:
    return text if text and _HOST.fullmatch(text) else ""


def _strip(scope: _Scope, prefix: str) -> None:
    """Take the prefix off a path, if the proxy has not done so."""
    path = scope["path"]
    scope["root_path"] = prefix
    if path == prefix or path.startswith(f"{prefix}/"):
        scope["path"] = path[len(prefix) :] or "/"
        raw = scope.get("raw_path")
        if raw is not None:
            scope["raw_path"] = raw[len(prefix) :] or b"/"


def _with_hsts(scope: _Scope, send: Any, header: tuple[bytes, bytes]) -> Any:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    name = host.decode("latin-1")
    parts = host_and_port(name)
    if is_loopback(parts[0] if parts else name):
        # It holds for every port of a name: other things on localhost would be locked out.
        return send

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), header]
        await send(message)

    return sending
