"""Route ids of requests, by what frameworks and hooks have left.

`Templates.asgi` and `.wsgi` never raise; what no route took is `unmatched` (id 0). In this order:
what the app says itself, what a hook left in the list that all copies of a scope share, what
Starlette, FastAPI and Litestar leave in the scope, or in the copy of it that reached them.
"""

import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from trimtab.routes import Route, RouteTable
from trimtab.templates import litestar, starlette
from trimtab.templates.copies import prove_copies, suspect_copies
from trimtab.templates.hooks import hook_frameworks
from trimtab.templates.places import CELL_KEY, ENVIRON_KEY, ROUTE_KEY

__all__ = ["Templates"]

_UNMATCHED: Final = 0
_MAX_RULES: Final = 10_000


class Templates:
    """Route ids of requests; safe from any thread.

    A route object that always means the same template carries a pair as `trimtab_route`: root_path
    and `Route`, which the closure reads; the other cases are worked out each time.
    """

    def __init__(self, routes: RouteTable) -> None:
        self._routes = routes
        self._route_id = routes.id_of
        self._rules: dict[str, Route] = {}

    def asgi(self, scope: MutableMapping[str, Any]) -> int:
        """Return the route id of a finished ASGI request."""
        cell = scope.get(CELL_KEY)
        try:
            if not cell:
                found = self._resolve(scope, None)
                if found == _UNMATCHED:
                    hook_frameworks()
                    if "router" not in scope and "litestar_app" not in scope:
                        # A router that finds nothing has at least left itself.
                        suspect_copies()
                elif "app_root_path" in scope and _ends_at_mount(scope):
                    suspect_copies()
                return found
            if type(cell[0]) is int:
                return cell[0]
            found = self._opened(scope, cell)
        except Exception:  # noqa: BLE001 - a template is never worth a failed request
            found = _UNMATCHED
        if cell:
            # A scope in its own list would wait for the garbage collector.
            cell[:] = (found,)
        return found

    def wsgi(self, environ: Mapping[str, Any], rule: str | None) -> int:
        """Return the route id of a finished WSGI request; rule is what `flask_rule` gave."""
        try:
            template = environ.get(ROUTE_KEY, rule)
            if template is None:
                template = _left_behind(environ)
                if template is None:
                    return _UNMATCHED
            known = self._rules.get(template)
            if known is None or known.id < 0:
                known = self._routes.of(template)
                if not known.is_other:
                    if len(self._rules) >= _MAX_RULES:
                        self._rules.clear()
                    self._rules[template] = known
            return known.id
        except Exception:  # noqa: BLE001 - a template that is no text, which the app has named
            return _UNMATCHED

    def _opened(self, outer: MutableMapping[str, Any], cell: list[Any]) -> int:
        """Return the route id by what lies in the list: templates, and scopes on their way."""
        scope, below = outer, None
        for left in cell:
            if isinstance(left, str):
                below = left
            elif isinstance(left, tuple):
                return self._route_id(left[0])
            elif left is not outer:
                scope = left
        if scope is not outer:
            prove_copies()
            if ROUTE_KEY in outer:
                scope[ROUTE_KEY] = outer[ROUTE_KEY]
        return self._resolve(scope, below)

    def _resolve(self, scope: MutableMapping[str, Any], below: str | None) -> int:
        template = scope.get(ROUTE_KEY)
        if template is not None:
            return self._route_id(template)
        if "litestar_app" in scope or "path_template" in scope:
            template = _with_litestar(scope, below)
        elif below is not None:
            template = starlette.mounts(scope)[0] + below
        else:
            found = starlette.find(scope)
            if found is not None:
                known = self._routes.of(found.template)
                if found.route is not None and not known.is_other:
                    try:
                        found.route.trimtab_route = (scope.get("root_path"), known)
                    except Exception:  # noqa: BLE001, S110 - a route that takes no attributes
                        pass  # is worked out each time
                return known.id
        return _UNMATCHED if template is None else self._route_id(template)


def _with_litestar(scope: Mapping[str, Any], below: str | None) -> str | None:
    found = litestar.find(scope)
    if found is None:
        mounts = starlette.mounts(scope)[0]
        return mounts + "/{path}" if mounts else None
    if not found.is_mount:
        return starlette.mounts(scope)[0] + found.template
    if below is None:
        inner = starlette.find(scope)
        if inner is None:
            # Litestar 3 hands a copy to what it mounts.
            suspect_copies()
        below = "/{path}" if inner is None else inner.template
    return found.template + below


def _ends_at_mount(scope: Mapping[str, Any]) -> bool:
    """Tell whether a mount is all that is known, and what it mounts has not shown itself."""
    route = scope.get("route")
    if route is not None and not starlette.is_mount(route):
        return False
    below = scope.get("endpoint")
    return scope.get("app") is not below and type(below).__name__ != "StaticFiles"


def _left_behind(environ: Mapping[str, Any]) -> str | None:
    """Return what a hook left for a request whose response never started."""
    cell = environ.get(ENVIRON_KEY)
    if type(cell) is list:
        for left in cell[1:]:
            if isinstance(left, str):
                return left
        del cell[1:]
    try:
        hook_frameworks()
        if "werkzeug.request" not in environ and "flask.app" in sys.modules:
            suspect_copies()
    except Exception:  # noqa: BLE001, S110 - a template is never worth a failed request
        pass
    return None
