"""Serves the dashboard: the built files of `static/`, read once, and index.html for each page.

The names that are served are those found when the folder was read, so no path of a request reaches
the disk. index.html is answered for every path below the dashboard that is no file, as the page
reads its own address; its links are relative to that address, so that any prefix of a proxy works.
"""

import gzip
import hashlib
import logging
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from trimtab_collector.api.encodings import best_coding
from trimtab_core.addresses import DASHBOARD

__all__ = ["STATIC", "Pages"]

logger = logging.getLogger("trimtab.pages")

#: where build.py puts what it has built
STATIC: Final = Path(__file__).resolve().parent.parent / "static"
#: all files together; what is larger was not built by us
_MOST_BYTES: Final = 16 * 1024 * 1024
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
#: encoding -> how the name of a file ends that has it, the best one first
_ENCODINGS: Final = {"br": ".br", "gzip": ".gz"}
#: slashes of an address below the dashboard; pages of ours have one
_DEEPEST: Final = 8
# With trusted types nothing can become markup or script that was a text: names come from anywhere.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"permissions-policy",
        b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
#: of what is never a document by itself; a page loads twenty of these
_PART_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_PARTS: Final = tuple((b"content-type", _TYPES[end].encode()) for end in (".css", ".js"))
_REVALIDATE: Final = b"no-cache"
_FOREVER: Final = b"public, max-age=31536000, immutable"

#: what is answered where there is no dashboard
_UNBUILT: Final = (Path(__file__).parent / "unbuilt.html").read_bytes()

_PageScope = MutableMapping[str, Any]


class _Served(NamedTuple):
    """A file that is served: its bodies by encoding ("" for none), and what its headers say."""

    kind: bytes
    cache: bytes
    tag: bytes
    bodies: Mapping[str, bytes]


class _Bundle(NamedTuple):
    """What was built: files by path below the dashboard."""

    files: Mapping[str, _Served]
    #: index.html by how many slashes its address has below the dashboard
    levels: Sequence[_Served]


_NOTHING: Final = _Bundle({}, ())


class Pages:
    """ASGI application of the dashboard; loop only, but `read` from any thread."""

    def __init__(self, folder: Path = STATIC) -> None:
        """Read the folder; raises nothing where there is none, and answers that."""
        self._folder = folder
        self._built = _NOTHING
        self.read()

    @property
    def are_there(self) -> bool:
        """Whether a dashboard was built."""
        return bool(self._built.levels)

    def read(self) -> None:
        """Read the folder (again), and serve what is there from now on."""
        try:
            self._built = _read(self._folder)
        except FileNotFoundError:
            self._built = _NOTHING
        except (OSError, ValueError) as error:
            logger.warning("the dashboard cannot be read from %s: %s", self._folder, error)
            self._built = _NOTHING

    def takes(self, scope: _PageScope) -> bool:
        """Tell whether a request is for the dashboard, or from a browser for the root."""
        path: str = scope["path"]
        if path == "/":
            return scope["method"] in ("GET", "HEAD") and "text/html" in _header(scope, b"accept")
        return path == DASHBOARD or path.startswith(f"{DASHBOARD}/")

    async def __call__(self, scope: _PageScope, _receive: Any, send: Any) -> None:
        """Answer one request that `takes` has taken."""
        status, headers, body = self._answer(scope)
        own = _PART_HEADERS if any(each in headers for each in _PARTS) else _HEADERS
        headers = [*own, *headers, (b"content-length", b"%d" % len(body))]
        if status == 304:
            headers.pop()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": body})

    def _answer(self, scope: _PageScope) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if scope["method"] not in ("GET", "HEAD"):
            refusal = f"expected GET or HEAD, got {scope['method']:.20}\n"
            return _plain(405, refusal, [(b"allow", b"GET, HEAD")])
        if scope["path"] == "/":
            # Without a prefix that is known there may be one that a proxy takes away.
            prefix = scope.get("root_path")
            to = f"{prefix}{DASHBOARD}" if prefix else DASHBOARD.removeprefix("/")
            return 302, [(b"location", to.encode()), (b"vary", b"accept"), _kept(b"no-store")], b""
        path, built = scope["path"].removeprefix(DASHBOARD), self._built
        if not built.levels:
            kind = (b"content-type", _TYPES[".html"].encode())
            return 503, [kind, _kept(b"no-store")], _UNBUILT
        found = built.files.get(path)
        if found is None:
            depth = _depth(scope)
            if path.startswith("/assets/") or not 0 <= depth < len(built.levels):
                return _plain(404, "expected a file of the dashboard: load the page again\n")
            found = built.levels[depth]
        return _found(scope, found)


