"""Both corpora for real servers: `/bare/<name>` is an app as it is, `/wrapped/<name>` wrapped."""

import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from support.apps import asgi_corpus, wsgi_corpus
from trimtab import Middleware, WSGIMiddleware

_asgi = {
    "bare": {name: asgi_corpus.app_of(*steps) for name, steps in asgi_corpus.HTTP.items()},
    "wrapped": {
        name: Middleware(asgi_corpus.app_of(*steps)) for name, steps in asgi_corpus.HTTP.items()
    },
}
_wsgi = {
    "bare": wsgi_corpus.APPS,
    "wrapped": {name: WSGIMiddleware(app) for name, app in wsgi_corpus.APPS.items()},
}


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Hand a request to the app that its path names."""
    _, kind, name = scope["path"].split("/", 2)
    await _asgi[kind][name](scope, receive, send)


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Hand a request to the app that its path names."""
    _, kind, name = urllib.parse.unquote(environ["PATH_INFO"]).split("/", 2)
    body: Iterable[bytes] = _wsgi[kind][name](environ, start_response)
    return body
