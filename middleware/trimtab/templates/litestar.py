"""The path template of a Litestar request, what it mounts included."""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["LitestarTemplate", "find"]


class LitestarTemplate(NamedTuple):
    """A template of Litestar; a mounted app's own template stands behind it."""

    template: str
    is_mount: bool


def find(scope: Mapping[str, Any]) -> LitestarTemplate | None:
    """Return what Litestar says of a finished request; None when it took no part or no route did.

    Any failure is the caller's to catch: the routes of a mount and of a method that is not
    allowed are read from what Litestar calls private.
    """
    template = scope.get("path_template")
    app = scope.get("litestar_app")
    if template is None:
        return None if app is None else _not_allowed(app, scope)
    handler = scope.get("route_handler")
    if app is not None and getattr(handler, "is_mount", False):
        return LitestarTemplate(_mount(app, handler, scope), is_mount=True)
    return LitestarTemplate(template, is_mount=False)


def _mount(app: Any, handler: Any, scope: Mapping[str, Any]) -> str:
    # The path in scope is what remains below the mount by now.
    path = scope.get("raw_path", b"").decode("latin-1")
    path = path.removeprefix(scope.get("root_path", ""))
    routes = (route for route in app.routes if getattr(route, "route_handler", None) is handler)
    paths = sorted((route.path.rstrip("/") for route in routes), key=len, reverse=True)
    return str(next((each for each in paths if path.startswith(each)), paths[-1]))


def _not_allowed(app: Any, scope: Mapping[str, Any]) -> LitestarTemplate | None:
    """Return the template of a path whose methods are others than the request's."""
    router = app.asgi_router
    path = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/") or "/"
    if path in router._plain_routes:
        node = router.root_route_map_node.children[path]
    else:
        traversal = sys.modules["litestar._asgi.routing_trie.traversal"]
        try:
            node, *_ = traversal.traverse_route_map(router.root_route_map_node, path)
        except Exception:  # noqa: BLE001 - its NotFoundException: no route has this path
            return None
    if node.is_asgi or scope.get("method", "websocket") in node.asgi_handlers:
        return None
    return LitestarTemplate(node.path_template, is_mount=False)
