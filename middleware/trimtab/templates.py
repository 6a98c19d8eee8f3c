"""The route template of a finished request: what a person wrote, never the raw path.

Frameworks say after the call which route took the request; reading that costs a few dictionary
look-ups. `Templates.asgi` and `.wsgi` never raise; what no route took is `unmatched` (id 0).

- Starlette and FastAPI: `scope["route"]`, below mounts with the mounts' own templates before it
  (a mount with a parameter puts the *value* into root_path). FastAPI >= 0.137 keeps included
  routers as a tree: the full template is on the effective route context.
- Flask: the rule of the request, readable only while the response starts.
- Django: the resolver match, handed over by a hook on the handler (`hook_django`).
"""

import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

__all__ = ["CELL_KEY", "ROUTE_KEY", "Templates", "flask_rule", "hook_django"]

#: Key in scope or environ under which a hook leaves the template of the request.
ROUTE_KEY: Final = "trimtab.route"
#: Key in scope under which the wrapper puts a list, the same one in every copy of the scope.
CELL_KEY: Final = "trimtab"
_UNMATCHED: Final = 0
_MAX_RULES: Final = 10_000


class Templates:
    """Route ids of requests; safe from any thread.

    A route object that always means the same template carries its id as `trimtab_route`, a pair
    of root_path and id, which the closure reads; the other cases are worked out each time.
    """

    def __init__(self, route_id: Callable[[str], int]) -> None:
        self._route_id = route_id
        self._rules: dict[str, int] = {}

    def asgi(self, scope: MutableMapping[str, Any]) -> int:
        """Return the route id of a finished ASGI request."""
        try:
            return self._resolve(scope, scope.get("route"))
        except Exception:  # noqa: BLE001 - a template is never worth a failed request
            return _UNMATCHED

    def wsgi(self, environ: Mapping[str, Any], rule: str | None) -> int:
        """Return the route id of a finished WSGI request; rule is what `flask_rule` gave."""
        template = rule if rule is not None else environ.get(ROUTE_KEY)
        if template is None:
            return _UNMATCHED
        known = self._rules.get(template)
        if known is None:
            known = self._route_id(template)
            if len(self._rules) < _MAX_RULES:
                self._rules[template] = known
        return known

    def _resolve(self, scope: MutableMapping[str, Any], route: Any) -> int:
        template = scope.get(ROUTE_KEY)
        if template is None and route is None:
            template = scope.get("path_template")  # Litestar
        if template is not None:
            return self._route_id(template)
        prefix, routes = _mounts(scope)
        if route is None:
            route = _route_of_endpoint(scope.get("endpoint"), routes)
            if route is None:
                # FastAPI names no route for what it hands to a mount, static files for one.
                return self._route_id(prefix + "/{path}") if prefix else _UNMATCHED
        path = _path_of(route)
        if path is None:
            return _UNMATCHED
        context = _fastapi_context(scope)
        if context is not None and getattr(context, "path_format", None) is not None:
            # The same route may be included in several places: not remembered by route.
            return self._route_id(prefix + context.path_format)
        if _is_mount(route):
            found = self._route_id((prefix or path) + "/{path}")
        else:
            found = self._route_id(prefix + path)
        if "{" not in prefix:
            try:
                route.trimtab_route = (scope.get("root_path"), found)
            except AttributeError:  # a route with __slots__ is worked out each time
                pass
        return found


def flask_rule(environ: Mapping[str, Any], script_name: str) -> str | None:
    """Return the rule of the Flask request in environ, while its response starts.

    script_name is SCRIPT_NAME at entry; what a dispatcher added to it since stands before.
    """
    request = environ.get("werkzeug.request")
    rule = getattr(request, "url_rule", None)
    if rule is None:
        return None
    mounted = str(environ.get("SCRIPT_NAME", ""))
    return mounted.removeprefix(script_name) + str(rule.rule)


def _path_of(route: Any) -> str | None:
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    if _is_mount(route) and isinstance(path, str):
        # The format of a mount ends with what is left for the app below it.
        path = path.removesuffix("/{path}")
    return path if isinstance(path, str) else None


def _is_mount(route: Any) -> bool:
    return hasattr(route, "routes") and hasattr(route, "path_regex")


def _fastapi_context(scope: Mapping[str, Any]) -> Any:
    own = scope.get("fastapi")
    return own.get("effective_route_context") if isinstance(own, dict) else None


def _route_of_endpoint(endpoint: Any, routes: Any) -> Any:
    # Starlette before 1.0 and FastAPI's own pages leave the endpoint alone.
    if endpoint is None:
        return None
    for route in routes:
        if getattr(route, "endpoint", None) is endpoint:
            return route
    return None


def _mounts(scope: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the templates of the mounts above a route, joined, and the routes below them."""
    routes = getattr(scope.get("router"), "routes", ())
    base = scope.get("app_root_path")
    mounted = "" if base is None else scope.get("root_path", "")[len(base) :]
    return _walk(routes, mounted) if mounted else ("", routes)


def _walk(routes: Any, mounted: str) -> tuple[str, Any]:
    # The first mount that matches is the one that took the request: Starlette asks in order.
    for mount in routes:
        if not _is_mount(mount) or mount.path_regex.match(mounted + "/") is None:
            continue
        path = _path_of(mount) or ""
        # What the mount itself took; the rest was taken by mounts inside it.
        rest = _rest(mount.path, mounted)
        if not rest:
            return path, mount.routes
        inner, below = _walk(mount.routes, rest)
        return path + (inner or "/{mount}"), below
    return "", ()


def _rest(path: str, mounted: str) -> str:
    """Return what of a mounted path lies below a mount's own template."""
    pattern = re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))
    match = re.match(pattern + r"(?=/|\Z)", mounted)
    return mounted[match.end() :] if match else ""


def hook_django() -> None:
    """Make Django's handlers leave the template in scope or environ; harmless to repeat."""
    base = sys.modules.get("django.core.handlers.base")
    handler = getattr(base, "BaseHandler", None)
    if handler is None or hasattr(handler.resolve_request, "trimtab"):
        return
    original = handler.resolve_request

    def resolve_request(self: Any, request: Any) -> Any:
        match = original(self, request)
        try:
            place = getattr(request, "environ", None)
            if place is None:
                place = request.scope
            place[ROUTE_KEY] = _django_template(match.route)
        except Exception:  # noqa: BLE001, S110 - a template is never worth a failed request
            pass
        return match

    resolve_request.trimtab = True  # type: ignore[attr-defined]
    handler.resolve_request = resolve_request


def _django_template(route: str) -> str:
    return "/" + route.removeprefix("^").removesuffix("$").lstrip("/")
