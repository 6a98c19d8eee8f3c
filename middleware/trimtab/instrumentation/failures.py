"""The exception behind a 500 that a framework answered itself.

It never reaches the wrapper: Flask, Quart and Django make a response of it.
"""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from trimtab.context import current_context
from trimtab.failure import failure_of
from trimtab.instrumentation.patching import Patches

__all__ = ["patch"]

#: module -> class in it, empty for none, and the function that is given the exception last
_HANDLERS: Final = {
    "flask.app": ("Flask", "handle_exception"),
    "quart.app": ("Quart", "handle_exception"),
    "django.core.handlers.exception": ("", "response_for_exception"),
}


def patch(module: ModuleType, patches: Patches) -> None:
    """Note exceptions where a framework answers for them."""
    owner, name = _HANDLERS[module.__name__]
    patches.replace(getattr(module, owner) if owner else module, name, _noted)


def _noted(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def handle(*args: Any, **kwargs: Any) -> Any:
        context = current_context()
        if context is not None:
            error = args[1] if len(args) > 1 else next(iter(kwargs.values()), None)
            context.failure = failure_of(error)
        return original(*args, **kwargs)

    return handle
