"""HTTP services that apps depend on: whether they answer, and how soon."""

import asyncio
import os
import ssl
import time
from typing import Final

import httpx

from trimtab_agent.answers import no_cookies
from trimtab_agent.probes.probe import LIMIT_S, Probed, TargetAddress, split_url
from trimtab_core.addresses import WebAddress
from trimtab_core.proxies import ENVIRONMENT, proxy_for
from trimtab_core.tls import client_context

__all__ = ["HttpProbe"]

_FORM: Final = "http://HOST[:PORT]/PATH or https://"
_PORTS: Final = {"http": 80, "https": 443}
_MOST_REDIRECTS: Final = 3
_MOST_BODY: Final = 1 << 16
_BODY_S: Final = 0.5


class HttpProbe:
    """Sends GET to one URL, each time over a new connection, as a new client would.

    A status below 500 means that it is up. At most 64 KiB of the body are read. Redirects are
    followed only to the same scheme, host and port; a redirect elsewhere counts as the answer.
    """

    def __init__(self, url: str, ca_file: str = "") -> None:
        parts = split_url(url, "probe_http", _FORM, tuple(_PORTS))
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        own_port = parts.port in (None, _PORTS[parts.scheme])
        self.target = f"http:{host}" if own_port else f"http:{host}:{parts.port}"
        self._address = TargetAddress.of(url, {parts.path.strip("/"), parts.query})
        self._tls = parts.scheme == "https"
        port = parts.port or _PORTS[parts.scheme]
        self._place = WebAddress(parts.scheme, parts.hostname or "", port, "")
        self.trust(ca_file)

    def trust(self, ca_file: str) -> None:
        """Trust the certificates of a file, or the system's, from the next reading on."""
        # Without TLS, to which no redirect leads, certificates need not be loaded (20 ms).
        self._verify: bool | ssl.SSLContext = client_context(ca_file) if self._tls else False
        # It keeps no connection that would have to be closed.
        self._client: httpx.AsyncClient | None = None

    async def read(self) -> Probed:
        """Read the target once; raises httpx.HTTPError and TimeoutError."""
        if self._client is None:
            self._client = self._made()
        async with asyncio.timeout(LIMIT_S):
            status, head_s = await self._status(self._client)
        gauges = {"trimtab.probe.http.duration": head_s, "trimtab.probe.http.status": float(status)}
        return Probed(gauges, fault=f"it answered {status}" if status >= 500 else "")

    def redacted(self, error: BaseException) -> str:
        return self._address.redacted(error)

    def close(self) -> None:
        """Nothing is kept open between readings."""

    def _made(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers={"user-agent": "trimtab-agent", "connection": "close"},
            timeout=LIMIT_S,
            verify=self._verify,
            follow_redirects=False,
            cookies=no_cookies(),
            # Neither proxies for http, which would read the URL, nor the passwords of ~/.netrc.
            proxy=proxy_for(self._place, ENVIRONMENT, os.environ) or None,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def _status(self, client: httpx.AsyncClient) -> tuple[int, float]:
        """Return the last status, and the seconds until its headers had come."""
        begun_s = time.perf_counter()
        request = client.build_request("GET", self._address.text)
        origin = _origin(request.url)
        for _ in range(_MOST_REDIRECTS):
            answer = await client.send(request, stream=True)
            head_s = time.perf_counter() - begun_s
            await _end(answer)
            following = answer.next_request
            if following is None or _origin(following.url) != origin:
                break
            request = following
        return answer.status_code, head_s


async def _end(answer: httpx.Response) -> None:
    """Close an answer, after reading a short body so that the server sees no reset."""
    size = 0
    try:
        async with asyncio.timeout(_BODY_S):
            async for piece in answer.aiter_raw():
                size += len(piece)
                if size > _MOST_BODY:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass
    finally:
        await answer.aclose()


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
