"""Hooks into frameworks that leave no template in scope or environ.

A hook replaces one method of the framework, once, and does after it what it has to do; it never
raises. A framework that is imported later is looked for again when no route took a request.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from trimtab.templates.patterns import readable
from trimtab.templates.places import leave
from trimtab.templates.werkzeug import rule_of

__all__ = ["hook_frameworks"]

_Note = Callable[..., None]
_modules = 0


def hook_frameworks() -> None:
    """Hook every framework that is imported by now; harmless to repeat, and cheap."""
    global _modules
    if len(sys.modules) == _modules:
        return
    _modules = len(sys.modules)
    for module, owner, name, note in _HOOKS:
        try:
            found = getattr(sys.modules.get(module), owner, None)
            original = getattr(found, name, None)
            if original is not None and not hasattr(original, "trimtab"):
                setattr(found, name, _hooked(original, note))
        except Exception:  # noqa: BLE001, S112 - a framework unlike those we know is not hooked
            continue


def _hooked(original: Callable[..., Any], note: _Note) -> Callable[..., Any]:
    @wraps(original)
    def hooked(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        try:
            note(self, result, *args)
        except Exception:  # noqa: BLE001, S110 - a template is never worth a failed request
            pass
        return result

    hooked.trimtab = True  # type: ignore[attr-defined]
    return hooked


def _django(handler: Any, match: Any, request: Any) -> None:
    route = match.route.removeprefix("^").removesuffix("$").removesuffix("\\Z").lstrip("/")
    translation = sys.modules.get("django.conf.urls.i18n")
    if translation is not None:
        route = _without_language(route, request, translation)
    environ = getattr(request, "environ", None)
    leave(request.scope if environ is None else environ, "/" + route)


def _without_language(route: str, request: Any, translation: Any) -> str:
    """Return the route with a name in place of the language that i18n_patterns writes there."""
    settings = sys.modules["django.conf"].settings
    urls = getattr(request, "urlconf", None) or settings.ROOT_URLCONF
    if translation.is_language_prefix_patterns_used(urls)[0]:
        language = sys.modules["django.utils.translation"].get_language()
        if route.startswith(f"{language}/"):
            return "<language>" + route[len(language) :]
    return route


def _quart(context: Any, result: None) -> None:
    request = context.request_websocket
    rule = rule_of(request, lambda _: context.url_adapter)
    if rule is not None:
        leave(request.scope, rule)


def _falcon(app: Any, result: Any, request: Any) -> None:
    template = result[3]
    if template is None:
        template = _falcon_prefix(app, request.path)
    if template is not None:
        scope = getattr(request, "scope", None)
        leave(request.env if scope is None else scope, template, whole=True)


def _falcon_prefix(app: Any, path: str) -> str | None:
    """Return the template of the sink or static route that takes what no route took."""
    for matcher, static, is_sink in app._sink_and_static_routes:
        if matcher.match(path):
            prefix = readable(matcher.pattern) if is_sink else static._prefix
            return str(prefix).rstrip("/") + "/{path}"
    return None


def _datasette(router: Any, result: Any, scope: Any, receive: Any, send: Any, path: str) -> None:
    base = router.ds.setting("base_url")
    if base != "/" and path.startswith(base):
        path = "/" + path[len(base) :]
    match, _ = sys.modules["datasette.app"].resolve_routes(router.routes, path)
    if match is not None:
        leave(scope, readable(match.re.pattern))


#: Module, class, method, and what to do after it.
_HOOKS: Final[tuple[tuple[str, str, str, _Note], ...]] = (
    ("django.core.handlers.base", "BaseHandler", "resolve_request", _django),
    ("quart.ctx", "_BaseRequestWebsocketContext", "match_request", _quart),
    ("falcon.app", "App", "_get_responder", _falcon),
    ("datasette.app", "DatasetteRouter", "route_path", _datasette),
)
