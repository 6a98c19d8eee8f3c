"""One HTTP request of a console command: checked TLS, no redirects, a bounded answer.

Only the standard library, as `trimtab doctor` runs where nothing else is installed.
"""

import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any, Final, NamedTuple

from trimtab_core.addresses import web_address
from trimtab_core.proxies import ENVIRONMENT, proxy_for
from trimtab_core.tls import client_context, explained

__all__ = ["HttpAnswer", "HttpClient"]

_MOST_BYTES: Final = 16 * 1024 * 1024


class HttpAnswer(NamedTuple):
    """An answer, or why there is none: then status is 0 and trouble a sentence."""

    status: int
    body: bytes
    #: names in lower case
    headers: Mapping[str, str]
    trouble: str = ""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def is_json(self) -> bool:
        """Whether the body is an object in JSON, as ours are: not a page that a proxy sends."""
        try:
            return isinstance(json.loads(self.body), dict)
        except (ValueError, RecursionError):
            return False


class _Nowhere(urllib.request.HTTPRedirectHandler):
    """Takes a redirect as the answer: a request carries a key or token, which stays here."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


class HttpClient:
    """Asks one server by its base URL; from any thread.

    Raises SettingsError for a URL, file of certificates or proxy that cannot be used. variable is
    what the caller sets the URL by, ca_variable the file of certificates, for the sentences.
    """

    def __init__(
        self,
        url: str,
        environ: Mapping[str, str],
        *,
        ca_file: str = "",
        proxy: str = ENVIRONMENT,
        variable: str = "url",
        ca_variable: str = "ca_file",
        timeout_s: float = 10.0,
    ) -> None:
        self.address = web_address(url, variable)
        self._variable = variable
        self._ca_variable = ca_variable
        self._timeout_s = timeout_s
        way = proxy_for(self.address, proxy, environ)
        #: whether a proxy is in between
        self.through_proxy = bool(way)
        self._context = client_context(ca_file) if self.address.tls else None
        handlers: list[urllib.request.BaseHandler] = [
            urllib.request.ProxyHandler({self.address.scheme: way} if way else {}),
            _Nowhere(),
        ]
        if self._context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=self._context))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> HttpAnswer:
        """Return the answer to one request, whatever its status; raises nothing."""
        request = urllib.request.Request(
            f"{self.address}{path}", data=body, headers=dict(headers or {}), method=method
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return _answer(response.status, response.read(_MOST_BYTES), response.headers)
        except urllib.error.HTTPError as error:
            with error:
                answer = _answer(error.code, error.read(_MOST_BYTES), error.headers)
            return self._redirected(answer) if 300 <= error.code < 400 else answer
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            trouble = (
                explained(error, self.address.host, self._ca_variable) or str(reason) or repr(error)
            )
            return HttpAnswer(0, b"", {}, trouble)

    def certificate(self) -> tuple[str, float]:
        """Return the version of TLS, and until when the certificate is valid, epoch seconds.

        It connects once, past no proxy. Raises OSError, also for a server that is not trusted.
        """
        if self._context is None:
            raise OSError(f"{self.address} does not speak TLS")
        place = (self.address.host, self.address.port)
        with (
            socket.create_connection(place, self._timeout_s) as opened,
            self._context.wrap_socket(opened, server_hostname=self.address.host) as shaken,
        ):
            until = (shaken.getpeercert() or {}).get("notAfter", "")
            return shaken.version() or "TLS", ssl.cert_time_to_seconds(str(until))

    def _redirected(self, answer: HttpAnswer) -> HttpAnswer:
        target = answer.headers.get("location", "")
        return answer._replace(
            trouble=f"{self.address} redirects to {target!r:.200}, where nothing was sent: if "
            f"that is right, set {self._variable} to it"
        )


def _answer(status: int, body: bytes, headers: Message) -> HttpAnswer:
    return HttpAnswer(status, body, {name.lower(): value for name, value in headers.items()})
