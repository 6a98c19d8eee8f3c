"""What a wrapper looks like from outside: the app inside, with all its attributes."""

import inspect
from typing import Any

__all__ = ["Face", "asgi3"]

_OWN = {"app", "_call", "_settings"}
#: `app` before there is one, in a copy; and what would copy the app in place of the wrapper.
_NEVER = {"app", "__deepcopy__"}


class Face:
    """Base of the wrappers: attributes are read from, set on and deleted from the app.

    Users go on with what they wrapped: `app.routes`, `app.dependency_overrides = {}`. A wrapper is
    copied and pickled as one around the copied app.
    """

    app: Any
    _settings: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name in _NEVER:
            raise AttributeError(name)
        return getattr(self.app, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_own(name):
            object.__setattr__(self, name, value)
            return
        try:
            setattr(self.app, name, value)
        except (AttributeError, TypeError):  # an app with no place for it, such as a method
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if self._is_own(name):
            object.__delattr__(self, name)
        else:
            delattr(self.app, name)

    def __reduce__(self) -> Any:
        return _wrapped_again, (type(self), self.app, self._settings)

    def _is_own(self, name: str) -> bool:
        own = self.__dict__
        return name in _OWN or name in own or "app" not in own or hasattr(type(self), name)


def _wrapped_again(kind: Any, app: Any, settings: dict[str, Any]) -> Any:
    return kind(app, **settings)


def asgi3(app: Any) -> Any:
    """Return app, or what calls it as an ASGI 2 app: with the scope first, then the channels.

    Servers tell an ASGI 2 app by how it looks, and would take any wrapper for one of ASGI 3.
    """
    if inspect.iscoroutinefunction(app):
        return app
    try:
        # Not that of what a decorator has wrapped: the decorator's own is what is called.
        signature = inspect.signature(app, follow_wrapped=False)
    except (TypeError, ValueError):  # none to be had, for one from C
        return app
    if _binds(signature, 3) or not _binds(signature, 1):
        return app

    async def single(scope: Any, receive: Any, send: Any) -> None:
        await app(scope)(receive, send)

    return single


def _binds(signature: inspect.Signature, arguments: int) -> bool:
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        return False
    return True
