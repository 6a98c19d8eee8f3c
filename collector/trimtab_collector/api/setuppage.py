"""The page behind the set-up link: four files, which anyone may see, as they hold nothing."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from trimtab_collector.contract.errors import JSON_HEADERS

__all__ = ["setup_routes"]

_FOLDER: Final = Path(__file__).parent / "setup"
_FILES: Final = {
    "/setup": ("setup.html", "text/html"),
    "/setup.js": ("setup.js", "text/javascript"),
    "/setup.css": ("setup.css", "text/css"),
    "/setup.svg": ("setup.svg", "image/svg+xml"),
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def setup_routes() -> list[BaseRoute]:
    """Return the routes of the page and what it loads."""
    return [Route(path, _serving(*file)) for path, file in _FILES.items()]


def _serving(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    body = (_FOLDER / name).read_bytes()
    headers = {key.decode(): value.decode() for key, value in JSON_HEADERS}
    headers |= {"content-type": f"{kind}; charset=utf-8", "content-security-policy": _POLICY}

    async def serve(_request: Request) -> Response:
        return Response(body, headers=headers)

    return serve
