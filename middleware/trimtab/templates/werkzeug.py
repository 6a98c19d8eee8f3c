"""The rule of a Flask or Quart request."""

import sys
from collections.abc import Mapping
from typing import Any

from trimtab.templates.copies import prove_copies
from trimtab.templates.places import ENVIRON_KEY, mounted

__all__ = ["flask_rule", "rule_of"]


def flask_rule(environ: Mapping[str, Any], script_name: str) -> str | None:
    """Return the template of the request in environ, while its response starts.

    It is what a hook has left, or the rule of Flask, with what a dispatcher mounted since
    SCRIPT_NAME was script_name before it. Any failure is the caller's to catch.
    """
    cell = environ.get(ENVIRON_KEY)
    if type(cell) is list and len(cell) > 1:
        found = cell[-1]
        if isinstance(found, str):
            return found
        # The environ that Flask got; kept in the list it would be a cycle.
        del cell[1:]
        if found is not environ:
            prove_copies()
            environ = found
    request = environ.get("werkzeug.request")
    if request is None:
        return None
    rule = rule_of(request, _flask_adapter)
    return None if rule is None else mounted(environ, script_name) + rule


def rule_of(request: Any, adapter_of: Any) -> str | None:
    """Return the rule that took a request, or that would with a method it allows.

    adapter_of gives the request's URL adapter.
    """
    rule = getattr(request, "url_rule", None)
    if rule is None:
        methods = getattr(getattr(request, "routing_exception", None), "valid_methods", None)
        if not methods:
            return None
        rule, _ = adapter_of(request).match(method=methods[0], return_rule=True)
    return str(rule.rule)


def _flask_adapter(request: Any) -> Any:
    return sys.modules["flask"].current_app.create_url_adapter(request)