def _found(scope: _PageScope, found: _Served) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    headers = [
        _kept(found.cache),
        (b"etag", found.tag),
        (b"vary", b"accept-encoding"),
    ]
    if _matches(_header(scope, b"if-none-match"), found.tag.decode()):
        return 304, headers, b""
    headers.append((b"content-type", found.kind))
    offered = filter(found.bodies.__contains__, _ENCODINGS)
    encoding = best_coding(_header(scope, b"accept-encoding"), offered)
    if encoding:
        headers.append((b"content-encoding", encoding.encode()))
    return 200, headers, found.bodies[encoding]


def _read(folder: Path) -> _Bundle:
    index = (folder / "index.html").read_text(encoding="utf-8")
    files, left = {}, _MOST_BYTES
    paths = [*sorted((folder / "assets").iterdir()), folder / "licences.txt"]
    for path in paths:
        if path.suffix not in _TYPES or not path.is_file():
            continue
        bodies = {"": path.read_bytes()}
        for encoding, end in _ENCODINGS.items():
            other = path.with_name(path.name + end)
            if other.is_file():
                bodies[encoding] = other.read_bytes()
        left -= sum(map(len, bodies.values()))
        if left < 0:
            raise ValueError(f"expected at most {_MOST_BYTES} bytes, got more")
        in_assets = path.parent != folder
        cache = _FOREVER if in_assets else _REVALIDATE
        files[f"/{'assets/' * in_assets}{path.name}"] = _file(path.suffix, cache, bodies)
    levels = []
    for depth in range(_DEEPEST):
        # Seen from /performance/dashboard itself, which ends without a slash, it is a folder.
        up = "../" * (depth - 1) if depth else f"{DASHBOARD.rpartition('/')[2]}/"
        body = index.replace('="assets/', f'="{up}assets/').encode()
        packed = gzip.compress(body, mtime=0)
        levels.append(_file(".html", _REVALIDATE, {"": body, "gzip": packed}))
    return _Bundle(files, levels)


def _file(suffix: str, cache: bytes, bodies: Mapping[str, bytes]) -> _Served:
    tag = hashlib.sha256(bodies[""]).hexdigest()[:20]
    return _Served(_TYPES[suffix].encode(), cache, f'W/"{tag}"'.encode(), bodies)


def _depth(scope: _PageScope) -> int:
    """Return how many slashes the address has below the dashboard, as the browser counts them."""
    raw = scope.get("raw_path") or scope["path"].encode()
    return int(raw.count(b"/")) - DASHBOARD.count("/")


def _matches(text: str, tag: str) -> bool:
    """Tell whether If-None-Match has a tag, by weak comparison (RFC 9110, section 13.1.2)."""
    plain = tag.removeprefix("W/")
    tags = (part.strip().removeprefix("W/") for part in text[:4000].split(","))
    return text.strip() == "*" or plain in tags


def _header(scope: _PageScope, name: bytes) -> str:
    found = b",".join(value for key, value in scope["headers"] if key == name)
    return found.decode("latin-1")


def _kept(how: bytes) -> tuple[bytes, bytes]:
    return b"cache-control", how


def _plain(
    status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    kind = (b"content-type", _TYPES[".txt"].encode())
    return status, [kind, _kept(b"no-store"), *(headers or [])], text.encode()
