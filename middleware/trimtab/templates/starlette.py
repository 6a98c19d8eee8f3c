"""The template of a Starlette or FastAPI request, with those of the mounts above it.

Starlette leaves the route in the scope; a mount with a parameter puts the *value* into root_path.
FastAPI >= 0.137 keeps included routers as a tree: the route is the one of the included router, the
full template is on what it calls the effective route context.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["StarletteTemplate", "find", "is_mount", "mounts"]


class StarletteTemplate(NamedTuple):
    """A template, and the route when it means the same template wherever root_path is the same."""

    template: str
    route: Any = None


def find(scope: Mapping[str, Any]) -> StarletteTemplate | None:
    """Return what Starlette says of a finished request; None when no route took it."""
    if "router" not in scope and "route" not in scope:
        return None
    prefix, routes = mounts(scope)
    endpoint = scope.get("endpoint")
    route = scope.get("route")
    own = scope.get("fastapi")
    if isinstance(own, dict):
        context = own.get("effective_route_context")
        if context is not None and _took(context, route, endpoint):
            # The same route may be included in several places: not remembered by route.
            path = _path_of(getattr(context, "starlette_route", None) or context)
            return None if path is None else StarletteTemplate(prefix + path)
        if route is None and "frontend_path" in own:
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            path = path.removesuffix(own["frontend_path"]).rstrip("/")
            return StarletteTemplate(f"{prefix}{path}/{{path}}")
    if route is None:
        route = _route_of(endpoint, routes, scope)
        if route is None:
            # FastAPI names no route for what it hands to a mount.
            return StarletteTemplate(prefix + "/{path}") if prefix else None
    path = _path_of(route)
    if path is None:
        return StarletteTemplate(prefix + "/{path}") if prefix else None
    if is_mount(route):
        # What answers below it is not known by the route, but for files.
        files = type(getattr(route, "app", None)).__name__ == "StaticFiles"
        template = (prefix or path) + "/{path}"
        return StarletteTemplate(template, route if files and "{" not in prefix else None)
    return StarletteTemplate(prefix + path, None if "{" in prefix else route)


def is_mount(route: Any) -> bool:
    """Tell whether a route is one that hands on to an app below it."""
    return hasattr(route, "routes") and hasattr(route, "path_regex")


def mounts(scope: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the templates of the mounts above a route, joined, and the routes below them."""
    routes = getattr(scope.get("router"), "routes", ())
    base = scope.get("app_root_path")
    mounted = "" if base is None else scope.get("root_path", "")[len(base) :]
    return _walk(routes, mounted, scope) if mounted else ("", routes)


def _took(context: Any, route: Any, endpoint: Any) -> bool:
    # Below an included mount its context is there still, though a route inside took the request.
    if route is not None:
        return getattr(context, "original_route", route) is route
    taken = getattr(context, "starlette_route", None)
    return endpoint is not None and getattr(taken, "endpoint", None) is endpoint


def _path_of(route: Any) -> str | None:
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    if is_mount(route) and isinstance(path, str):
        # The format of a mount ends with what is left for the app below it.
        path = path.removesuffix("/{path}")
    return path if isinstance(path, str) else None


def _route_of(endpoint: Any, routes: Any, scope: Mapping[str, Any]) -> Any:
    # Starlette before 1.0, and routes of FastAPI that are not path operations, leave only the
    # endpoint.
    if endpoint is None:
        return None
    found = [route for route in _each(routes) if getattr(route, "endpoint", None) is endpoint]
    if len(found) > 1:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        found = [route for route in found if route.path_regex.match(path)] or found
    return found[0] if found else None


def _each(routes: Any) -> Iterator[Any]:
    """Yield routes with those of included routers in their place."""
    for route in routes:
        candidates = getattr(route, "effective_candidates", None)
        if candidates is None:
            yield getattr(route, "starlette_route", None) or route
        else:
            yield from _each(candidates())


def _walk(routes: Any, mounted: str, scope: Mapping[str, Any]) -> tuple[str, Any]:
    # The first mount that matches is the one that took the request: Starlette asks in order.
    for mount in _each(routes):
        if hasattr(mount, "host_regex"):
            if mount.host_regex.match(_host(scope)):
                return _walk(mount.routes, mounted, scope)
            continue
        if not is_mount(mount) or mount.path_regex.match(mounted + "/") is None:
            continue
        path = _path_of(mount) or ""
        # What the mount itself took; the rest was taken by mounts inside it.
        rest = _rest(mount.path, mounted)
        if not rest:
            return path, mount.routes
        inner, below = _walk(mount.routes, rest, scope)
        return path + (inner or "/{mount}"), below
    return "", ()


def _host(scope: Mapping[str, Any]) -> str:
    for name, value in scope.get("headers", ()):
        if name == b"host":
            return str(value.decode("latin-1").partition(":")[0].lower())
    return ""


def _rest(path: str, mounted: str) -> str:
    """Return what of a mounted path lies below a mount's own template."""
    pattern = re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))
    match = re.match(pattern + r"(?=/|\Z)", mounted)
    return mounted[match.end() :] if match else ""
