"""The route template of a request: what a person wrote, never the raw path.

`resolver` asks, `starlette`, `litestar` and `werkzeug` read what frameworks leave in scope and
environ, `hooks` makes those say it that leave nothing, `copies` finds what a copied scope hides.
"""

from trimtab.templates.hooks import hook_frameworks
from trimtab.templates.places import CELL_KEY, ENVIRON_KEY, ROUTE_KEY
from trimtab.templates.resolver import Templates
from trimtab.templates.werkzeug import flask_rule

__all__ = [
    "CELL_KEY",
    "ENVIRON_KEY",
    "ROUTE_KEY",
    "Templates",
    "flask_rule",
    "hook_frameworks",
]
